"""What a pod's first process is told, as it lies in ``pod.json`` of the pod's directory. The kubelet writes it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

POD_FILE = "pod.json"
STATUS_FILE = "status.json"
SOCKET_FILE = "init.sock"
ZYGOTE_SOCKET = "zygote.sock"
VOLUMES = "volumes"


@dataclass(slots=True)
class Mount:
    """A volume at a place: ``source`` is relative to the pod's ``volumes`` directory, ``target`` absolute in the
    container.
    """

    source: str
    target: str
    read_only: bool = False


@dataclass(slots=True)
class ContainerSpec:
    """One container. Either ``argv`` is executed, or ``workload`` ("module:function") is called in a fork with
    ``args``.
    """

    name: str
    image: str = ""
    argv: list[str] = field(default_factory=list)
    workload: str = ""
    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    user: int = 0
    group: int = 0
    capabilities: int = 0
    mounts: list[Mount] = field(default_factory=list)
    restart: str = ""
    """Restart policy of its own: ``Always`` makes an init container a sidecar."""
    stdin: bool = False
    """Its standard input stays open for those who attach; ``stdin_once``: until the first of them has gone."""
    stdin_once: bool = False
    terminal: bool = False


@dataclass(slots=True)
class PodSpec:
    """One pod. ``hosts`` and ``resolv`` are the texts of /etc/hosts and /etc/resolv.conf."""

    uid: str
    name: str
    namespace: str
    node: str
    hostname: str
    hosts: str = ""
    resolv: str = ""
    restart: str = "Always"
    grace_seconds: float = 30.0
    init_containers: list[ContainerSpec] = field(default_factory=list)
    containers: list[ContainerSpec] = field(default_factory=list)

    def to_json(self) -> str:
        """Text for ``pod.json``."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> PodSpec:
        """Read ``pod.json``."""
        data: dict[str, Any] = json.loads(text)
        for key in ("init_containers", "containers"):
            data[key] = [_container(item) for item in data[key]]
        return cls(**data)


def _container(data: dict[str, Any]) -> ContainerSpec:
    data["mounts"] = [Mount(**mount) for mount in data["mounts"]]
    return ContainerSpec(**data)


def write_atomically(directory: int | str | Path, name: str, text: str) -> None:
    """Replace a file so that a reader sees the old or the new one, whole. ``directory``: a path or a descriptor."""
    fd = directory if isinstance(directory, int) else os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        temporary = f".{name}.new"
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=fd)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)
        os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
    finally:
        if not isinstance(directory, int):
            os.close(fd)

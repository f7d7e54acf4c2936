"""A pod's sandbox as the kubelet sees it: network namespace, CNI attachment, first process; made, found again, removed.

Everything is written to ``sandbox.jsonl`` before it is made, so that a kubelet that was killed half-way finds what to
take over (a running pod is never disturbed) or what to remove. The file is appended to, its last whole line counts:
replacing a file by rename costs milliseconds on ext4, which is where some machines have /run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from glasshive.cluster.embedded.kubelet import volumes
from glasshive.cluster.embedded.kubelet.config import KubeletConfig
from glasshive.cluster.embedded.pods import client
from glasshive.cluster.embedded.pods.spec import POD_FILE, STATUS_FILE, VOLUMES, PodSpec
from glasshive.errors import GlasshiveError, KernelError, ProcessError
from glasshive.inventory import Inventory, Kind, process_alive, process_ident
from glasshive.kube.objects import Object
from glasshive.net import netlink, netns, sysctl

RECORD_FILE = "sandbox.jsonl"
START_SECONDS = 20.0
REMOVE_SECONDS = 5.0

Cni = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""The agent's CNI entry point: request to result or error result; see ``agent.cni``."""


@dataclass
class Record:
    """What is remembered on disk. ``process`` is an inventory ident, "" until the first process runs."""

    sandbox_id: str
    netns: str
    namespace: str
    name: str
    addresses: tuple[str, ...] = ()
    process: str = ""
    attempt: int = 0
    start_time: str = ""
    restarts_before: dict[str, int] | None = None


def _lo_up(socket: netlink.Socket) -> None:
    """Runs inside the new namespace."""
    socket.one(netlink.RTM_NEWLINK, 0, "lo up", netlink.ifinfo(1, netlink.IFF_UP, netlink.IFF_UP))
    sysctl.write(sysctl.ANYONE_MAY_PING)


class PodSandbox:
    """One pod's sandbox. ``record`` is None while there is none."""

    def __init__(self, config: KubeletConfig, inventory: Inventory, uid: str) -> None:
        self.directory: Path = config.pods_dir / uid
        self.uid = uid
        self._config = config
        self._inventory = inventory
        self.record: Record | None = self._read()

    def _read(self) -> Record | None:
        try:
            lines = (self.directory / RECORD_FILE).read_bytes().splitlines()
        except FileNotFoundError:
            return None
        for line in reversed(lines):
            with contextlib.suppress(ValueError, TypeError):  # torn by a crash: the line before it counts
                data = json.loads(line)
                return Record(**{**data, "addresses": tuple(data["addresses"])})
        return None

    def _write(self) -> None:
        assert self.record is not None
        with (self.directory / RECORD_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(self.record)) + "\n")

    def account(self) -> dict[str, Any] | None:
        """The last status.json."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            status: dict[str, Any] = json.loads((self.directory / STATUS_FILE).read_bytes())
            return status
        return None

    @property
    def alive(self) -> bool:
        """Whether the pod's first process lives."""
        return self.record is not None and bool(self.record.process) and process_alive(self.record.process) is not None

    async def attach(self, pod: Object, cni: Cni, *, attempt: int, start_time: str) -> tuple[str, ...]:
        """Make the network namespace and have the CNI connect it; the pod's addresses, IPv4 first.

        Raises KernelError, or ProcessError with the CNI's own words. Whatever exists then is for :meth:`remove`.
        """
        sandbox_id = secrets.token_hex(32)
        meta = pod["metadata"]
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.directory / STATUS_FILE).unlink(missing_ok=True)
        host = bool(pod["spec"].get("hostNetwork"))
        name = "" if host else f"gh-{self._config.cluster}-pod-{sandbox_id[:12]}"
        self.record = Record(sandbox_id, name, meta["namespace"], meta["name"], attempt=attempt, start_time=start_time)
        self._write()
        if host:
            self.record.addresses = self._config.addresses
        else:
            self._inventory.add(Kind.NETNS, name)
            path = netns.create(name, _lo_up)
            answer = await cni(self._cni_request("ADD", str(path)))
            if "code" in answer:
                details = f": {answer['details']}" if answer.get("details") else ""
                raise ProcessError(f"{answer['msg']}{details}")
            self.record.addresses = tuple(ip["address"].partition("/")[0] for ip in answer.get("ips") or ())
        return self.record.addresses

    async def launch(self, spec: PodSpec) -> tuple[client.Connection, dict[str, Any]]:
        """Start the first process; its connection and first status. Raises ProcessError, DeadlineError."""
        assert self.record is not None
        (self.directory / POD_FILE).write_text(spec.to_json(), encoding="utf-8")
        fd = netns.open_fd(self.record.netns or None)
        try:
            pid, connection, status = await client.start_pod(self._config.node_dir, self.uid, fd, START_SECONDS)
        finally:
            os.close(fd)
        self.record.process = process_ident(pid) or f"{pid}:0"
        self._write()
        return connection, status

    async def stop(self, grace_seconds: float) -> None:
        """Ask the containers to end, with SIGKILL after the grace period. Does not wait."""
        await client.tell(self.directory, "stop", grace=grace_seconds)

    def kill(self) -> None:
        """Kill every process of the pod."""
        with contextlib.suppress(OSError):
            (self._config.pods_cgroup / self.uid / "cgroup.kill").write_text("1")
        pid = process_alive(self.record.process) if self.record is not None and self.record.process else None
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def release(self, cni: Cni | None) -> None:
        """Kill what runs, disconnect, remove namespace, cgroup and volumes; logs and the last account stay.

        Can be repeated. Raises GlasshiveError if the CNI or the kernel refuses: then the record stays, for another try.
        """
        self.kill()
        await self._remove_cgroup()
        record = self.record
        if record is not None and record.netns:
            if cni is not None:
                answer = await cni(self._cni_request("DEL", str(netns.path_of(record.netns))))
                if "code" in answer:
                    raise ProcessError(f"CNI DEL of {record.namespace}/{record.name}: {answer['msg']}")
            netns.delete(record.netns, missing_ok=True)
            self._inventory.forget(Kind.NETNS, record.netns)
        volumes.remove(self.directory / VOLUMES)
        (self.directory / RECORD_FILE).unlink(missing_ok=True)
        self.record = None

    def forget(self) -> None:
        """Remove the pod's directory with its logs."""
        shutil.rmtree(self.directory, ignore_errors=True)

    async def _remove_cgroup(self) -> None:
        """Remove the pod's cgroup once its killed processes have gone."""
        group = self._config.pods_cgroup / self.uid
        deadline = asyncio.get_running_loop().time() + REMOVE_SECONDS
        while group.exists():
            try:
                for below, _, _ in os.walk(group, topdown=False):
                    Path(below).rmdir()
            except OSError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise KernelError(f"cgroup {group} cannot be removed", error.errno or 0) from None
                await asyncio.sleep(0.005)

    def _cni_request(self, command: str, path: str) -> dict[str, Any]:
        assert self.record is not None
        args = {
            "K8S_POD_NAMESPACE": self.record.namespace,
            "K8S_POD_NAME": self.record.name,
            "K8S_POD_UID": self.uid,
            "K8S_POD_INFRA_CONTAINER_ID": self.record.sandbox_id,
        }
        return {
            "command": command, "containerId": self.record.sandbox_id, "netns": path, "ifname": "eth0", "args": args,
            "config": {"cniVersion": "1.1.0", "name": "glasshive", "type": "glasshive-cni"},
        }  # fmt: skip


async def remove_quietly(sandbox: PodSandbox, cni: Cni | None) -> str:
    """Remove what a failed start has left; "" or what still could not be removed."""
    try:
        await sandbox.release(cni)
    except (GlasshiveError, OSError) as error:
        return str(error)
    return ""

"""Remote commands on a WebSocket: the subprotocols ``v4.channel.k8s.io`` and ``v5.channel.k8s.io``, on bytes.

Every message is one byte that names a channel, then data. Version 5 adds a message that says that a channel has ended.
The last message to the client is a Status on the error channel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
PROTOCOLS = (V5, V4)
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255


@dataclass(frozen=True, slots=True)
class Wish:
    """What to run or join, and which streams are wanted."""

    command: tuple[str, ...]
    stdin: bool
    stdout: bool
    stderr: bool
    terminal: bool


@dataclass(frozen=True, slots=True)
class Input:
    """Data for standard input; ``ended``: no more will come."""

    data: bytes
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """A new size of the terminal, in characters."""

    rows: int
    columns: int


def wish(query: Mapping[str, str], command: tuple[str, ...]) -> Wish:
    """Read the kubelet's options of exec and attach. A terminal carries standard error in standard output."""

    def flag(name: str) -> bool:
        return query.get(name, "") in {"1", "true", "True"}

    terminal = flag("tty")
    return Wish(command, flag("input"), flag("output"), flag("error") and not terminal, terminal)


def parse(message: bytes, version: str) -> Input | Size | None:
    """What a message from the client says; None for one that says nothing to us. Raises ValueError for a bad one."""
    if not message:
        return None
    channel, data = message[0], message[1:]
    if channel == STDIN:
        return Input(data) if data else None
    if channel == CLOSE and version == V5:
        return Input(b"", ended=True) if data == bytes([STDIN]) else None
    if channel == RESIZE:
        size = json.loads(data)
        if not isinstance(size, dict):
            raise ValueError(f"not a terminal size: {size!r}")
        return Size(int(size.get("Height", 0)), int(size.get("Width", 0)))
    raise ValueError(f"channel {channel} is not for clients to write to")


def message(channel: int, data: bytes) -> bytes:
    """A message to the client."""
    return bytes([channel]) + data


def status(rc: int | None, error: str = "") -> bytes:
    """The Status that tells how a command ended: exit status 0, another one, or not run because of ``error``."""
    told: dict[str, Any] = {"metadata": {}, "status": "Success"}
    if rc is None or error:
        text = error or "the pod ended while the command ran"
        told |= {"status": "Failure", "reason": "InternalError", "code": 500, "message": text}
    elif rc:
        text = f"command terminated with non-zero exit code: command terminated with exit code {rc}"
        causes = [{"reason": "ExitCode", "message": str(rc)}]
        told |= {"status": "Failure", "reason": "NonZeroExitCode", "message": text, "details": {"causes": causes}}
    return json.dumps(told).encode()

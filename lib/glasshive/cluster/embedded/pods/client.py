"""The kubelet's way to zygote and pods: asynchronous, one connection per conversation. ``channel`` has the frames."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glasshive.cluster.embedded.pods.channel import FRAME_BYTES
from glasshive.cluster.embedded.pods.spec import SOCKET_FILE, ZYGOTE_SOCKET
from glasshive.errors import DeadlineError, ProcessError

CONNECT_SECONDS = 5.0


class Connection:
    """One SEQPACKET connection; frames come in order."""

    def __init__(self, peer: socket.socket) -> None:
        self._socket = peer

    async def frames(self) -> AsyncIterator[tuple[bytes, bytes]]:
        """Letter and payload of each frame until the other end has gone."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self._socket, 2 * FRAME_BYTES)
            except ConnectionError:
                return
            if not data:
                return
            yield data[:1], data[1:]

    async def send(self, letter: bytes, payload: bytes) -> None:
        """Send one frame."""
        await asyncio.get_running_loop().sock_sendall(self._socket, letter + payload)

    async def ask(self, op: str, **arguments: Any) -> None:
        """Send a request."""
        await self.send(b"q", json.dumps({"op": op, **arguments}).encode())

    def close(self) -> None:
        """Close."""
        self._socket.close()


async def _connect(path: str) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(peer, path), CONNECT_SECONDS)
    except BaseException:
        peer.close()
        raise
    return peer


async def connect_pod(directory: Path) -> Connection:
    """Talk to a running pod. Raises ProcessError if nobody answers there."""
    try:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ProcessError("the pod has not been started, or is gone") from None
    try:
        # The path by way of the descriptor: a socket's address has room for 107 bytes only.
        return Connection(await _connect(f"/proc/self/fd/{fd}/{SOCKET_FILE}"))
    except (OSError, TimeoutError) as error:
        raise ProcessError(f"the pod in {directory} does not answer: {error}") from None
    finally:
        os.close(fd)


async def start_pod(
    node_dir: Path, uid: str, netns: int, patience_seconds: float
) -> tuple[int, Connection, dict[str, Any]]:
    """Have the zygote fork pod ``uid`` into the network namespace; its pid, its connection and its first status.

    Raises ProcessError with the reason if the sandbox could not be made, DeadlineError after ``patience_seconds``.
    """
    try:
        peer = await _connect(str(node_dir / ZYGOTE_SOCKET))
    except (OSError, TimeoutError) as error:
        raise ProcessError(f"the zygote of {node_dir.name} does not answer: {error}") from None
    connection = Connection(peer)
    try:
        socket.send_fds(peer, [json.dumps({"uid": uid}).encode()], [netns])
        async with asyncio.timeout(patience_seconds):
            pid, status = await _begin(connection)
    except TimeoutError:
        connection.close()
        raise DeadlineError(f"the sandbox of pod {uid} was not up within {patience_seconds:g} s") from None
    except BaseException:
        connection.close()
        raise
    return pid, connection, status


async def _begin(connection: Connection) -> tuple[int, dict[str, Any]]:
    pid = 0
    status: dict[str, Any] | None = None
    async for letter, payload in connection.frames():
        answer = json.loads(payload)
        if letter == b"x":
            raise ProcessError(str(answer["error"]))
        if letter == b"p":
            pid = int(answer["pid"])
        elif letter == b"s":
            status = answer
        if pid and status is not None:
            return pid, status
    raise ProcessError("the sandbox ended before it was up", hint="see the zygote's log")


@dataclass(slots=True)
class Outcome:
    """How a command in a pod ended. ``error`` says why it could not be run, or that its time was over."""

    rc: int
    stdout: bytes = b""
    stderr: bytes = b""
    error: str = ""
    timed_out: bool = field(default=False)


async def run_command(
    directory: Path, container: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 30.0
) -> Outcome:
    """Run a command in a container. Raises ProcessError if the pod does not answer."""
    connection = await connect_pod(directory)
    out, err = bytearray(), bytearray()
    try:
        await connection.ask("exec", container=container, argv=list(argv), timeout=timeout_seconds, stdin=bool(stdin))
        for start in range(0, len(stdin), FRAME_BYTES // 2):
            await connection.send(b"i", stdin[start : start + FRAME_BYTES // 2])
        if stdin:
            await connection.send(b"i", b"")
        async for letter, payload in connection.frames():
            if letter == b"o":
                out += payload
            elif letter == b"e":
                err += payload
            elif letter == b"x":
                end = json.loads(payload)
                timed_out = bool(end.get("timeout"))
                return Outcome(int(end["rc"]), bytes(out), bytes(err), str(end.get("error", "")), timed_out)
    finally:
        connection.close()
    raise ProcessError(f"the pod in {directory} ended while the command ran")


async def tell(directory: Path, op: str, **arguments: Any) -> None:
    """Send one request that has no answer; a pod that has ended is none to tell."""
    with contextlib.suppress(ProcessError, OSError):
        connection = await connect_pod(directory)
        try:
            await connection.ask(op, **arguments)
        finally:
            connection.close()

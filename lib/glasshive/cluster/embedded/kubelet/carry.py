"""One forwarded connection: to a port of the pod, with the client's bytes going in and the pod's coming out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

from glasshive.net import netns

CONNECT_SECONDS = 10.0
PIECE_BYTES = 64 * 1024
BACKLOG_BYTES = 4 << 20
"""A pod that does not read may hold back its own connection by this much before it holds back its neighbours', which
share the client's tunnel."""


async def dial(namespace: str, port: int) -> socket.socket:
    """Connect to a port on the loopback of a network namespace ("": this one), IPv4 first. Raises OSError."""
    failure: OSError | None = None
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            return await _connect(namespace, family, address, port)
        except OSError as error:
            failure = failure or error
    assert failure is not None
    raise failure


async def _connect(namespace: str, family: int, address: str, port: int) -> socket.socket:
    def make() -> socket.socket:
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    sock = netns.in_netns(namespace, make) if namespace else make()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock


class Carried:
    """A connection. ``show`` gets the pod's bytes, b"" at their end; ``finish`` is called once, at the end of all, with
    "" or why there was no connection.
    """

    def __init__(
        self,
        dialling: Callable[[], Awaitable[socket.socket]],
        show: Callable[[bytes], Awaitable[None]],
        finish: Callable[[str], Awaitable[None]],
    ) -> None:
        self._dial = dialling
        self._show = show
        self._finish = finish
        self._pending: list[bytes] = []
        self._ended = False
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self.over = False

    def start(self) -> None:
        """Connect and carry."""
        self._task = asyncio.create_task(self._run(), name="port-forward")

    async def feed(self, data: bytes, *, ended: bool) -> None:
        """Bytes for the pod; ``ended``: the last."""
        self._ended = self._ended or ended
        if self._writer is None:
            self._pending.append(data)
            return
        if self.over or self._writer.is_closing():
            return
        with contextlib.suppress(OSError):  # the pod has closed: its end is on the way to the client
            self._writer.write(data)
            await self._writer.drain()
            if ended:
                self._writer.write_eof()

    async def abort(self) -> None:
        """Give up: the pod sees a reset."""
        if self._writer is not None:
            self._writer.transport.abort()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        why = ""
        try:
            reader = await self._open()
            while piece := await reader.read(PIECE_BYTES):
                await self._show(piece)
            await self._show(b"")
        except (OSError, TimeoutError) as error:
            if self._writer is None:
                why = f"error forwarding to the pod: {error or 'it does not answer'}"
            else:
                with contextlib.suppress(OSError):
                    await self._show(b"")  # a reset by the pod: what there was is at its end
        finally:
            self.over = True
            if self._writer is not None:
                self._writer.close()
            await self._finish(why)

    async def _open(self) -> asyncio.StreamReader:
        sock = await self._dial()
        reader, writer = await asyncio.open_connection(sock=sock, limit=PIECE_BYTES)
        writer.transport.set_write_buffer_limits(high=BACKLOG_BYTES)
        writer.writelines(self._pending)
        self._pending.clear()
        if self._ended:
            writer.write_eof()
        self._writer = writer
        return reader

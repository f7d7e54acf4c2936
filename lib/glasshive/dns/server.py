"""The door: UDP and TCP sockets at the given addresses, in front of a ``Resolver``.

The sockets may be bound before the addresses exist on the machine (IP_FREEBIND): who puts the addresses there, and
when, does not matter. Answers leave from the address that was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from glasshive.dns.answer import Resolver

log = logging.getLogger(__name__)

PORT = 53
MAX_CONNECTIONS = 256
IDLE_SECONDS = 10.0
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78  # linux/in.h, linux/in6.h; Python has no names for them
_RECEIVE_BYTES = 1 << 20


class Server:
    """Serves ``resolver`` at ``addresses``. Port 0 (tests): any free one, the same for UDP and TCP, see ``port``."""

    def __init__(self, resolver: Resolver, addresses: Iterable[str], port: int = PORT) -> None:
        self.resolver = resolver
        self.addresses = tuple(addresses)
        self.port = port
        self._datagrams: list[asyncio.DatagramTransport] = []
        self._listeners: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind and serve. Raises OSError when an address cannot be bound; nothing stays open then."""
        loop = asyncio.get_running_loop()
        try:
            for address in self.addresses:
                udp = _socket(address, self.port, socket.SOCK_DGRAM)
                self.port = udp.getsockname()[1]
                transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=udp)
                self._datagrams.append(transport)
                tcp = _socket(address, self.port, socket.SOCK_STREAM)
                self._listeners.append(await asyncio.start_server(self._serve_stream, sock=tcp, backlog=128))
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close everything; questions under way are dropped."""
        for transport in self._datagrams:
            transport.close()
        for listener in self._listeners:
            listener.close()
        self._datagrams, self._listeners = [], []
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def answer_datagram(self, transport: asyncio.DatagramTransport, data: bytes, client: tuple[str, int]) -> None:
        """Answer one UDP message, at once or from a task."""
        answer = self.resolver.answer(data, udp=True)
        if isinstance(answer, bytes):
            transport.sendto(answer, client)
        elif answer is not None:
            self._spawn(self._send_later(transport, answer, client))

    async def _send_later(
        self, transport: asyncio.DatagramTransport, answer: Awaitable[bytes], client: tuple[str, int]
    ) -> None:
        data = await answer
        if not transport.is_closing():
            transport.sendto(data, client)

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if len(self._tasks) <= MAX_CONNECTIONS:
                await self._converse(reader, writer)
        except (TimeoutError, EOFError, ConnectionError):
            pass  # the client has nothing more to ask, or has gone
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Messages with their length in front, one after the other, until the client is silent for a while."""
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                size = int.from_bytes(await reader.readexactly(2), "big")
                data = await reader.readexactly(size)
            answer = self.resolver.answer(data, udp=False)
            if answer is None:
                return
            if not isinstance(answer, bytes):
                answer = await answer
            writer.write(len(answer).to_bytes(2, "big") + answer)
            async with asyncio.timeout(IDLE_SECONDS):
                await writer.drain()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # Python 3.11's own class does not say so

    def datagram_received(self, data: bytes, client: tuple[str, int]) -> None:
        assert self._transport is not None
        try:
            self._server.answer_datagram(self._transport, data, client)
        except Exception:  # one message's trouble must not end the service of all others
            log.exception("a message of %d bytes from %s", len(data), client[0])

    def error_received(self, error: Exception) -> None:
        log.debug("a client did not take its answer: %s", error)


def _socket(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # a successor need not wait for the last one's end
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        if kind == socket.SOCK_DGRAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made

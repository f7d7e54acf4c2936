"""``kubectl port-forward`` at the node: streams of a client become TCP connections to a port of a pod.

Two ways over a WebSocket. Current kubectl tunnels SPDY in it: for each connection an error stream and a data stream
with the same request number. The Python client uses plain channels: two for each port that the request names, for data
and for errors, so it has one connection for each port.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from glasshive.cluster.embedded.kubelet import channels
from glasshive.cluster.embedded.kubelet.carry import Carried, dial
from glasshive.cluster.embedded.kubelet.spdy import frames
from glasshive.cluster.embedded.kubelet.spdy.connection import Answer, Connection, Opened, Received, Reset

if TYPE_CHECKING:
    from glasshive.cluster.embedded.kubelet.kubelet import Kubelet

SPDY = "SPDY/3.1+portforward.k8s.io"
PROTOCOLS = (SPDY, channels.V4)
MESSAGE_BYTES = 32 << 20
CLOSE_SECONDS = 600.0
"""Longest wait for the other end's farewell: it may be passing our last data on to somebody who reads slowly."""
Dial = Callable[[int], Awaitable[socket.socket]]


def routes(kubelet: Kubelet) -> list[web.RouteDef]:
    """Routes for the node's application."""

    async def answer(request: web.Request) -> web.StreamResponse:
        worker = kubelet.worker(request.match_info["namespace"], request.match_info["pod"])
        record = worker.sandbox.record if worker is not None else None
        if record is None:
            raise web.HTTPNotFound(text=f"pod {request.match_info['pod']} has no sandbox on {kubelet.config.node}")
        namespace = record.netns

        async def dialling(port: int) -> socket.socket:
            return await dial(namespace, port)

        return await converse(request, dialling, request.query.getall("ports", []))

    return [web.get("/portForward/{namespace}/{pod}", answer)]


async def converse(request: web.Request, dialling: Dial, ports: list[str]) -> web.WebSocketResponse:
    """Carry a client's connections over the WebSocket it asks for."""
    tunnel = web.WebSocketResponse(
        protocols=PROTOCOLS, max_msg_size=MESSAGE_BYTES, compress=False, timeout=CLOSE_SECONDS
    )
    await tunnel.prepare(request)
    if tunnel.ws_protocol == SPDY:
        await SpdyForward(tunnel, dialling).run()
    else:
        await ChannelForward(tunnel, dialling, ports).run()
    with contextlib.suppress(ConnectionError):
        await tunnel.close()
    return tunnel


class SpdyForward:
    """All connections of one kubectl."""

    def __init__(self, tunnel: web.WebSocketResponse, dialling: Dial) -> None:
        self._tunnel = tunnel
        self._dial = dialling
        self._spdy = Connection()
        self._errors: dict[str, int] = {}
        """Error streams that wait for their data streams, by request number."""
        self._carried: dict[int, Carried] = {}

    async def run(self) -> None:
        """Until the client goes."""
        try:
            async for message in self._tunnel:
                if message.type == WSMsgType.BINARY:
                    for event in self._spdy.feed(message.data):
                        await self._event(event)
        except (frames.ProtocolError, ConnectionError):
            pass  # nothing can be told to somebody who is gone or speaks something else; closing says it
        finally:
            await asyncio.gather(*(each.abort() for each in list(self._carried.values())))

    async def _event(self, event: Opened | Received | Reset | Answer) -> None:
        if isinstance(event, Answer):
            await self._tunnel.send_bytes(event.data)
        elif isinstance(event, Opened):
            await self._opened(event)
        elif isinstance(event, Received):
            carried = self._carried.get(event.stream)
            if carried is not None:
                await carried.feed(event.data, ended=event.fin)
        elif event.stream in self._carried:
            await self._carried[event.stream].abort()

    async def _opened(self, event: Opened) -> None:
        request, kind, port = (event.headers.get(name, "") for name in ("requestid", "streamtype", "port"))
        known = kind == "error" or (kind == "data" and request in self._errors)
        if not known or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            await self._tunnel.send_bytes(frames.reset(event.stream, frames.REFUSED_STREAM))
            return
        await self._tunnel.send_bytes(self._spdy.accept(event.stream))
        if kind == "error":
            self._errors[request] = event.stream
            return
        carried = self._carry(event.stream, self._errors.pop(request), int(port))
        self._carried[event.stream] = carried
        carried.start()

    def _carry(self, data: int, error: int, port: int) -> Carried:
        async def show(piece: bytes) -> None:
            await self._tunnel.send_bytes(frames.data(data, piece, fin=not piece))

        async def over(why: str) -> None:
            self._carried.pop(data, None)
            with contextlib.suppress(ConnectionError):
                await self._tunnel.send_bytes(frames.data(error, why.encode(), fin=True))
                if why:
                    await self._tunnel.send_bytes(frames.data(data, b"", fin=True))

        return Carried(lambda: self._dial(port), show, over)


class ChannelForward:
    """Connections on plain channels: data on 2n, errors on 2n+1, each begun by its port, 16 bits little endian."""

    def __init__(self, tunnel: web.WebSocketResponse, dialling: Dial, ports: list[str]) -> None:
        self._tunnel = tunnel
        self._ports = [int(text) for word in ports for text in word.split(",") if text.isascii() and text.isdigit()]
        self._ended = asyncio.Event()
        self._carried = [self._carry(number, port, dialling) for number, port in enumerate(self._ports)]

    async def run(self) -> None:
        """Until the client goes or all connections have ended."""
        reading = asyncio.create_task(self._read(), name="port-forward input")
        ended = asyncio.create_task(self._ended.wait(), name="port-forward end")
        try:
            for number, port in enumerate(self._ports):
                for channel in (2 * number, 2 * number + 1):
                    await self._tunnel.send_bytes(channels.message(channel, struct.pack("<H", port)))
            for carried in self._carried:
                carried.start()
            await asyncio.wait({reading, ended}, return_when=asyncio.FIRST_COMPLETED)
        except ConnectionError:
            pass  # the client has gone
        finally:
            for task in (reading, ended):
                task.cancel()
            await asyncio.gather(reading, ended, return_exceptions=True)
            await asyncio.gather(*(each.abort() for each in self._carried))

    async def _read(self) -> None:
        async for message in self._tunnel:
            if message.type == WSMsgType.BINARY and message.data:
                await self._take(message.data[0], message.data[1:])

    async def _take(self, channel: int, data: bytes) -> None:
        if channel % 2 == 0 and channel // 2 < len(self._carried):
            await self._carried[channel // 2].feed(data, ended=False)

    def _carry(self, number: int, port: int, dialling: Dial) -> Carried:
        async def show(piece: bytes) -> None:
            if piece:
                await self._tunnel.send_bytes(channels.message(2 * number, piece))

        async def over(why: str) -> None:
            with contextlib.suppress(ConnectionError):
                if why:
                    await self._tunnel.send_bytes(channels.message(2 * number + 1, why.encode()))
            if all(carried.over for carried in self._carried):
                self._ended.set()

        return Carried(lambda: dialling(port), show, over)

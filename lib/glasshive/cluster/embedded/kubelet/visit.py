"""``kubectl exec`` and ``kubectl attach`` at the node: a WebSocket on one side, a session with the pod on the other.

Whatever goes wrong after the upgrade is told on the error channel, where clients look for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from glasshive.cluster.embedded.kubelet import channels
from glasshive.cluster.embedded.pods import session
from glasshive.errors import GlasshiveError

if TYPE_CHECKING:
    from glasshive.cluster.embedded.kubelet.kubelet import Kubelet
    from glasshive.cluster.embedded.kubelet.worker import PodWorker

MESSAGE_BYTES = 32 << 20
"""Longest message taken from a client."""
CLOSE_SECONDS = 600.0
"""Longest wait for the other end's farewell: it may be passing our last output on to somebody who reads slowly."""


def routes(kubelet: Kubelet) -> list[web.RouteDef]:
    """Routes for the node's application."""
    views = _Views(kubelet)
    return [
        web.get("/exec/{namespace}/{pod}/{container}", views.execute),
        web.get("/attach/{namespace}/{pod}/{container}", views.attach),
    ]


class _Views:
    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet

    async def execute(self, request: web.Request) -> web.StreamResponse:
        """``?command=...&input=&output=&error=&tty=``"""
        command = tuple(request.query.getall("command", []))
        if not command:
            raise web.HTTPBadRequest(text="you must specify at least 1 command for the container")
        wish = channels.wish(request.query, command)
        directory = self._worker(request).sandbox.directory
        begun = session.run(
            directory, request.match_info["container"], command, stdin=wish.stdin, terminal=wish.terminal
        )
        return await _converse(request, wish, begun)

    async def attach(self, request: web.Request) -> web.StreamResponse:
        """``?input=&output=&error=&tty=``"""
        wish = channels.wish(request.query, ())
        directory = self._worker(request).sandbox.directory
        begun = session.attach(directory, request.match_info["container"], stdin=wish.stdin)
        return await _converse(request, wish, begun)

    def _worker(self, request: web.Request) -> PodWorker:
        worker = self._kubelet.worker(request.match_info["namespace"], request.match_info["pod"])
        if worker is None:
            text = f"pod {request.match_info['pod']} is not on node {self._kubelet.config.node}"
            raise web.HTTPNotFound(text=text)
        return worker


async def _converse(
    request: web.Request, wish: channels.Wish, begun: Awaitable[session.Session]
) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(
        protocols=channels.PROTOCOLS, max_msg_size=MESSAGE_BYTES, compress=False, timeout=CLOSE_SECONDS
    )
    await socket.prepare(request)
    try:
        visit = await begun
    except (GlasshiveError, OSError) as error:
        await _last_word(socket, channels.status(None, str(error)))
    else:
        await _both_ways(socket, visit, wish)
    # Only now, when no other task reads from it, does closing wait for the other end's farewell. A socket that goes
    # earlier breaks what that end still sends, and a write that fails makes it forget what it has not read yet.
    with contextlib.suppress(ConnectionError):
        await socket.close()
    return socket


async def _both_ways(socket: web.WebSocketResponse, visit: session.Session, wish: channels.Wish) -> None:
    incoming = asyncio.create_task(_incoming(socket, visit), name="exec input")
    outgoing = asyncio.create_task(_outgoing(socket, visit, wish), name="exec output")
    try:
        # Input ends early (the client has gone, and the command is not to outlive it) or never.
        await asyncio.wait({incoming, outgoing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        visit.close()
        for task in (incoming, outgoing):
            if not task.done():
                task.cancel()
        await asyncio.gather(incoming, outgoing, return_exceptions=True)


async def _incoming(socket: web.WebSocketResponse, visit: session.Session) -> None:
    version = socket.ws_protocol or ""
    async for message in socket:
        if message.type not in {WSMsgType.BINARY, WSMsgType.TEXT}:
            continue
        data = message.data if isinstance(message.data, bytes) else message.data.encode()
        try:
            told = channels.parse(data, version)
        except ValueError as error:
            await _last_word(socket, channels.status(None, f"the client sent what cannot be understood: {error}"))
            return
        with contextlib.suppress(OSError):  # the pod has ended; the other task tells how
            if isinstance(told, channels.Size):
                await visit.resize(told.rows, told.columns)
            elif told is not None and told.ended:
                await visit.end_input()
            elif told is not None:
                await visit.feed(told.data)


async def _outgoing(socket: web.WebSocketResponse, visit: session.Session, wish: channels.Wish) -> None:
    wanted = {b"o": channels.STDOUT if wish.stdout else -1, b"e": channels.STDERR if wish.stderr else -1}
    with contextlib.suppress(ConnectionError):
        for channel in wanted.values():
            if channel >= 0:
                await socket.send_bytes(channels.message(channel, b""))  # says that the stream is there
        async for letter, payload in visit.output():
            if wanted[letter] >= 0:
                await socket.send_bytes(channels.message(wanted[letter], payload))
        # A container's own exit status is in the pod's status; a visit to it has simply ended.
        rc = visit.rc if wish.command or visit.rc is None else 0
        await _last_word(socket, channels.status(rc, visit.error))


async def _last_word(socket: web.WebSocketResponse, status: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        await socket.send_bytes(channels.message(channels.ERROR, status))

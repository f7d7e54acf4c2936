"""exec and attach from end to end of the two processes on the way, with the unlucky order of things forced.

The pod's end is played here, on a real socket: it says its last word while the client is still sending. What a pod has
said must arrive, however late the client reads it and whatever it sends meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from glasshive.cluster.embedded.kubelet import channels, forward, visit
from glasshive.cluster.embedded.pods.client import Connection
from glasshive.cluster.embedded.pods.session import Session
from glasshive.kube.server import tunnel

END_OF_INPUT = bytes([channels.CLOSE, channels.STDIN])
PATIENCE_SECONDS = 20.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


@contextlib.asynccontextmanager
async def serving(path: Path, handler: Handler) -> AsyncIterator[str]:
    """A web server with one handler, on a unix socket as the node's."""
    app = web.Application()
    app.router.add_get("/{anything:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield str(path)
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def calling(path: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session,
        session.ws_connect("http://here/", protocols=[channels.V5]) as client,
    ):
        yield client


class Pod:
    """The pod's end of a visit."""

    def __init__(self) -> None:
        self._own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._own, theirs):
            end.setblocking(False)
        self.session = Session(Connection(theirs))

    async def say(self, letter: bytes, payload: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._own, letter + payload)

    async def end(self, rc: int) -> None:
        await self.say(b"x", json.dumps({"rc": rc}).encode())

    async def hear(self) -> bytes:
        """The next frame; b"" once the visitor has left."""
        return await asyncio.get_running_loop().sock_recv(self._own, 1 << 17)

    async def left(self) -> None:
        while await self.hear():
            pass

    def close(self) -> None:
        self._own.close()
        self.session.close()


@pytest.fixture
def pod() -> Iterator[Pod]:
    made = Pod()
    yield made
    made.close()


def node_of(pod: Pod) -> Handler:
    """A node whose visits all go to this pod."""

    async def answer(request: web.Request) -> web.StreamResponse:
        async def begun() -> Session:
            return pod.session

        wish = channels.Wish((), stdin=True, stdout=True, stderr=True, terminal=False)
        return await visit._converse(request, wish, begun())

    return answer


def server_before(node: str) -> Handler:
    """The API server's part: passes on to the node."""

    async def answer(request: web.Request) -> web.StreamResponse:
        call: Any = SimpleNamespace(request=request, name="asks")
        return await tunnel._relay(call, node, "/attach", [])

    return answer


async def read_all(client: aiohttp.ClientWebSocketResponse) -> tuple[dict[int, bytes], int | None]:
    """What came on each channel, and the code it was closed with."""
    said: dict[int, bytes] = {}
    while (message := await client.receive()).type is WSMsgType.BINARY:
        channel = message.data[0]
        said[channel] = said.get(channel, b"") + message.data[1:]
    return said, client.close_code


@in_a_loop
async def test_input_that_comes_after_the_end_does_not_destroy_the_output(tmp_path: Path, pod: Pod) -> None:
    """kubectl ends the input at the moment in which the command, which had all it needed, ends too."""
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        serving(tmp_path / "n", node_of(pod)) as node,
        calling(node) as client,
    ):
        await client.send_bytes(b"\0answer\n")
        assert await pod.hear() == b"ianswer\n"
        await pod.say(b"o", b"got answer\n")
        await pod.end(5)
        await pod.left()
        for _ in range(20):  # nothing has been read yet
            await client.send_bytes(END_OF_INPUT)
            await asyncio.sleep(0)
        said, code = await read_all(client)
    assert said[channels.STDOUT] == b"got answer\n"
    assert json.loads(said[channels.ERROR])["status"] == "Success"
    assert code == aiohttp.WSCloseCode.OK


@in_a_loop
async def test_a_slow_reader_that_sends_gets_all(tmp_path: Path, pod: Pod) -> None:
    """Through both processes: the pod has ended long before the last of its output is read."""
    sent = [bytes([n]) * 30_000 for n in range(200)]

    async def live() -> None:
        for piece in sent:
            await pod.say(b"o", piece)
        await pod.end(0)
        await pod.left()

    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        serving(tmp_path / "n", node_of(pod)) as node,
        serving(tmp_path / "s", server_before(node)) as server,
        calling(server) as client,
    ):
        life = asyncio.create_task(live())
        got = b""
        while len(got) < 6_000_000:
            with contextlib.suppress(ConnectionError):
                await client.send_bytes(b"\0more")
            message = await client.receive()
            assert message.type is WSMsgType.BINARY, f"ended after {len(got)} bytes"
            got += message.data[1:] if message.data[0] == channels.STDOUT else b""
        said, code = await read_all(client)
        await life
    assert got == b"".join(sent)
    assert list(said) == [channels.ERROR]
    assert code == aiohttp.WSCloseCode.OK


@in_a_loop
async def test_a_node_that_breaks_off_is_no_good_end(tmp_path: Path) -> None:
    """Killed under the visit: the client is to see a failure, not an empty success."""

    async def node_dies(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=[channels.V5])
        await socket.prepare(request)
        await socket.send_bytes(b"\1first")
        await socket.receive()
        assert request.transport is not None
        request.transport.close()
        return socket

    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        serving(tmp_path / "n", node_dies) as node,
        serving(tmp_path / "s", server_before(node)) as server,
        calling(server) as client,
    ):
        await client.send_bytes(b"\0go")
        said, code = await read_all(client)
    assert said == {channels.STDOUT: b"first"}
    assert code == aiohttp.WSCloseCode.INTERNAL_ERROR


@in_a_loop
async def test_a_client_that_leaves_ends_the_visit(tmp_path: Path, pod: Pod) -> None:
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        serving(tmp_path / "n", node_of(pod)) as node,
        serving(tmp_path / "s", server_before(node)) as server,
    ):
        async with calling(server) as client:
            await client.send_bytes(b"\0word")
            assert await pod.hear() == b"iword"
        await pod.left()


@in_a_loop
async def test_a_forwarded_connection_that_ends_loses_nothing(tmp_path: Path) -> None:
    """Plain channels: the pod closes, and the client goes on sending before it reads."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"a" * 500_000)
        writer.write_eof()
        await reader.read()
        writer.close()

    async def forwarding(request: web.Request) -> web.StreamResponse:
        async def dialling(wanted: int) -> socket.socket:
            return await forward.dial("", wanted)

        return await forward.converse(request, dialling, [str(port)])

    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        await asyncio.start_server(serve, sock=listener),
        serving(tmp_path / "n", forwarding) as node,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(node)) as session,
        session.ws_connect("http://here/", protocols=[channels.V4]) as client,
    ):
        for _ in range(200):
            await client.send_bytes(b"\0more")
            await asyncio.sleep(0.001)
        said, code = await read_all(client)
    assert said[0][2:] == b"a" * 500_000
    assert code == aiohttp.WSCloseCode.OK

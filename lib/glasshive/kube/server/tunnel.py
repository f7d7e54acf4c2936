"""Streams between a client and a pod: exec, attach and port-forward, by WebSocket.

The server does what it does for logs: it finds the node and passes on, here in both directions, message by message.
Which subprotocol is spoken is for the client and the node to agree on. SPDY upgrades, which clients used before there
were WebSockets for this, are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
from aiohttp import WSMsgType, web

from .proxy import node_socket, pick_container, pod_of
from .status import StatusError, bad_request, method_not_allowed, unavailable

if TYPE_CHECKING:
    from .call import Call
    from .server import Api

#: Longest message passed on, in bytes.
MESSAGE_BYTES = 32 << 20
#: Longest wait for a side's farewell.
NODE_CLOSE_SECONDS, CLIENT_CLOSE_SECONDS = 2.0, 60.0
_STREAMS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
Pairs = list[tuple[str, str]]


async def exec_(api: Api, call: Call) -> web.StreamResponse:
    """Run a command in a container."""
    command = [("command", word) for word in call.request.query.getall("command", [])]
    if not command:
        raise bad_request("you must specify at least 1 command for the container")
    return await _container(api, call, "exec", command)


async def attach(api: Api, call: Call) -> web.StreamResponse:
    """Join a container's own streams."""
    return await _container(api, call, "attach", [])


async def _container(api: Api, call: Call, verb: str, query: Pairs) -> web.StreamResponse:
    pod = pod_of(api, call)
    container, socket = pick_container(call, pod), node_socket(api, call, pod)
    wanted = {name for name in _STREAMS if call.flag(name)}
    if not wanted - {"tty"}:
        raise bad_request("you must specify at least one of stdin, stdout, stderr")
    query = [*query, *((_STREAMS[name], "1") for name in sorted(wanted))]
    path = f"/{verb}/{quote(call.namespace or '')}/{quote(call.name or '')}/{quote(container)}"
    return await _relay(call, socket, path, query)


async def port_forward(api: Api, call: Call) -> web.StreamResponse:
    """Carry connections to ports of a pod."""
    pod = pod_of(api, call)
    socket = node_socket(api, call, pod)
    query = [("ports", text) for text in call.request.query.getall("ports", [])]
    path = f"/portForward/{quote(call.namespace or '')}/{quote(call.name or '')}"
    return await _relay(call, socket, path, query)


async def _relay(call: Call, socket: str, path: str, query: Pairs) -> web.StreamResponse:
    headers = call.request.headers
    if headers.get("Upgrade", "").lower() != "websocket":
        text = "exec, attach and port-forward are served by WebSocket upgrade; SPDY is not offered"
        raise bad_request(text) if call.request.method == "GET" else _old_way(call, text)
    protocols = [word.strip() for word in headers.get("Sec-WebSocket-Protocol", "").split(",") if word.strip()]
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket), timeout=timeout) as session:
        try:
            node = await session.ws_connect(
                "http://node" + path, params=query, protocols=protocols, max_msg_size=MESSAGE_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=NODE_CLOSE_SECONDS),
            )  # fmt: skip
        except aiohttp.WSServerHandshakeError as error:
            reason = "NotFound" if error.status == 404 else "InternalError"
            text = f"the node of pod {call.name} refused: {error.message}"
            raise StatusError(error.status if error.status in {400, 404} else 500, reason, text) from None
        except aiohttp.ClientConnectionError as error:
            raise unavailable(f"the node of pod {call.name} does not answer: {error}") from None
        async with node:
            return await _both_ways(call.request, node, protocols)


def _old_way(call: Call, text: str) -> StatusError:
    refused = method_not_allowed(call.served.resource)
    return StatusError(refused.code, refused.reason, text)


async def _both_ways(
    request: web.BaseRequest, node: aiohttp.ClientWebSocketResponse, protocols: Sequence[str]
) -> web.StreamResponse:
    if protocols and node.protocol is None:
        raise bad_request(f"unable to upgrade: unknown subprotocol: {', '.join(protocols)}")
    client = web.WebSocketResponse(
        protocols=(node.protocol,) if node.protocol else (), max_msg_size=MESSAGE_BYTES, compress=False,
        timeout=CLIENT_CLOSE_SECONDS,
    )  # fmt: skip
    await client.prepare(request)
    from_client = asyncio.create_task(_pass(client, node), name="tunnel to the node")
    from_node = asyncio.create_task(_pass(node, client), name="tunnel to the client")
    try:
        await asyncio.wait({from_client, from_node}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (from_client, from_node):
            task.cancel()
        polite = await asyncio.gather(from_client, from_node, return_exceptions=True)
        # What matters is said in messages. A node that broke off without a farewell may have had more to say: the
        # client is not to take that for a good end.
        broken = from_node.done() and not from_node.cancelled() and polite[1] is not True
        with contextlib.suppress(ConnectionError):
            if broken:
                await client.close(code=aiohttp.WSCloseCode.INTERNAL_ERROR, message=b"the node of the pod broke off")
            else:
                await client.close()
    return client


_Side = web.WebSocketResponse | aiohttp.ClientWebSocketResponse
_Send = Callable[[Any], Coroutine[Any, Any, None]]
_ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)


async def _pass(source: _Side, target: _Side) -> bool:
    """Pass messages on until ``source`` ends; whether it said farewell.

    What cannot be sent because the target has gone is dropped: what the target has said before is still on its way in
    the other direction, which ends by itself.
    """
    send: dict[WSMsgType, _Send] = {WSMsgType.BINARY: target.send_bytes, WSMsgType.TEXT: target.send_str}
    while (message := await source.receive()).type not in _ENDS:
        if message.type in send:
            with contextlib.suppress(ConnectionError):
                await send[message.type](message.data)
    return message.type is WSMsgType.CLOSE

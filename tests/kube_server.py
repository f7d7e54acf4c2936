"""A server on a unix socket and a bare client, for the tests of ``glasshive.kube.server``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from glasshive.kube.server import Server

Object = dict[str, Any]
MERGE = {"Content-Type": "application/merge-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


@dataclass
class Answer:
    code: int
    body: Any
    headers: Any

    def ok(self) -> Any:
        assert self.code < 300, self.body
        return self.body

    def refused(self, code: int, reason: str) -> str:
        assert self.body["kind"] == "Status", self.body
        assert (self.code, self.body["reason"]) == (code, reason), self.body
        return str(self.body["message"])


class Http:
    """Requests to the server as tests want them."""

    def __init__(self, session: aiohttp.ClientSession, server: Server) -> None:
        self.session = session
        self.server = server

    async def __call__(
        self, method: str, path: str, body: Any = None, headers: Object | None = None, **query: Any
    ) -> Answer:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **(headers or {})}
        params = {key: str(value) for key, value in query.items()}
        async with self.session.request(method, "http://x" + path, data=data, headers=given, params=params) as answer:
            text = await answer.text()
            try:
                return Answer(answer.status, json.loads(text), answer.headers)
            except ValueError:
                return Answer(answer.status, text, answer.headers)

    @asynccontextmanager
    async def watch(
        self, path: str, headers: Object | None = None, **query: Any
    ) -> AsyncIterator[Callable[[], Awaitable[Object]]]:
        params = {"watch": "1", **{key: str(value) for key, value in query.items()}}
        async with self.session.get("http://x" + path, params=params, headers=headers or {}) as answer:
            assert answer.status == 200, await answer.text()

            async def following() -> Object:
                line = await asyncio.wait_for(answer.content.readline(), 60)
                found: Object = json.loads(line) if line else {}
                return found

            yield following


@asynccontextmanager
async def serving(folder: Path, **options: Any) -> AsyncIterator[Http]:
    """A running server in ``folder`` and a client of it."""
    server = Server(folder / "store.db", socket=folder / "api.sock", token="t0ken", **{"port": None, **options})
    await server.start()
    try:
        connector = aiohttp.UnixConnector(str(folder / "api.sock"), limit=0)
        timeout = aiohttp.ClientTimeout(total=300)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=1 << 24) as session:
            yield Http(session, server)
    finally:
        await server.stop()


def run(folder: Path, test: Callable[[Http], Awaitable[None]], **options: Any) -> None:
    """Run an asynchronous test against a fresh server."""

    async def main() -> None:
        async with serving(folder, **options) as http:
            await test(http)

    asyncio.run(main())


def config_map(name: str, **data: str) -> Object:
    return {"metadata": {"name": name}, "data": data}


def pod(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "echo"}], **spec}}


CMS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"

"""What the node answers for its pods, on node.sock, in the kubelet's own paths; commands also as one JSON request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from glasshive.cluster.embedded.kubelet import forward, logs, visit
from glasshive.cluster.embedded.pods import client
from glasshive.errors import ProcessError

if TYPE_CHECKING:
    from glasshive.cluster.embedded.kubelet.kubelet import Kubelet

_TRUE = ("true", "1", "True")


def routes(kubelet: Kubelet) -> list[web.RouteDef]:
    """Routes for the node's application."""
    views = _Views(kubelet)
    return [
        web.get("/containerLogs/{namespace}/{pod}/{container}", views.logs),
        web.get("/pods", views.pods),
        web.post("/v1/exec", views.execute),
        *visit.routes(kubelet),
        *forward.routes(kubelet),
    ]


class _Views:
    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet

    async def pods(self, _request: web.Request) -> web.Response:
        body = {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": self._kubelet.pods()}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def logs(self, request: web.Request) -> web.StreamResponse:
        name, container = request.match_info["pod"], request.match_info["container"]
        worker = self._kubelet.worker(request.match_info["namespace"], name)
        if worker is None:
            raise web.HTTPNotFound(text=f"pod {name} is not on node {self._kubelet.config.node}")
        try:
            options = _log_options(request)
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"log options: {error}") from None

        def living() -> bool:
            account = worker.seen.account or {}
            both = (*account.get("initContainers", ()), *account.get("containers", ()))
            return not options.previous and any(c["name"] == container and "running" in c["state"] for c in both)

        pieces = logs.read(worker.sandbox.directory / container, options, living)
        try:
            first = await anext(pieces, b"")
        except FileNotFoundError:
            text = f"{'previous terminated ' if options.previous else ''}container {container} in pod {name} has no log"
            waiting = worker.seen.waiting.get(container) or worker.seen.waiting.get("")
            raise web.HTTPBadRequest(text=f"{text}: {': '.join(waiting)}" if waiting else text) from None
        return await _stream(request, first, pieces)

    async def execute(self, request: web.Request) -> web.Response:
        """``{namespace, pod, container, argv, stdin, timeout}`` -> ``{returncode, stdout, stderr}``."""
        try:
            wish: dict[str, Any] = orjson.loads(await request.read())
            argv = [str(word) for word in wish["argv"]]
            worker = self._kubelet.worker(wish["namespace"], wish["pod"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            return _failure(400, f"not a request to run a command: {error!r}")
        if worker is None:
            return _failure(404, f"pod {wish['pod']} is not on node {self._kubelet.config.node}")
        container = wish.get("container") or worker.pod["spec"]["containers"][0]["name"]
        timeout = float(wish.get("timeout") or 30.0)
        stdin = str(wish.get("stdin") or "").encode()
        try:
            outcome = await client.run_command(
                worker.sandbox.directory, container, argv, stdin=stdin, timeout_seconds=timeout
            )
        except ProcessError as error:
            return _failure(409, str(error))
        failure = f"timed out after {timeout:g} s" if outcome.timed_out else outcome.error
        stderr = outcome.stderr.decode(errors="replace") + (f"{failure}\n" if failure else "")
        answer = {"returncode": outcome.rc, "stdout": outcome.stdout.decode(errors="replace"), "stderr": stderr}
        return web.Response(body=orjson.dumps(answer), content_type="application/json")


def _failure(code: int, text: str) -> web.Response:
    return web.Response(status=code, body=orjson.dumps({"error": text}), content_type="application/json")


def _log_options(request: web.Request) -> logs.LogOptions:
    query = request.query
    since = logs.since_seconds(query["sinceSeconds"]) if query.get("sinceSeconds") else None
    if query.get("sinceTime"):
        since = logs.since_time(query["sinceTime"])
    return logs.LogOptions(
        tail=int(query["tailLines"]) if query.get("tailLines") else None,
        follow=query.get("follow") in _TRUE,
        timestamps=query.get("timestamps") in _TRUE,
        previous=query.get("previous") in _TRUE,
        since=since,
        limit_bytes=int(query["limitBytes"]) if query.get("limitBytes") else None,
    )


async def _stream(request: web.Request, first: bytes, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    await response.write(first)
    async for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response

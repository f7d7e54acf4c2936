"""The panel's server: ``python -I -m glasshive.lab.panel.server CLUSTER LAB``. Started by ``client``, one for a lab.

It is given a socket that listens on loopback, and a token, as ``{"fd": 3, "token": "..."}`` on standard input: who
started it knows the address at once and need not wait. It answers who shows the token:

- ``GET /events?token=T``  server-sent events: ``board`` (whenever it shows something new), ``look`` (a look was
  taken and shows the same), ``end`` (the lab was reset or the cluster is gone);
- ``GET /board?token=T``   the board as it is;
- ``POST /end?token=T``    the lab has been reset: end.

While somebody looks, it asks the grader again and again: what is shown is what is so, not what once happened. While
nobody does, it asks nothing, and after ``IDLE_SECONDS`` of that it ends; so does ``glasshive down``, by the inventory.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from glasshive.cluster import connect
from glasshive.cluster.embedded.config import check_name
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.errors import GlasshiveError
from glasshive.inventory import Inventory, Kind, process_ident
from glasshive.lab.grading import marks
from glasshive.lab.grading.client import GraderClient
from glasshive.lab.grading.reader import ClusterReader
from glasshive.lab.manifest import LabEntry, find_lab
from glasshive.lab.panel import board as boards
from glasshive.lab.tasks import tasks_of

IDLE_SECONDS = 600.0
PACE_SECONDS = 0.5
LONGEST_PACE_SECONDS = 5.0
RESET = "the lab was reset"
_TICK_S = 0.5
_HOSTS = ("127.0.0.1", "localhost", "[::1]")


def address_file(cluster: str, lab: str) -> Path:
    """Where the server of a lab on a cluster says how to reach it: ``{url, token, pid}``, mode 0600."""
    return ClusterPaths(cluster).run / f"panel-{lab}.json"


class Watch:
    """Looks at the tasks of one lab while somebody wants to know, and tells all who do."""

    def __init__(self, cluster: str, entry: LabEntry) -> None:
        self.entry = entry
        self.paths = ClusterPaths(cluster)
        self.cluster = connect(cluster)
        self.desk = GraderClient(self.cluster, entry)
        self.reader = ClusterReader(self.cluster, f"lab-{entry.id}")
        self.board = boards.empty(entry.id, entry.title, tasks_of(entry.topic))
        self.lookers: set[asyncio.Queue[tuple[str, str]]] = set()
        self.last_wanted = time.monotonic()
        self.wanted = asyncio.Event()
        self.over = ""

    async def run(self) -> None:
        """Look until nobody has wanted to know for long, the lab was reset, or the cluster is gone."""
        while not self.over:
            if not self.lookers:
                self.wanted.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.wanted.wait(), _TICK_S)
                if not self.paths.cluster_file.exists():
                    self.over = "the cluster is gone"
                elif time.monotonic() - self.last_wanted > IDLE_SECONDS:
                    self.over = "nobody has looked for a while"
                continue
            self.last_wanted = began = time.monotonic()
            await self._look()
            took = time.monotonic() - began
            await asyncio.sleep(min(LONGEST_PACE_SECONDS, max(PACE_SECONDS, took)))  # at most half of the time
        self.tell("end", {"why": self.over})
        if self.over == RESET:
            await asyncio.to_thread(self.desk.end)  # a look on its way may have started it again

    async def _look(self) -> None:
        try:
            gone = await asyncio.to_thread(self._gone)
            if gone or self.over:
                self.over = self.over or gone
                return
            result = await asyncio.to_thread(self.desk.check, (), within_s=0.0)
            now = boards.board(self.entry.id, self.entry.title, result, self.board)
        except (GlasshiveError, OSError) as trouble:
            now = boards.troubled(self.board, str(trouble))
        changed = not boards.same(now, self.board)
        self.board = now
        self.tell("board" if changed else "look", self.board if changed else {"looks": now["looks"]})

    def _gone(self) -> str:
        """Why there is nothing left to look at, '' if there is."""
        if not self.paths.cluster_file.exists():
            return "the cluster is gone"
        namespace = self.reader.get("namespace", self.reader.namespace)
        reset = marks.seed_of(namespace) is None or (namespace or {}).get("metadata", {}).get("deletionTimestamp")
        return RESET if reset else ""

    def tell(self, event: str, content: dict[str, Any]) -> None:
        """Send something to all who look."""
        for queue in self.lookers:
            queue.put_nowait((event, json.dumps(content)))

    @contextlib.contextmanager
    def looking(self) -> Any:
        """Be one who looks: gives a queue of (event, JSON), the board first."""
        queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        queue.put_nowait(("board", json.dumps(self.board)))
        self.lookers.add(queue)
        self.wanted.set()
        try:
            yield queue
        finally:
            self.lookers.discard(queue)
            self.last_wanted = time.monotonic()


def application(watch: Watch, token: str) -> web.Application:
    """The three answers, for who shows the token and asks for this host by a loopback name (DNS rebinding)."""

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        host = (request.host or "").rsplit(":", 1)[0]
        if host not in _HOSTS or not hmac.compare_digest(request.query.get("token", ""), token):
            raise web.HTTPForbidden(text="this panel belongs to somebody else: no token, or not the right one\n")
        response: web.StreamResponse = await handler(request)
        return response

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={**_OPEN, "Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        with watch.looking() as queue, contextlib.suppress(ConnectionError):
            while True:
                event, content = await queue.get()
                await response.write(f"event: {event}\ndata: {content}\n\n".encode())
                if event == "end":
                    break
        return response

    async def now(_: web.Request) -> web.Response:
        return web.json_response(watch.board, headers=_OPEN)

    async def end(_: web.Request) -> web.Response:
        watch.over = RESET
        watch.wanted.set()
        return web.json_response({})

    app = web.Application(middlewares=[guard])
    app.router.add_get("/events", events)
    app.router.add_get("/board", now)
    app.router.add_post("/end", end)
    return app


# JupyterLab is another origin. No cookie is involved: the token alone opens the door, and the page must know it.
_OPEN = {"Access-Control-Allow-Origin": "*"}


async def serve(cluster: str, lab: str, listening: socket.socket, token: str) -> None:
    """Serve until it is over."""
    watch = Watch(cluster, find_lab(lab))
    runner = web.AppRunner(application(watch, token), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    ident = process_ident(os.getpid())
    assert ident is not None
    inventory = Inventory(watch.paths.inventory_file)
    inventory.add(Kind.PROCESS, ident)
    try:
        await watch.run()
        await asyncio.sleep(_TICK_S)  # the last word gets out
    finally:
        await runner.cleanup()
        if watch.paths.run.exists():
            file = address_file(cluster, lab)
            file.unlink(missing_ok=True)
            inventory.forget_all([(Kind.PROCESS, ident), (Kind.FILE, file)])


def main(arguments: list[str]) -> int:
    """Serve one lab's panel; what is wrong goes to the log."""
    os.umask(0o077)
    cluster, lab = arguments
    check_name(cluster)
    given = json.loads(sys.stdin.readline())
    asyncio.run(serve(cluster, lab, socket.socket(fileno=int(given["fd"])), str(given["token"])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Health check node ports: load balancers ask a node whether it has ready endpoints of a Service of its own.

Only for Services with externalTrafficPolicy Local. What is answered is what kube-proxy answers (Kubernetes'
"Virtual IPs and Service Proxies"): 200 or 503, and how many there are as JSON and in a header.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import orjson
from aiohttp import web

from glasshive.agent import background
from glasshive.model.service import ServiceRef

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""How soon a port that could not be had is tried again."""


class _Server(NamedTuple):
    ref: ServiceRef
    runner: web.AppRunner


class HealthPorts:
    """``count`` tells how many local endpoints of a Service are ready."""

    def __init__(self, count: Callable[[ServiceRef], int]) -> None:
        self._count = count
        self._wanted: dict[int, ServiceRef] = {}
        self._servers: dict[int, _Server] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.trouble: dict[int, str] = {}
        """Ports at which nobody listens, and why."""

    def start(self) -> None:
        """Begin to listen wherever it is wanted."""
        self._task = background.start(self._run(), "health-ports")

    async def stop(self) -> None:
        """Close all."""
        await background.stop(self._task)
        self._wanted = {}
        await self._settle()

    def set(self, wanted: Mapping[int, ServiceRef]) -> None:
        """The ports that there should be, with their Services."""
        if wanted != self._wanted:
            self._wanted = dict(wanted)
            self._changed.set()

    def ports(self) -> dict[int, ServiceRef]:
        """The ports that somebody listens at."""
        return {port: server.ref for port, server in self._servers.items()}

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), RETRY_SECONDS if self.trouble else None)
            self._changed.clear()
            await self._settle()

    async def _settle(self) -> None:
        for port in [port for port, server in self._servers.items() if self._wanted.get(port) != server.ref]:
            await self._servers.pop(port).runner.cleanup()
        self.trouble = {}
        for port, ref in self._wanted.items():
            if port not in self._servers:
                try:
                    self._servers[port] = _Server(ref, await self._listen(port, ref))
                except OSError as error:
                    self.trouble[port] = f"health check node port {port} of {ref}: {error.strerror or error}"
                    log.warning("%s", self.trouble[port])

    async def _listen(self, port: int, ref: ServiceRef) -> web.AppRunner:
        async def answer(_: web.Request) -> web.Response:
            count = self._count(ref)
            told = {"service": {"namespace": ref.namespace, "name": ref.name}, "localEndpoints": count,
                    "serviceProxyHealthy": True}  # fmt: skip
            headers = {"X-Load-Balancing-Endpoint-Weight": str(count), "X-Content-Type-Options": "nosniff"}
            status = 200 if count else 503
            return web.Response(
                body=orjson.dumps(told), status=status, headers=headers, content_type="application/json"
            )

        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, None, port).start()  # every address of the node, both families
        except OSError:
            await runner.cleanup()
            raise
        return runner

"""What both kinds of agents answer alike on node.sock: health, identities, CNI, and rows of endpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import orjson
from aiohttp import web

from glasshive.agent.cni_protocol import CniError, Code
from glasshive.agent.pod_identities import PodIdentities
from glasshive.model.endpoint import Endpoint


class Ready(Protocol):
    """Set once pods can be attached."""

    def is_set(self) -> bool:
        """Whether they can."""


class Answering(Protocol):
    """An agent as far as its common face goes. ``identities`` and ``cni`` come with its start."""

    @property
    def ready(self) -> Ready:
        """Whether pods can be attached."""

    @property
    def identities(self) -> PodIdentities:
        """Who is who."""

    @property
    def cni(self) -> Any:
        """``agent.cni.CniServer``."""


class CommonViews:
    """Handlers."""

    def __init__(self, agent: Answering) -> None:
        self._common = agent

    async def healthz(self, _: web.Request) -> web.Response:
        """200 once the agent is ready, 503 before."""
        if self._common.ready.is_set():
            return web.Response(text="ok")
        return web.Response(status=503, text="not ready")

    async def identities(self, _: web.Request) -> web.Response:
        """Identities that this node knows."""
        if not hasattr(self._common, "identities"):
            return answer({"error": "the agent is starting"}, 503)
        known = self._common.identities.allocator.table.identities()
        return answer([{"number": one.number, "labels": one.labels.texts()} for one in known])

    async def cni(self, request: web.Request) -> web.Response:
        """A CNI request; CNI errors are answers like others (200), as the plugin reads the code."""
        try:
            body = orjson.loads(await request.read())
        except json.JSONDecodeError as error:
            return answer(CniError(Code.DECODING_FAILURE, f"the request is not JSON: {error}").to_json())
        if not hasattr(self._common, "cni"):
            return answer(CniError(Code.TRY_AGAIN_LATER, "the agent is starting").to_json())
        return answer(await self._common.cni.handle(body))

    def endpoint_row(self, endpoint: Endpoint, policy: Mapping[str, Any]) -> dict[str, Any]:
        """An endpoint with the labels of its identity, and what policy does for it."""
        labels = self._common.identities.allocator.table.labels(endpoint.identity)
        return {
            **endpoint.to_json(),
            "ifindex": endpoint.ifindex,
            "hostInterface": endpoint.host_ifname,
            "labels": labels.texts() if labels else [],
            **policy,
        }


def answer(data: Any, status: int = 200) -> web.Response:
    """JSON."""
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json")

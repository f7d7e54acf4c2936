"""The face of a node without eBPF on node.sock: what there is, and in words what there is not."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from glasshive.agent.cni_protocol import CniError, Code
from glasshive.agent.plain.agent import PlainAgent

ABSENT = ("maps", "maps/{name}", "drop-records", "verdict-records", "policy/map", "policy/selectors",
          "policy/explain", "services", "services/frontends", "endpoints/{id}")  # fmt: skip
EMPTY: dict[str, Any] = {"drops": [], "redirects": [], "policy": {"revision": 0, "objects": []}}
"""What is asked of all nodes together: this one adds nothing."""


def routes(agent: PlainAgent) -> list[web.RouteDef]:
    """Routes for the node's application."""
    views = PlainViews(agent)
    there = [
        web.get("/healthz", views.healthz),
        web.get("/v1/status", views.status),
        web.get("/v1/endpoints", views.endpoints),
        web.get("/v1/identities", views.identities),
        web.get("/v1/l2", views.l2),
        web.post("/cni", views.cni),
    ]
    there += [web.get(f"/v1/{path}", views.nothing) for path in EMPTY]
    return there + [web.route("*", f"/v1/{path}", views.absent) for path in ABSENT]


class PlainViews:
    """Handlers."""

    def __init__(self, agent: PlainAgent) -> None:
        self._agent = agent

    async def healthz(self, _: web.Request) -> web.Response:
        """200 once the agent is ready, 503 before."""
        ready = self._agent.ready.is_set()
        return web.Response(text="ok" if ready else "not ready", status=200 if ready else 503)

    async def status(self, _: web.Request) -> web.Response:
        """What ``PlainAgent.status`` says; 503 until there is something to say."""
        if not hasattr(self._agent, "proxy"):
            return _answer({"node": self._agent.config.node, "ready": False}, 503)
        return _answer(self._agent.status())

    async def endpoints(self, _: web.Request) -> web.Response:
        """This node's endpoints with the labels of their identity; policy does nothing for them."""
        if not hasattr(self._agent, "identities"):
            return _answer({"error": "the agent is starting"}, 503)
        table, network = self._agent.identities.allocator.table, self._agent.network
        init = network.reserved.number("init")
        rows = []
        for endpoint in network.endpoints:
            labels = table.labels(endpoint.identity)
            rows.append(
                {
                    **endpoint.to_json(),
                    "ifindex": endpoint.ifindex,
                    "hostInterface": endpoint.host_ifname,
                    "labels": labels.texts() if labels else [],
                    "policyIngress": "Disabled",
                    "policyEgress": "Disabled",
                    "policy": 0,
                    "options": {"PolicyAuditMode": "Disabled"},
                    "state": "waiting-for-identity" if endpoint.identity == init else "ready",
                }
            )
        return _answer(rows)

    async def identities(self, _: web.Request) -> web.Response:
        """Identities that this node knows."""
        if not hasattr(self._agent, "identities"):
            return _answer({"error": "the agent is starting"}, 503)
        known = self._agent.identities.allocator.table.identities()
        return _answer([{"number": one.number, "labels": one.labels.texts()} for one in known])

    async def l2(self, _: web.Request) -> web.Response:
        """Addresses of services that this node answers for on its network."""
        return _answer(self._agent.l2.rows() if hasattr(self._agent, "l2") else [])

    async def nothing(self, request: web.Request) -> web.Response:
        """Nothing, in the form of the question."""
        return _answer(EMPTY[request.path.removeprefix("/v1/")])

    async def absent(self, request: web.Request) -> web.Response:
        """What only eBPF has."""
        config = self._agent.config
        text = (
            f"{config.node} has no {request.path.removeprefix('/v1/')}: its dataplane is {config.dataplane}, not ebpf"
        )
        return _answer({"error": text}, 404)

    async def cni(self, request: web.Request) -> web.Response:
        """A CNI request; CNI errors are answers like others (200), as the plugin reads the code."""
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError as error:
            return _answer(CniError(Code.DECODING_FAILURE, f"the request is not JSON: {error}").to_json())
        if not hasattr(self._agent, "cni"):
            return _answer(CniError(Code.TRY_AGAIN_LATER, "the agent is starting").to_json())
        return _answer(await self._agent.cni.handle(body))


def _answer(data: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json")

"""The face of a node without eBPF on node.sock: what there is, and in words what there is not."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from glasshive.agent.face import CommonViews, answer
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


class PlainViews(CommonViews):
    """Handlers."""

    def __init__(self, agent: PlainAgent) -> None:
        super().__init__(agent)
        self._agent = agent

    async def status(self, _: web.Request) -> web.Response:
        """What ``PlainAgent.status`` says; 503 until there is something to say."""
        if not hasattr(self._agent, "proxy"):
            return answer({"node": self._agent.config.node, "ready": False}, 503)
        return answer(self._agent.status())

    async def endpoints(self, _: web.Request) -> web.Response:
        """This node's endpoints with the labels of their identity; policy does nothing for them."""
        if not hasattr(self._agent, "identities"):
            return answer({"error": "the agent is starting"}, 503)
        network = self._agent.network
        init = network.reserved.number("init")
        nothing = {
            "policyIngress": "Disabled", "policyEgress": "Disabled", "policy": 0,
            "options": {"PolicyAuditMode": "Disabled"},
        }  # fmt: skip
        return answer(
            [
                self.endpoint_row(
                    one, {**nothing, "state": "waiting-for-identity" if one.identity == init else "ready"}
                )
                for one in network.endpoints
            ]
        )

    async def l2(self, _: web.Request) -> web.Response:
        """Addresses of services that this node answers for on its network."""
        return answer(self._agent.l2.rows() if hasattr(self._agent, "l2") else [])

    async def nothing(self, request: web.Request) -> web.Response:
        """Nothing, in the form of the question."""
        return answer(EMPTY[request.path.removeprefix("/v1/")])

    async def absent(self, request: web.Request) -> web.Response:
        """What only eBPF has."""
        config = self._agent.config
        text = (
            f"{config.node} has no {request.path.removeprefix('/v1/')}: its dataplane is {config.dataplane}, not ebpf"
        )
        return answer({"error": text}, 404)

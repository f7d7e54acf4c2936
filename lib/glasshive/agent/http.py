"""The agent's face on node.sock: CNI for runtimes, views for people, checks and tests. The node process mounts it.

Reading only, but for ``POST /cni``. The socket's file mode is the access control.
"""

from __future__ import annotations

from aiohttp import web

from glasshive.agent.agent import Agent
from glasshive.agent.face import CommonViews, answer
from glasshive.agent.policy import http as policy_http
from glasshive.agent.policy.views import PolicyViews
from glasshive.agent.services import http as services_http
from glasshive.agent.services.kernel_views import KernelViews
from glasshive.errors import GlasshiveError
from glasshive.maps.render import rows_of


def routes(agent: Agent) -> list[web.RouteDef]:
    """Routes for the node's application."""
    views = AgentViews(agent)
    return [
        web.get("/healthz", views.healthz),
        web.get("/v1/status", views.status),
        web.get("/v1/endpoints", views.endpoints),
        web.get("/v1/identities", views.identities),
        web.get("/v1/maps", views.maps),
        web.get("/v1/maps/{name}", views.map_rows),
        web.get("/v1/drops", views.drops),
        web.get("/v1/l2", views.l2),
        web.get("/v1/drop-records", views.drop_records),
        web.get("/v1/verdict-records", views.verdict_records),
        web.post("/cni", views.cni),
        *policy_http.routes(agent),
        *services_http.routes(agent),
    ]


class AgentViews(CommonViews):
    """Handlers; each answers from the agent's own state or straight from the kernel."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent)
        self._agent = agent

    async def status(self, _: web.Request) -> web.Response:
        """What ``Agent.status`` says; 503 until there is something to say."""
        if not hasattr(self._agent, "datapath"):
            return answer({"node": self._agent.config.node, "ready": False}, 503)
        return answer(self._agent.status())

    async def endpoints(self, _: web.Request) -> web.Response:
        """This node's endpoints with the labels of their identity and what policy does for them."""
        if not hasattr(self._agent, "policy"):
            return answer({"error": "the agent is starting"}, 503)
        policy = PolicyViews(self._agent.policy)
        return answer([self.endpoint_row(one, policy.endpoint(one)) for one in self._agent.datapath.endpoints])

    async def maps(self, _: web.Request) -> web.Response:
        """Names and facts of the datapath's maps."""
        rows = [
            {
                "name": name,
                "id": one.id,
                "type": one.type.name.lower(),
                "keyBytes": one.info.key_size,
                "valueBytes": one.info.value_size,
                "maxEntries": one.max_entries,
            }
            for name, one in sorted(self._agent.datapath.objects.maps.items())
        ]
        return answer(rows)

    async def map_rows(self, request: web.Request) -> web.Response:
        """One map's content, a row per entry, addresses as text. ``?limit=`` cuts it short."""
        name = request.match_info["name"]
        found = self._agent.datapath.objects.maps.get(name)
        if found is None:
            known = ", ".join(sorted(self._agent.datapath.objects.maps))
            return answer({"error": f"there is no map {name}; there are {known}"}, 404)
        limit = request.query.get("limit", "")
        if limit and not limit.isdigit():
            return answer({"error": f"limit is {limit!r}, not a number"}, 400)
        try:
            rows = self._agent.policy.maps.entries(name)
            if rows is None and hasattr(self._agent, "services"):
                rows = KernelViews(self._agent.services, self._agent.datapath.objects.maps).entries(name)
            if rows is None:
                rows = rows_of(found, int(limit) if limit else None)
            return answer(rows[: int(limit)] if limit else rows)
        except GlasshiveError as error:
            return answer({"error": str(error)}, 400)

    async def l2(self, _: web.Request) -> web.Response:
        """Addresses of services that this node answers for on its network."""
        return answer(self._agent.l2.rows() if hasattr(self._agent, "l2") else [])

    async def drops(self, _: web.Request) -> web.Response:
        """Dropped packets and bytes per reason and direction."""
        return answer(self._agent.drops.counts())

    async def drop_records(self, request: web.Request) -> web.Response:
        """The last dropped packets, one record each. ``?limit=`` for fewer."""
        limit = request.query.get("limit", "100")
        if not limit.isdigit():
            return answer({"error": f"limit is {limit!r}, not a number"}, 400)
        records = self._agent.drops.records(int(limit))
        return answer({"records": records, "lost": self._agent.drops.lost})

    async def verdict_records(self, request: web.Request) -> web.Response:
        """The last verdicts of policy, one record each. ``?limit=`` for fewer."""
        limit = request.query.get("limit", "100")
        if not limit.isdigit():
            return answer({"error": f"limit is {limit!r}, not a number"}, 400)
        return answer({"records": self._agent.drops.verdicts(int(limit)), "lost": self._agent.drops.lost})

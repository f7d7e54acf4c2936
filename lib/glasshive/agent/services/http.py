"""Services' face on node.sock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from glasshive.agent.policy.http import answering
from glasshive.agent.services.kernel_views import KernelViews
from glasshive.agent.services.views import ServiceViews
from glasshive.errors import NotFoundError
from glasshive.model.address import parse
from glasshive.model.service import parse_place

if TYPE_CHECKING:
    from glasshive.agent.agent import Agent


def routes(agent: Agent) -> list[web.RouteDef]:
    """Routes for the node's application."""
    views = ServiceRoutes(agent)
    return [
        web.get("/v1/services", answering(views.services)),
        web.get("/v1/services/frontends", answering(views.frontends)),
        web.get("/v1/redirects", answering(views.redirects)),
        web.get("/v1/services/why", answering(views.why)),
        web.get("/v1/lb/{table}", answering(views.table)),
    ]


class ServiceRoutes:
    """Handlers; each gives a value that becomes JSON."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def _views(self) -> ServiceViews:
        if not hasattr(self._agent, "services"):
            raise NotFoundError("the agent is starting")
        return ServiceViews(self._agent.services)

    async def services(self, _: web.Request) -> Any:
        """Services of the cluster, with what is wrong about each."""
        return self._views().summary()

    async def why(self, request: web.Request) -> Any:
        """``?place=ADDRESS:PORT/PROTOCOL``, ``&from=ADDRESS`` for a caller outside of the cluster."""
        place = parse_place(request.query.get("place", ""))
        outside = "from" in request.query
        source = parse(request.query["from"]) if request.query.get("from") else None
        nodes = frozenset(one for node in self._agent.view.nodes() for one in node.addresses)
        return self._views().why(place, "external" if outside else "internal", source, nodes)

    async def table(self, request: web.Request) -> Any:
        """A table as it is in the kernel: frontends, backends, revnat, maglev, affinity, source-ranges."""
        self._views()
        return KernelViews(self._agent.services, self._agent.datapath.objects.maps).table(request.match_info["table"])

    async def frontends(self, _: web.Request) -> Any:
        """Frontends of this node, with their backends."""
        return self._views().frontends()

    async def redirects(self, _: web.Request) -> Any:
        """Local redirect policies, with what they do on this node."""
        if not hasattr(self._agent, "redirects"):
            raise NotFoundError("the agent is starting")
        return self._agent.redirects.rows()

"""Services' face on node.sock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from glasshive.agent.policy.http import answering
from glasshive.agent.services.views import ServiceViews
from glasshive.errors import NotFoundError

if TYPE_CHECKING:
    from glasshive.agent.agent import Agent


def routes(agent: Agent) -> list[web.RouteDef]:
    """Routes for the node's application."""
    views = ServiceRoutes(agent)
    return [
        web.get("/v1/services", answering(views.services)),
        web.get("/v1/services/frontends", answering(views.frontends)),
        web.get("/v1/redirects", answering(views.redirects)),
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

    async def frontends(self, _: web.Request) -> Any:
        """Frontends of this node, with their backends."""
        return self._views().frontends()

    async def redirects(self, _: web.Request) -> Any:
        """Local redirect policies, with what they do on this node."""
        if not hasattr(self._agent, "redirects"):
            raise NotFoundError("the agent is starting")
        return self._agent.redirects.rows()

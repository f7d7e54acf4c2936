"""Policy's face on node.sock: endpoints' options, settings, tables with labels and origins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from glasshive.agent.policy.answers import explained
from glasshive.agent.policy.settings import truth_of
from glasshive.agent.policy.views import PolicyViews, find_endpoint
from glasshive.errors import GlasshiveError, NotFoundError, UsageError
from glasshive.maps.conntrack import rows as connection_rows

if TYPE_CHECKING:
    from glasshive.agent.agent import Agent

Handler = Callable[[web.Request], Awaitable[Any]]

AUDIT_OPTION = "PolicyAuditMode"


def routes(agent: Agent) -> list[web.RouteDef]:
    """Routes for the node's application."""
    views = PolicyRoutes(agent)
    return [
        web.get("/v1/endpoints/{name:.+}", answering(views.endpoint)),
        web.patch("/v1/endpoints/{name:.+}", answering(views.configure_endpoint)),
        web.get("/v1/config", answering(views.config)),
        web.patch("/v1/config", answering(views.configure)),
        web.get("/v1/policy", answering(views.objects)),
        web.get("/v1/policy/selectors", answering(views.selectors)),
        web.get("/v1/policy/map", answering(views.policy_map)),
        web.post("/v1/policy/explain", answering(views.explain)),
        web.get("/v1/ipcache", answering(views.ipcache)),
        web.get("/v1/ct", answering(views.connections)),
    ]


def answering(handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Turn a handler's value into JSON, and errors of its trade into an answer that says what is wrong."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return _json(await handler(request))
        except NotFoundError as error:
            return _json({"error": str(error)}, 404)
        except GlasshiveError as error:
            return _json({"error": str(error)}, 400)

    return answer


def _json(data: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json")


class PolicyRoutes:
    """Handlers."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    @property
    def _views(self) -> PolicyViews:
        if not hasattr(self._agent, "policy"):
            raise NotFoundError("the agent is starting")
        return PolicyViews(self._agent.policy)

    def _endpoint_row(self, name: str) -> dict[str, Any]:
        endpoint = find_endpoint(self._agent.datapath.endpoints, name)
        labels = self._agent.identities.allocator.table.labels(endpoint.identity)
        return {
            **endpoint.to_json(),
            "labels": labels.texts() if labels else [],
            **self._views.endpoint(endpoint),
            "map": self._views.map_rows(endpoint),
        }

    async def endpoint(self, request: web.Request) -> Any:
        """One endpoint, by id or namespace/pod, with the rows of its policy."""
        return self._endpoint_row(request.match_info["name"])

    async def configure_endpoint(self, request: web.Request) -> Any:
        """Set an endpoint's options: ``{"PolicyAuditMode": "Enabled"}``."""
        options = await _body(request)
        endpoint = find_endpoint(self._agent.datapath.endpoints, request.match_info["name"])
        for key in options:
            if key != AUDIT_OPTION:
                raise UsageError(f"endpoints have no option {key!r}", hint=f"there is {AUDIT_OPTION}")
        values = {key: truth_of(value) for key, value in options.items()}
        if AUDIT_OPTION in values:
            self._agent.policy.set_audit(endpoint, values[AUDIT_OPTION])
        return self._endpoint_row(str(endpoint.id))

    async def config(self, _: web.Request) -> Any:
        """Settings as they are now."""
        now = self._agent.policy.runtime.now
        return {"PolicyEnforcement": str(now.mode), AUDIT_OPTION: "Enabled" if now.audit else "Disabled"}

    async def configure(self, request: web.Request) -> Any:
        """Change settings of this node until its agent ends."""
        self._agent.policy.runtime.set_node(await _body(request))
        return await self.config(request)

    async def objects(self, _: web.Request) -> Any:
        """Policy objects as this node understands them."""
        return self._views.objects()

    async def selectors(self, _: web.Request) -> Any:
        """Peers that rules name."""
        return self._views.selectors()

    async def policy_map(self, request: web.Request) -> Any:
        """Rows of ``?endpoint=``'s policy, or of all."""
        name = request.query.get("endpoint")
        found = find_endpoint(self._agent.datapath.endpoints, name) if name else None
        return self._views.map_rows(found)

    async def explain(self, request: web.Request) -> Any:
        """Why an endpoint's policy says what it says of a packet."""
        return explained(self._agent.policy, await _body(request))

    async def ipcache(self, _: web.Request) -> Any:
        """The ipcache with each entry's source and labels."""
        views = self._views
        return [
            {
                "prefix": str(prefix),
                "identity": entry.identity,
                "flags": entry.flags,
                "node": entry.node_text(),
                "source": source,
                "labels": views.labels_of(entry.identity),
            }
            for prefix, entry, source in self._agent.datapath.ipcache.rows()
        ]

    async def connections(self, _: web.Request) -> Any:
        """Connections, as people read them."""
        return connection_rows(*self._agent.datapath.connections.conntrack.items())


async def _body(request: web.Request) -> dict[str, str]:
    try:
        found = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise UsageError(f"the request is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageError("the request must be an object of settings")
    return {str(key): str(value) for key, value in found.items()}

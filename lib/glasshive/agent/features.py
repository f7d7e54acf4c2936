"""The single list of what an agent does, in the order in which it is started (and stopped in reverse).

A feature is made from an ``AgentContext``, subscribes to what it needs, and says how it is. Adding one to the agent is
one line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from glasshive.agent.config import AgentConfig
from glasshive.agent.datapath import Datapath
from glasshive.agent.drop_watch import DropWatch
from glasshive.agent.endpoint_objects import EndpointObjects
from glasshive.agent.housekeeping import Housekeeping
from glasshive.agent.l2.feature import L2Feature
from glasshive.agent.node_routes import NodeRoutes
from glasshive.agent.pod_identities import PodIdentities
from glasshive.agent.policy.feature import PolicyFeature
from glasshive.agent.service_identities import ServiceIdentities
from glasshive.agent.services.feature import ServicesFeature
from glasshive.agent.services.redirects import LocalRedirects
from glasshive.agent.view import ClusterView
from glasshive.kube.client import Client


class Feature(Protocol):
    """One thing an agent does."""

    async def start(self) -> None:
        """Begin; returns when the feature works, or at once when it needs the API first."""

    async def stop(self) -> None:
        """End. What is in the kernel stays."""

    def status(self) -> dict[str, Any]:
        """How it is, for GET /v1/status."""


@dataclass(frozen=True, slots=True)
class AgentContext:
    """What features are made from."""

    config: AgentConfig
    client: Client
    datapath: Datapath
    view: ClusterView
    identities: PodIdentities
    policy: PolicyFeature
    services: ServicesFeature
    redirects: LocalRedirects
    l2: L2Feature
    drops: DropWatch

    @property
    def complete(self) -> bool:
        """Whether all that exists is known, and the tables can be compared with it."""
        return self.identities.complete and self.policy.engine is not None


FEATURES: tuple[tuple[str, Callable[[AgentContext], Feature]], ...] = (
    ("drops", lambda context: context.drops),
    ("policy", lambda context: context.policy),
    ("identity", lambda context: context.identities),
    ("services", lambda context: context.services),
    ("local-redirect", lambda context: context.redirects),
    ("service_identities", lambda it: ServiceIdentities(it.client, it.datapath, it.view, it.identities)),
    ("endpoints", lambda it: EndpointObjects(it.client, it.datapath, it.identities, it.policy)),
    ("routing", lambda context: NodeRoutes(context.datapath, context.view, lambda: context.complete)),
    ("conntrack", lambda context: Housekeeping(context.datapath)),
    ("l2", lambda context: context.l2),
)
"""(name, how it is made), in order of starting."""

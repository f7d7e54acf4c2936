"""The node agent: a datapath under the control of the Kubernetes API.

``start`` needs the node's own Node object with its pod CIDRs; it waits for them by watch. An agent that starts while
the API is away, on a node where one ran before, goes on from what that one wrote down.
``stop`` leaves everything in the kernel as it is: the next agent takes it over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import time
from pathlib import Path
from typing import Any

from glasshive.agent.cni import CniServer
from glasshive.agent.config import AgentConfig
from glasshive.agent.datapath import Datapath
from glasshive.agent.drop_watch import DropWatch
from glasshive.agent.features import FEATURES, AgentContext, Feature
from glasshive.agent.l2 import feature as l2_feature
from glasshive.agent.l2.feature import L2Feature
from glasshive.agent.own_node import OwnNode
from glasshive.agent.pod_identities import PodIdentities
from glasshive.agent.policy.feature import PolicyFeature
from glasshive.agent.services.feature import ServicesFeature
from glasshive.agent.services.redirects import LocalRedirects
from glasshive.agent.view import ClusterView
from glasshive.errors import DeadlineError
from glasshive.kube.client import Client
from glasshive.model.address import render

log = logging.getLogger(__name__)

SYNC_PATIENCE_SECONDS = 10.0


class Agent:
    """One node's agent. ``ready`` is set when pods can be attached."""

    datapath: Datapath
    cni: CniServer
    drops: DropWatch
    identities: PodIdentities
    policy: PolicyFeature
    services: ServicesFeature
    redirects: LocalRedirects
    l2: L2Feature

    def __init__(self, config: AgentConfig, client: Client | None = None) -> None:
        self.config = config
        self.client = client or Client(socket=config.api_socket)
        self._own_client = client is None
        self.ready = asyncio.Event()
        self.view = ClusterView(self.client, config.cluster, config.labels)
        self.features: list[tuple[str, Feature]] = []
        self._began = time.monotonic()
        self._started_in_ms = 0.0

    async def start(self) -> None:
        """Bring the node up, or take it over. DeadlineError when the Node has no pod CIDRs in time; KernelError."""
        began = time.perf_counter()
        own = OwnNode(self.config, self.client)
        node = await own.find()
        self.datapath = Datapath(self.config, node)
        self.datapath.start()
        own.remember(self.datapath.node)
        self.drops = DropWatch(self.datapath.objects, self.datapath.drop_names)
        self.identities = PodIdentities(self.client, self.datapath, self.view)
        self.policy = PolicyFeature(self.config, self.client, self.datapath, self.view, self.identities)
        self.services = ServicesFeature(self.client, self.datapath, self.view, self.config.services)
        self.cni = CniServer(self.datapath, self.identities.identity_of, self.policy)
        self.cni.ready = lambda: "" if self.ready.is_set() else "its agent is starting"
        self.redirects = LocalRedirects(self.client, self.config.node, self.services)
        self.l2 = l2_feature.of_datapath(self.config, self.client, self.view, self.datapath)
        parts = (
            self.datapath,
            self.view,
            self.identities,
            self.policy,
            self.services,
            self.redirects,
            self.l2,
            self.drops,
        )
        context = AgentContext(self.config, self.client, *parts)
        for name, make in FEATURES:
            feature = make(context)
            self.features.append((name, feature))
            await feature.start()
        await self.view.start()
        try:
            await self.view.wait_synced(SYNC_PATIENCE_SECONDS)
            await self.identities.allocator.wait_synced(SYNC_PATIENCE_SECONDS)
            await self.policy.wait_built(SYNC_PATIENCE_SECONDS)
            await self.services.wait_built(SYNC_PATIENCE_SECONDS)
        except DeadlineError as error:
            log.warning("starting without the API's whole view: %s", error)
        self._started_in_ms = round((time.perf_counter() - began) * 1000, 1)
        self.ready.set()
        log.info("agent of %s is ready after %s ms", self.config.node, self._started_in_ms)

    async def stop(self) -> None:
        """End the agent. Pods keep their network."""
        self.ready.clear()
        await self.view.stop()
        for _, feature in reversed(self.features):
            await feature.stop()
        self.features.clear()
        if hasattr(self, "datapath"):
            await self.datapath.stop()
        if self._own_client:
            await self.client.close()

    def status(self) -> dict[str, Any]:
        """Everything about this agent that a person or a test wants to know first (GET /v1/status)."""
        node = self.datapath.node
        return {
            "cluster": self.config.cluster,
            "node": self.config.node,
            "pid": os.getpid(),
            "ready": self.ready.is_set(),
            "uptimeSeconds": round(time.monotonic() - self._began, 3),
            "startedInMs": self._started_in_ms,
            "timingMs": self.datapath.timing_ms,
            "rssBytes": rss_bytes(),
            "peakRssBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "routing": self.config.routing,
            "ipFamilies": list(self.config.ip_families),
            "addresses": [render(one) for one in node.addresses],
            "routers": [render(one) for one in node.routers()],
            "podCIDRs": [str(one) for one in node.pod_prefixes],
            "podMtu": self.datapath.endpoints.mtu,
            "endpoints": len(self.datapath.endpoints),
            "podCapacity": self.datapath.endpoints.parts.addresses.pool.capacity,
            "api": {"synced": self.view.synced, "lastError": self.view.last_error, "pods": self.view.pod_count()},
            "features": {name: feature.status() for name, feature in self.features},
        }


def rss_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()

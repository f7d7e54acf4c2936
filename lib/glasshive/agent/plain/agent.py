"""The agent of a node without eBPF. Same life and same face as ``agent.agent``: pods, identities, routes, services.

Policy is not enforced here, and it says so. Identities are still made known, so that nodes with eBPF recognise this
node's pods.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Any

from glasshive.agent.agent import SYNC_PATIENCE_SECONDS, rss_bytes
from glasshive.agent.cni import CniServer
from glasshive.agent.config import AgentConfig
from glasshive.agent.endpoint_objects import EndpointObjects
from glasshive.agent.l2.feature import L2Feature, Wire
from glasshive.agent.node_routes import NodeRoutes
from glasshive.agent.own_node import OwnNode
from glasshive.agent.plain.network import PlainNetwork
from glasshive.agent.plain.proxy import KubeProxy
from glasshive.agent.plain.rules import remove_all
from glasshive.agent.pod_identities import PodIdentities
from glasshive.agent.view import ClusterView
from glasshive.errors import DeadlineError
from glasshive.kube.client import Client
from glasshive.model.address import render
from glasshive.model.endpoint import Endpoint
from glasshive.net.neighbour_answers import NeighbourAnswers

log = logging.getLogger(__name__)


class NobodyEnforces:
    """In the place of feature "policy"."""

    def __init__(self) -> None:
        self.on_flip: list[Callable[[Endpoint], None]] = []

    def enforcement_texts(self, endpoint: Endpoint) -> tuple[str, str]:  # noqa: ARG002 - of none
        """Never."""
        return "Disabled", "Disabled"


class PlainAgent:
    """One node's agent. ``ready`` is set when pods can be attached."""

    network: PlainNetwork
    cni: CniServer
    identities: PodIdentities
    proxy: KubeProxy
    l2: L2Feature

    def __init__(self, config: AgentConfig, client: Client) -> None:
        self.config = config
        self.client = client
        self.ready = asyncio.Event()
        self.view = ClusterView(client, config.cluster, config.labels)
        self._parts: dict[str, Any] = {}
        self._began = time.monotonic()
        self._started_in_ms = 0.0

    async def start(self) -> None:
        """Bring the node up, or take it over. DeadlineError when the Node has no pod CIDRs in time; KernelError."""
        began = time.perf_counter()
        own = OwnNode(self.config, self.client)
        self.network = network = PlainNetwork(self.config, await own.find())
        network.start()
        own.remember(network.node)
        for wrong in remove_all(but=self.config.dataplane):
            log.warning("another dataplane's rules may still be there: %s", wrong)
        self.identities = PodIdentities(self.client, network, self.view)
        self.proxy = KubeProxy(self.client, network, self.view, self.config.services)
        made = network.devices
        self._answers = NeighbourAnswers(self.config.device, made.device, made.device_mac)
        wire = Wire(made.device, made.device_mac, self._answers)
        self.l2 = L2Feature(self.config, self.client, self.view, network.node, wire)
        self.cni = CniServer(network, self.identities.identity_of)
        self.cni.ready = lambda: "" if self.ready.is_set() else "its agent is starting"
        self._parts = {
            "identity": self.identities,
            "endpoints": EndpointObjects(self.client, network, self.identities, NobodyEnforces()),
            "routing": NodeRoutes(network, self.view, lambda: self.identities.complete),
            "services": self.proxy,
            "l2": self.l2,
        }
        for part in self._parts.values():
            await part.start()
        await self.view.start()
        try:
            await self.view.wait_synced(SYNC_PATIENCE_SECONDS)
            await self.identities.allocator.wait_synced(SYNC_PATIENCE_SECONDS)
            await self.proxy.wait_built(SYNC_PATIENCE_SECONDS)
        except DeadlineError as error:
            log.warning("starting without the API's whole view: %s", error)
        self._started_in_ms = round((time.perf_counter() - began) * 1000, 1)
        self.ready.set()

    async def stop(self) -> None:
        """End the agent. Pods keep their network."""
        self.ready.clear()
        await self.view.stop()
        for part in reversed(self._parts.values()):
            await part.stop()
        if hasattr(self, "l2"):
            self._answers.close()
        if hasattr(self, "network"):
            await self.network.stop()

    def status(self) -> dict[str, Any]:
        """As ``agent.agent`` says it, with what there is."""
        network = self.network
        return {
            "cluster": self.config.cluster,
            "node": self.config.node,
            "pid": os.getpid(),
            "ready": self.ready.is_set(),
            "dataplane": self.config.dataplane,
            "uptimeSeconds": round(time.monotonic() - self._began, 3),
            "startedInMs": self._started_in_ms,
            "timingMs": network.timing_ms,
            "rssBytes": rss_bytes(),
            "routing": self.config.routing,
            "ipFamilies": list(self.config.ip_families),
            "addresses": [render(one) for one in network.node.addresses],
            "routers": [render(one) for one in network.node.routers()],
            "podCIDRs": [str(one) for one in network.node.pod_prefixes],
            "podMtu": network.endpoints.mtu,
            "endpoints": len(network.endpoints),
            "api": {"synced": self.view.synced, "lastError": self.view.last_error, "pods": self.view.pod_count()},
            "features": {name: part.status() for name, part in self._parts.items()},
            "notEnforced": f"policies: the dataplane is {self.config.dataplane}",
        }

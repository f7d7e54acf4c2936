"""The network of a node without eBPF: forwarding, routes and fixed neighbours. What ``agent.datapath`` is elsewhere.

Started on a node where eBPF worked before, it takes the pods over as they run: programs and maps go, routes come.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

from glasshive import bpf
from glasshive.agent.config import AgentConfig
from glasshive.agent.datapath import only_families
from glasshive.agent.hurry import Hurry
from glasshive.agent.plain.host_routes import HostRoutes, NoHooks, NoIpcache
from glasshive.endpoint.departures import Departures
from glasshive.endpoint.quarantine import AddressBook
from glasshive.endpoint.store import EndpointStore
from glasshive.endpoint.table import EndpointTable, Parts
from glasshive.errors import UsageError
from glasshive.identity.reserved import ReservedIdentities
from glasshive.ipam.node_pool import NodePool
from glasshive.model.address import Address, Prefix, parse
from glasshive.model.node import NodeFacts
from glasshive.net import netlink
from glasshive.node import devices
from glasshive.routing.desired import Route, Ways, desired
from glasshive.routing.sync import RouteSync

log = logging.getLogger(__name__)


class PlainNetwork:
    """Everything of such a node that is in its kernel, but for kube-proxy's rules."""

    endpoints: EndpointTable
    departures: Departures
    routes: RouteSync
    reserved: ReservedIdentities

    def __init__(self, config: AgentConfig, node: NodeFacts) -> None:
        self.config = config
        self.node = only_families(node, config.ip_families)
        if config.tunnel:
            raise UsageError(
                f"node {node.name}: dataplane {config.dataplane} and routing tunnel do not go together",
                hint="use routing native, or dataplane ebpf",
            )
        if not self.node.pod_prefixes:
            raise UsageError(f"node {node.name} has no pod CIDR of {' or '.join(config.ip_families)}")
        self.ipcache = NoIpcache()
        self.timing_ms: dict[str, Any] = {}
        self._hurry = Hurry()

    def start(self) -> None:
        """Bring the node's network up, or take it over from whoever had it."""
        began = time.perf_counter()
        config = self.config
        services = [parse(text) for text in config.host_services]
        self.devices = made = devices.prepare(self.node, config.device, tunnel=False, services=services)
        enums = bpf.ObjectSpec.open(config.objects / "host.bpf.o").btf
        self.reserved = ReservedIdentities(bpf.btf.enum(enums, "gh_identity"))
        self._wire = netlink.Socket()
        self.routes = RouteSync(self._wire)
        mtu = min(made.device_mtu, config.mtu)
        self._ways = Ways(made.device, made.host, tunnel=False, pod_mtu=mtu)
        self._pods = HostRoutes(self._wire, self.routes)
        book = AddressBook(NodePool([str(one) for one in self.node.pod_prefixes]), lambda _: None)
        parts = Parts(self._pods, self.ipcache, NoHooks(), EndpointStore(config.endpoints_file), book, self._wire)
        self.endpoints = EndpointTable(parts, mtu)
        restored = self.endpoints.restore()
        self.routes.add(desired([self.node], self.node.name, self._ways))
        for endpoint in restored:
            self._pods.put(endpoint)
        self.endpoints.adopt()
        self.departures = Departures(self.endpoints)
        if config.pins.exists():
            # Only now that routes carry the packets; a link goes with its pin.
            with bpf.expedited_rcu():
                shutil.rmtree(config.pins)
        self.timing_ms["total"] = round((time.perf_counter() - began) * 1000, 2)
        log.info("plain network of %s: %d endpoints restored", self.node.name, len(restored))

    async def stop(self) -> None:
        """Let go; routes and rules go on working."""
        self._hurry.end()
        await self.departures.stop()
        self._wire.close()
        self.endpoints.parts.store.close()

    def hurry(self) -> None:
        """Pods are being attached or detached."""
        self._hurry.begin()

    def wanted_routes(self, nodes: Sequence[NodeFacts]) -> Mapping[Prefix, Route]:
        """Other nodes' prefixes and this node's pods."""
        return desired(nodes, self.config.node, self._ways) | self._pods.wanted

    def reconcile(self) -> int:
        """Routes are compared by feature "routing"; there is nothing else."""
        return 0

    def set_services(self, addresses: Sequence[Address], identity: int) -> None:
        """Nobody asks here."""

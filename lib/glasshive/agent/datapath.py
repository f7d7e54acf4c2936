"""A node's datapath without Kubernetes: devices, programs, maps, endpoints.

``start`` prepares a node's network namespace (the one this process is in) or takes over what an earlier agent left
there. The order is that of a change under traffic: maps are filled before programs that read them are put in place, and
nothing is detached.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from zlib import crc32

from glasshive import bpf
from glasshive.agent import objects, sockets
from glasshive.agent.config import AgentConfig
from glasshive.agent.connections import Connections
from glasshive.agent.hurry import Hurry
from glasshive.agent.objects import Objects
from glasshive.bpf import link
from glasshive.endpoint.departures import Departures
from glasshive.endpoint.links import PodLinks, PodPrograms
from glasshive.endpoint.quarantine import AddressBook
from glasshive.endpoint.store import EndpointStore
from glasshive.endpoint.table import EndpointTable, Parts
from glasshive.errors import UsageError
from glasshive.identity.reserved import ReservedIdentities
from glasshive.ipam.node_pool import NodePool
from glasshive.ipcache.desired import View, Vocabulary
from glasshive.ipcache.sync import IpcacheSync
from glasshive.maps.drops import DropNames
from glasshive.maps.endpoints import EndpointsMap, HostEntry
from glasshive.maps.ipcache import IpcacheMap
from glasshive.model.address import Address, Prefix, is_ipv4, parse
from glasshive.model.endpoint import NOT_ENFORCED, Enforcement
from glasshive.model.node import NodeFacts
from glasshive.net import netlink
from glasshive.node import devices
from glasshive.node.config import Devices, node_config, pod_mtu
from glasshive.routing.desired import Route, Ways, desired
from glasshive.routing.sync import RouteSync
from glasshive.service.settings import seed_of

log = logging.getLogger(__name__)

ENDPOINTS_LEAST, ENDPOINTS_MOST, ENDPOINTS_SPARE = 4_096, 32_768, 16
IPCACHE_ENTRIES = 512_000
"""The trie allocates as it grows."""


class Datapath:
    """Everything of a node that is in its kernel. Built and started in the node's network namespace."""

    endpoints: EndpointTable
    ipcache: IpcacheSync
    routes: RouteSync
    connections: Connections
    objects: Objects
    reserved: ReservedIdentities
    drop_names: DropNames
    ways: Ways
    departures: Departures
    devices: Devices
    socket_trouble: str
    """Why calls of services are not translated at sockets; "" if they are."""
    _rows: EndpointsMap

    def __init__(self, config: AgentConfig, node: NodeFacts) -> None:
        self.config = config
        self.node = only_families(node, config.ip_families)
        if not self.node.pod_prefixes:
            raise UsageError(f"node {node.name} has no pod CIDR of {' or '.join(config.ip_families)}")
        self.timing_ms: dict[str, Any] = {}
        self._hurry = Hurry()
        self._wire: netlink.Socket | None = None
        self._host_entries: list[HostEntry] = []
        self._services_before: dict[Address, int] = {}
        self._host_enforcement = NOT_ENFORCED

    def start(self) -> None:
        """Bring the node's datapath up, or take it over. Errors name what is missing; a second start mends the rest."""
        began = time.perf_counter()
        config, node = self.config, self.node
        services = [parse(text) for text in config.host_services]
        made = devices.prepare(node, config.device, tunnel=config.tunnel, services=services)
        self.devices = made
        self.timing_ms["devices"] = _since(began)
        loading, cpu = time.perf_counter(), time.process_time()

        def told(flags: Mapping[str, int]) -> Mapping[str, Any]:
            tunnel, masquerade = config.tunnel, config.masquerade
            # What the node's own processes may do is a row of each policy, so that rules can forbid it.
            return node_config(
                node, made, flags, tunnel=tunnel, masquerade=masquerade, families=config.ip_families,
                allow_localhost=False, maglev=(crc32(seed_of(config.services.hash_seed)), config.services.table_size),
            )  # fmt: skip

        entries = {"endpoints": endpoint_entries(node), "ipcache": IPCACHE_ENTRIES, **config.map_entries}
        self.objects = objects.load(
            config.objects, config.pins, told,
            tunnel=config.tunnel, map_entries=entries, netns_cookie=sockets.netns_cookie(),
        )  # fmt: skip
        self.timing_ms["load"] = _since(loading)
        self._build(made)
        attaching = time.perf_counter()
        with bpf.expedited_rcu():
            restored = self.endpoints.restore()
            self._fill()
            self._attach_devices(made)
            self.socket_trouble = sockets.attach(self.objects, config.cgroup, config.pins / "links")
            self.endpoints.adopt()
        self.timing_ms["attach"] = _since(attaching)
        self.timing_ms["load_and_attach"] = _since(loading)
        self.timing_ms["load_and_attach_cpu"] = round((time.process_time() - cpu) * 1000, 2)
        ours = [*self.node.routers(), *(address for one in restored for address in one.addresses)]
        self.connections.forget_departed(self.node.pod_prefixes, ours)
        self.timing_ms["objects"] = dict(self.objects.timing_ms)
        self.timing_ms["total"] = _since(began)
        log.info("datapath of %s: %d endpoints restored, %s ms", node.name, len(restored), self.timing_ms["total"])

    async def stop(self) -> None:
        """Let go, after what has begun is finished. What is attached and pinned goes on working."""
        self._hurry.end()
        if hasattr(self, "departures"):
            await self.departures.stop()
        if self._wire is not None:
            self._wire.close()
            self._wire = None
            self.endpoints.parts.store.close()

    def hurry(self) -> None:
        """Pods are being attached or detached."""
        self._hurry.begin()

    def _own_addresses(self, made: Devices) -> list[HostEntry]:
        """The node's own addresses as endpoints: fabric ones at its device, routers and services at ``gh_host``."""
        host = self.objects.number("gh_endpoint_flags", "GH_ENDPOINT_HOST")
        router = host | self.objects.number("gh_endpoint_flags", "GH_ENDPOINT_ROUTER")
        identity = self.reserved.number("host")
        firewall, mac = self._host_enforcement, made.device_mac
        entries = [HostEntry(one, made.device, identity, host, mac, firewall) for one in self.node.addresses]
        entries += [HostEntry(one, made.host, identity, router, enforcement=firewall) for one in self.node.routers()]
        for service in (parse(text) for text in self.config.host_services):
            known = self._services_before.get(service, identity)
            entries.append(HostEntry(service, made.host, known, host))
        return entries

    def _build(self, made: Devices) -> None:
        """Put the parts together; nothing in the kernel changes here."""
        config, found = self.config, self.objects
        self._wire = netlink.Socket()
        self.reserved = ReservedIdentities(found.enum("gh_identity"))
        self.drop_names = DropNames(found.enum("gh_drop_reason"), found.enum("gh_direction"))
        self.connections = Connections.of(found)
        self.ipcache = IpcacheSync(
            IpcacheMap(objects.needed(found, "maps", "ipcache")),
            View(config.node, config.tunnel, config.dual_stack),
            vocabulary(found, self.reserved),
        )
        fabric_mtu = min(made.device_mtu, config.mtu)
        mtu = pod_mtu(fabric_mtu, tunnel=config.tunnel, underlay_ipv4=_underlay_is_ipv4(self.node))
        self.ways = Ways(made.device, made.host, config.tunnel, mtu)
        self.routes = RouteSync(self._wire)
        kernel = self._rows = EndpointsMap(objects.needed(found, "maps", "endpoints"))
        services = [parse(text) for text in config.host_services]
        before = kernel.host_state([*services, *self.node.addresses])
        self._services_before = {one: before[one][0] for one in services if one in before}
        self._host_enforcement = next((before[one][1] for one in self.node.addresses if one in before), NOT_ENFORCED)
        self._host_entries = self._own_addresses(made)
        programs = PodPrograms(
            objects.needed(found, "programs", "from_pod"), objects.needed(found, "programs", "to_pod")
        )
        parts = Parts(
            endpoints=kernel,
            ipcache=self.ipcache,
            links=PodLinks(config.pins / "links", programs),
            store=EndpointStore(config.endpoints_file),
            addresses=AddressBook(NodePool([str(one) for one in self.node.pod_prefixes]), self.connections.forget),
            wire=self._wire,
        )
        self.endpoints = EndpointTable(parts, mtu)
        self.departures = Departures(self.endpoints)

    def set_services(self, addresses: Sequence[Address], identity: int) -> None:
        """Service addresses that the node itself answers at have this identity."""
        changed = [replace(one, identity=identity) for one in self._host_entries if one.address in addresses]
        self._host_entries = [one for one in self._host_entries if one.address not in addresses] + changed
        self._rows.put_host(changed)
        self.ipcache.set_services(addresses, identity)

    def set_host_enforcement(self, enforcement: Enforcement) -> bool:
        """Host firewall: the policy of the node's own addresses; whether it is another one than before."""
        if enforcement == self._host_enforcement:
            return False
        self._host_enforcement = enforcement
        services = {parse(text) for text in self.config.host_services}
        changed = [replace(one, enforcement=enforcement) for one in self._host_entries if one.address not in services]
        self._host_entries = [one for one in self._host_entries if one.address in services] + changed
        self._rows.put_host(changed)
        return True

    def wanted_routes(self, nodes: Sequence[NodeFacts]) -> Mapping[Prefix, Route]:
        """The routes that follow from all nodes."""
        return desired(nodes, self.config.node, self.ways)

    def reconcile(self) -> int:
        """Compare endpoints and ipcache with the kernel's maps and mend these; how many entries were wrong."""
        self.ipcache.set_routed(())
        endpoints = self._rows.reconcile(self.endpoints, self._host_entries)
        return sum(endpoints) + sum(self.ipcache.reconcile())

    def _fill(self) -> None:
        """Endpoints as they should be; ipcache and routes of this node. Other nodes' stay until the API told all."""
        self._rows.reconcile(self.endpoints, self._host_entries)
        self.ipcache.set_node(self.node)
        if "ipcache" not in self.objects.taken_over:
            # Pods were here before (under another dataplane, or with maps of another layout) and may be talking: what
            # they send to other nodes' pods must not be taken for the world's and be masqueraded.
            self.ipcache.set_routed(self.routes.present())
        for identity in set(self._services_before.values()):
            self.ipcache.set_services(list(self._services_before), identity)
        self.ipcache.flush()
        self.routes.add(desired([self.node], self.node.name, self.ways))

    def _attach_devices(self, made: Devices) -> None:
        """The node's own hooks, taken over in place where an earlier agent had attached them."""
        links = self.config.pins / "links"
        plan: list[tuple[str, int, bpf.link.Direction]] = [
            ("from_netdev", made.device, "ingress"),
            ("to_netdev", made.device, "egress"),
            ("from_host", made.host, "egress"),
        ]
        if self.config.tunnel:
            plan.append(("from_overlay", made.overlay, "ingress"))
        for name, ifindex, direction in plan:
            program = objects.needed(self.objects, "programs", name)
            link.attach_tc(program, ifindex, direction, links / name).close()


def endpoint_entries(node: NodeFacts) -> int:
    """Size of the map ``endpoints``: room for a full pool, within reason (the kernel allocates it at once)."""
    pods = min(1 << (128 - prefix.length) for prefix in node.pod_prefixes)
    wanted = (pods + ENDPOINTS_SPARE) * len(node.pod_prefixes)
    return min(max(wanted, ENDPOINTS_LEAST), ENDPOINTS_MOST)


def vocabulary(found: Objects, reserved: ReservedIdentities) -> Vocabulary:
    """Numbers that the ipcache is written with."""
    flags = found.enum("gh_ipcache_flags")
    return Vocabulary(
        host=reserved.number("host"),
        remote_node=reserved.number("remote-node"),
        world=reserved.number("world"),
        world_ipv4=reserved.number("world-ipv4"),
        world_ipv6=reserved.number("world-ipv6"),
        init=reserved.number("init"),
        in_cluster=int(flags["GH_IPCACHE_IN_CLUSTER"]),
        tunnel=int(flags["GH_IPCACHE_TUNNEL"]),
        onlink=int(flags["GH_IPCACHE_ONLINK"]),
    )


def only_families(node: NodeFacts, families: Iterable[str]) -> NodeFacts:
    """A node's facts without what belongs to a family that the cluster does not use."""
    ipv4, ipv6 = "ipv4" in families, "ipv6" in families
    return NodeFacts(
        node.name,
        tuple(one for one in node.addresses if (ipv4 if is_ipv4(one) else ipv6)),
        tuple(one for one in node.pod_prefixes if (ipv4 if one.is_ipv4 else ipv6)),
        node.labels,
    )


def _underlay_is_ipv4(node: NodeFacts) -> bool:
    underlay = node.underlay()
    return underlay is None or is_ipv4(underlay)


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 2)

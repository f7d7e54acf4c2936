"""From a Service and its EndpointSlices to a node's frontends and backends. Pure.

Called from inside the cluster (``internal``) and from outside (``external``) a frontend may have different backends:
externalTrafficPolicy is for callers from outside, internalTrafficPolicy for callers of the cluster address. A call
from inside to a node port, external or load balancer address goes to any backend, whatever externalTrafficPolicy says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from glasshive.api.service import ANY_IPV4, ANY_IPV6
from glasshive.model.address import is_ipv4, render
from glasshive.model.policy import TCP
from glasshive.model.service import (
    Backend,
    BackendSet,
    BackendState,
    EndpointSlice,
    Frontend,
    FrontendFlag,
    FrontendType,
    HostPort,
    Place,
    Service,
    ServiceEndpoint,
    ServicePort,
    ServiceTables,
)
from glasshive.service.choose import Choice, choose
from glasshive.service.settings import NodeView, ServiceSettings

RANK_REDIRECT, RANK_SERVICE, RANK_HOST_PORT = 0, 1, 2
"""Who has a place that several kinds of owners want: the smaller rank."""

# Plain numbers: operations on enum flags cost a microsecond each, and there may be 100,000 frontends.
_AFFINITY, _RANGES, _DENY = map(int, (FrontendFlag.AFFINITY, FrontendFlag.SOURCE_RANGES, FrontendFlag.SOURCE_DENY))
_REJECT, _ROUTABLE, _MAGLEV = map(int, (FrontendFlag.REJECT, FrontendFlag.ROUTABLE, FrontendFlag.MAGLEV))
_EXTERNAL_LOCAL, _INTERNAL_LOCAL = int(FrontendFlag.EXTERNAL_LOCAL), int(FrontendFlag.INTERNAL_LOCAL)
_DSR = int(FrontendFlag.DSR)


class Ends(NamedTuple):
    """The endpoints of one port and family: where each one is, what it is, and who is chosen."""

    places: Sequence[Place]
    endpoints: Sequence[ServiceEndpoint]
    weights: Sequence[int]
    """Empty: all weigh 1."""
    choice: Choice

    def chosen(self, which: Sequence[int]) -> BackendSet:
        """Some of them as a set, each place once."""
        if self.weights:
            return tuple(sorted({self.places[at]: self.weights[at] for at in which}.items()))
        places = self.places if len(which) == len(self.places) else [self.places[at] for at in which]
        return tuple([(place, 1) for place in sorted(set(places))])


def desired(
    service: Service, slices: Sequence[EndpointSlice], node: NodeView, settings: ServiceSettings
) -> ServiceTables:
    """A node's tables as far as one Service goes."""
    order = (RANK_SERVICE, service.created, str(service.ref))
    if service.headless or service.external_name:
        return ServiceTables(order=order)
    frontends: list[Frontend] = []
    backends: dict[Place, Backend] = {}
    for port in service.ports:
        for ipv4 in families(service, node):
            ends = ends_of(service, port, slices, node, settings, ipv4=ipv4)
            _note_backends(backends, ends, node)
            frontends.extend(_frontends(service, port, ends, node, settings, ipv4=ipv4))
    return ServiceTables(tuple(frontends), tuple(backends.items()), order)


def families(service: Service, node: NodeView) -> list[bool]:
    """The families that a Service has on this node: whether each is IPv4."""
    return [ipv4 for ipv4, told, ours in ((True, service.ipv4, node.ipv4), (False, service.ipv6, node.ipv6))
            if told and ours]  # fmt: skip


def ends_of(
    service: Service,
    port: ServicePort,
    slices: Sequence[EndpointSlice],
    node: NodeView,
    settings: ServiceSettings,
    *,
    ipv4: bool,
) -> Ends:
    """Who may answer at one port of a Service, by one address family."""
    told = dict(service.weights)
    protocol = port.protocol
    places: list[Place] = []
    found: list[ServiceEndpoint] = []
    for part in slices:
        number = _port_of(part, port) if part.ipv4 == ipv4 else 0
        if number:
            places += [Place(one.address, number, protocol) for one in part.endpoints]
            found += part.endpoints
    weights = [told.get(one.pod, told.get(render(one.address), 1)) for one in found] if told else ()
    return Ends(places, found, weights, choose(found, node, weights=weights, topology=settings.topology))


def _port_of(part: EndpointSlice, port: ServicePort) -> int:
    for name, protocol, number in part.ports:
        if name == port.name and protocol == port.protocol:
            return number
    return 0


def _note_backends(backends: dict[Place, Backend], ends: Ends, node: NodeView) -> None:
    for at, (place, endpoint) in enumerate(zip(ends.places, ends.endpoints, strict=True)):
        weight = ends.weights[at] if ends.weights else 1
        made = _backend(endpoint.ready, endpoint.terminating, endpoint.node == node.name, endpoint.zone, weight)
        known = backends.get(place)
        # During a move from one slice to another an endpoint is in both: the better one is the newer.
        if known is None or made.state < known.state:
            backends[place] = made


@cache
def _backend(ready: bool, terminating: bool, local: bool, zone: str, weight: int) -> Backend:
    """There are few different ones: they are shared."""
    if ready:
        return Backend(BackendState.ACTIVE if weight else BackendState.MAINTENANCE, local, zone, weight)
    return Backend(BackendState.TERMINATING if terminating else BackendState.QUARANTINED, local, zone, weight)


def _frontends(
    service: Service, port: ServicePort, ends: Ends, node: NodeView, settings: ServiceSettings, *, ipv4: bool
) -> Iterator[Frontend]:
    anyone = ends.chosen(ends.choice.cluster)
    local = ends.chosen(ends.choice.local) if service.external_local or service.internal_local else ()
    base = _AFFINITY if service.affinity_s else 0
    if not anyone and not local and settings.no_backend == "reject":
        base |= _REJECT
    inside = local if service.internal_local else anyone
    outside = local if service.external_local else anyone
    flags = base | _inside_flags(service, settings)
    for address in service.cluster_addresses:
        if is_ipv4(address) == ipv4 and address not in node.answered_here and _exposes(service, "ClusterIP"):
            place = Place(address, port.port, port.protocol)
            yield Frontend(place, FrontendType.CLUSTER_IP, flags, inside, inside, service.affinity_s, (), port.name)
    if not (port.node_port or service.external_addresses or service.balancer_addresses):
        return
    flags = base | _outside_flags(service, port, settings)
    for place, kind in _outer_places(service, port, ipv4=ipv4):
        ranges, more = service.source_ranges, 0
        if kind != FrontendType.LOAD_BALANCER or not service.source_ranged:
            ranges = ()
        else:
            more = _RANGES | (_DENY if service.source_deny else 0)
            ranges = tuple(one for one in ranges if one.is_ipv4 == ipv4)
        yield Frontend(place, kind, flags | more, anyone, outside, service.affinity_s, ranges, port.name)


def _exposes(service: Service, kind: str) -> bool:
    return not service.exposed or kind in service.exposed


def _outer_places(service: Service, port: ServicePort, *, ipv4: bool) -> Iterator[tuple[Place, FrontendType]]:
    if port.node_port and _exposes(service, "NodePort"):
        yield Place(ANY_IPV4 if ipv4 else ANY_IPV6, port.node_port, port.protocol), FrontendType.NODE_PORT
    for kind, name, addresses in (
        (FrontendType.EXTERNAL_IP, "ExternalIPs", service.external_addresses),
        (FrontendType.LOAD_BALANCER, "LoadBalancer", service.balancer_addresses),
    ):
        for address in addresses:
            if is_ipv4(address) == ipv4 and _exposes(service, name):
                yield Place(address, port.port, port.protocol), kind


def _inside_flags(service: Service, settings: ServiceSettings) -> int:
    flags = _INTERNAL_LOCAL if service.internal_local else 0
    if settings.external_cluster_ip:
        flags |= _ROUTABLE
        if _algorithm(service, settings) == "maglev":
            flags |= _MAGLEV
    return flags


def _outside_flags(service: Service, port: ServicePort, settings: ServiceSettings) -> int:
    flags = _ROUTABLE
    if _algorithm(service, settings) == "maglev":
        flags |= _MAGLEV
    if service.external_local:
        return flags | _EXTERNAL_LOCAL  # the answer comes from here, there is nothing to choose
    mode = service.forwarding or settings.mode
    if mode == "dsr" or (mode == "hybrid" and port.protocol == TCP):
        flags |= _DSR
    return flags


def _algorithm(service: Service, settings: ServiceSettings) -> str:
    return service.algorithm or settings.algorithm


def host_ports(found: Iterable[HostPort], created: str, pod: str, node: NodeView) -> ServiceTables:
    """What a pod's host ports put into the tables of its own node."""
    frontends, backends = [], []
    for one in found:
        if not (node.ipv4 if is_ipv4(one.target) else node.ipv6):
            continue
        target = Place(one.target, one.target_port, one.protocol)
        place = Place(one.host, one.port, one.protocol)
        chosen = ((target, 1),)
        frontends.append(Frontend(place, FrontendType.HOST_PORT, _ROUTABLE, chosen, chosen))
        backends.append((target, Backend(local=True)))
    return ServiceTables(tuple(frontends), tuple(backends), (RANK_HOST_PORT, created, pod))

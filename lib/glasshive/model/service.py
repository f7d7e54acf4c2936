"""Services as values: what clients may call, who may answer, and the tables that follow from both for one node.

``api.service`` reads objects into ``Service`` and ``EndpointSlice``; ``service.desired`` makes ``ServiceTables`` of
them; ``service.sync`` gives these numbers and writes them (``bpf/types/service.h``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import NamedTuple

from glasshive.errors import UsageError
from glasshive.model.address import Address, Prefix, parse, render

MAINTENANCE_WEIGHT = 0
AFFINITY_SECONDS = 10_800
"""How long Kubernetes has a client return to its backend when the Service does not say."""


class ServiceRef(NamedTuple):
    """Name of a Service."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class ServicePort(NamedTuple):
    """One port of a Service. ``protocol`` is the IP protocol number; ``node_port`` 0: none."""

    name: str
    protocol: int
    port: int
    node_port: int = 0


class ServiceFinding(NamedTuple):
    """Something about a Service's object that is wrong, or not done: the field, and one sentence."""

    field: str
    text: str


class ServiceCondition(NamedTuple):
    """What the operator says of a Service that is not as it should be (status False)."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Service:
    """A Service as far as a datapath cares. Addresses are of the cluster's families only where the object says so."""

    ref: ServiceRef
    uid: str = ""
    created: str = ""
    """RFC 3339 time, which sorts as text: of two that want the same, the older has it."""
    type: str = "ClusterIP"
    cluster_addresses: tuple[Address, ...] = ()
    external_addresses: tuple[Address, ...] = ()
    balancer_addresses: tuple[Address, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    ipv4: bool = True
    ipv6: bool = False
    affinity_s: int = 0
    """0: no session affinity."""
    external_local: bool = False
    internal_local: bool = False
    source_ranges: tuple[Prefix, ...] = ()
    source_ranged: bool = False
    """Whether source ranges are in force, even if none of them makes sense."""
    source_deny: bool = False
    health_port: int = 0
    algorithm: str = ""
    """``random``, ``maglev``, or "" for the node's."""
    forwarding: str = ""
    """``snat``, ``dsr``, or "" for the node's."""
    exposed: frozenset[str] = frozenset()
    """Kinds of frontends that are made; empty: all that the type asks for."""
    weights: tuple[tuple[str, int], ...] = ()
    """Pods (by name) or addresses that do not have the weight 1."""
    selects: bool = True
    """Whether it has a selector."""
    external_name: str = ""
    findings: tuple[ServiceFinding, ...] = ()
    conditions: tuple[ServiceCondition, ...] = ()

    @property
    def headless(self) -> bool:
        """Whether clients get its endpoints' addresses by name instead of one address."""
        return not self.cluster_addresses and self.type == "ClusterIP"


class ServiceEndpoint(NamedTuple):
    """Somebody who may answer for a Service, at one address."""

    address: Address
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node: str = ""
    zone: str = ""
    zone_hints: tuple[str, ...] = ()
    node_hints: tuple[str, ...] = ()
    pod: str = ""


class EndpointSlice(NamedTuple):
    """Part of a Service's endpoints, of one family. ``ports``: (name, IP protocol number, port)."""

    service: ServiceRef
    name: str
    ipv4: bool
    ports: tuple[tuple[str, int, int], ...] = ()
    endpoints: tuple[ServiceEndpoint, ...] = ()


class HostPort(NamedTuple):
    """A port of a pod that is also one of its node. ``host`` is the zero address of its family where none is given."""

    host: Address
    port: int
    protocol: int
    target: Address
    target_port: int


# -- tables


class FrontendType(IntEnum):
    """``enum gh_frontend_type``."""

    CLUSTER_IP = 1
    NODE_PORT = 2
    EXTERNAL_IP = 3
    LOAD_BALANCER = 4
    HOST_PORT = 5
    LOCAL_REDIRECT = 6


class FrontendFlag(IntFlag):
    """``enum gh_frontend_flags``."""

    AFFINITY = 1
    SOURCE_RANGES = 2
    SOURCE_DENY = 4
    EXTERNAL_LOCAL = 8
    INTERNAL_LOCAL = 16
    DSR = 32
    REJECT = 64
    ROUTABLE = 128
    MAGLEV = 256


class BackendState(IntEnum):
    """``enum gh_backend_state``."""

    ACTIVE = 0
    TERMINATING = 1
    QUARANTINED = 2
    MAINTENANCE = 3
    GONE = 4


TYPE_NAMES = {
    FrontendType.CLUSTER_IP: "ClusterIP",
    FrontendType.NODE_PORT: "NodePort",
    FrontendType.EXTERNAL_IP: "ExternalIPs",
    FrontendType.LOAD_BALANCER: "LoadBalancer",
    FrontendType.HOST_PORT: "HostPort",
    FrontendType.LOCAL_REDIRECT: "LocalRedirect",
}
"""What people call them."""
PROTOCOL_NAMES = {6: "TCP", 17: "UDP", 132: "SCTP"}


class Place(NamedTuple):
    """An address, port and IP protocol: of a frontend, or of a backend. The zero addresses stand for any node's."""

    address: Address
    port: int
    protocol: int

    def __str__(self) -> str:
        text = render(self.address)
        shown = f"[{text}]" if ":" in text else text
        return f"{shown}:{self.port}/{PROTOCOL_NAMES.get(self.protocol, self.protocol)}"


def parse_place(text: str) -> Place:
    """A place of its text form, ``10.96.0.1:443/TCP`` or ``[fd00::1]:53/UDP``; without a protocol TCP. UsageError."""
    rest, _, word = text.partition("/")
    address, colon, port = rest.rpartition(":")
    protocol = {name: number for number, name in PROTOCOL_NAMES.items()}.get((word or "TCP").upper())
    if not colon or not port.isdigit() or not 0 < int(port) < 65536 or protocol is None:
        raise UsageError(f"{text!r} is not ADDRESS:PORT/PROTOCOL", hint="10.96.0.10:53/UDP, [fd00::1]:80/TCP")
    return Place(parse(address.removeprefix("[").removesuffix("]")), int(port), protocol)


class Backend(NamedTuple):
    """What is known of a backend besides its place."""

    state: BackendState = BackendState.ACTIVE
    local: bool = False
    zone: str = ""
    weight: int = 1


BackendSet = tuple[tuple[Place, int], ...]
"""Backends to choose from, each with its weight."""


class Frontend(NamedTuple):
    """What a place leads to. ``order``: of two that want the same place, the smaller one has it."""

    place: Place
    type: FrontendType
    flags: int
    internal: BackendSet
    external: BackendSet
    affinity_s: int = 0
    source_ranges: tuple[Prefix, ...] = ()
    port_name: str = ""


class ServiceTables(NamedTuple):
    """Everything that one owner (a Service, a pod with host ports, a redirect policy) puts into a node's tables."""

    frontends: tuple[Frontend, ...] = ()
    backends: tuple[tuple[Place, Backend], ...] = ()
    order: tuple[int, str, str] = (0, "", "")
    """Of two owners that want the same place, the smaller has it: rank, age, name."""


NO_TABLES = ServiceTables()

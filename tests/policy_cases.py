"""Hypothesis strategies for clusters, policies and packets: few names and numbers, so that things meet often."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from hypothesis import strategies as st

from glasshive.model.address import Prefix
from glasshive.model.identity import Identity
from glasshive.model.labels import Label, Labels
from glasshive.model.policy import (
    Action,
    CidrPeer,
    DefaultDeny,
    Direction,
    LabelPeer,
    Match,
    ObjectRef,
    Peer,
    PolicyObject,
    Ports,
    Rule,
    RuleOrigin,
    Subject,
    SubjectKind,
    Tier,
)
from glasshive.policy.ports import NamedPort
from policy_manifests import written
from policy_oracle import Cluster, Somebody

VALUES = {"app": ("a", "b", "c"), "env": ("x", "y"), "io.kubernetes.pod.namespace": ("n1", "n2")}
PREFIXES = (
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3/32",
    "172.30.0.0/24",
    "::/0",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "2001:db8:1::5/128",
    "fd30::/64",
)
OUTSIDE = (
    "8.8.8.8",
    "10.2.0.1",
    "10.1.9.9",
    "10.1.2.9",
    "10.1.2.3",
    "2001:4860::1",
    "2001:db8::1",
    "2001:db8:1::6",
    "2001:db8:1::5",
)
NODES = ("172.30.0.12", "fd30::12")
NAMES = frozenset((("http", 6, 80), ("http", 6, 8080), ("dns", 17, 53), ("dns", 6, 53), ("odd", 132, 81)))
PORTS = (0, 1, 53, 80, 81, 443, 1023, 8080, 65535)
PACKETS = (
    *((protocol, port) for protocol in (6, 17, 132) for port in PORTS),
    *((1, 0), (1, 8), (58, 128), (58, 1), (47, 0), (112, 0)),
)

HOST, WORLD, REMOTE_NODE, WORLD_IPV4, WORLD_IPV6 = 1, 2, 6, 9, 10
RESERVED = {HOST: "host", WORLD: "world", 4: "health", 5: "init", REMOTE_NODE: "remote-node", 8: "ingress"} | {
    WORLD_IPV4: "world-ipv4",
    WORLD_IPV6: "world-ipv6",
}


def reserved(number: int) -> Identity:
    return Identity(number, Labels.of([Label("reserved", RESERVED[number])]))


@st.composite
def pod_labels(draw: st.DrawFn) -> Labels:
    namespace = draw(st.sampled_from(("n1", "n2")))
    labels = [
        Label("k8s", "io.kubernetes.pod.namespace", namespace),
        Label("k8s", "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name", namespace),
    ]
    for key in ("app", "env"):
        value = draw(st.sampled_from((*VALUES[key], None)))
        if value is not None:
            labels.append(Label("k8s", key, value))
    return Labels.of(labels)


@st.composite
def matches(draw: st.DrawFn) -> Match:
    if draw(st.integers(0, 4)) == 0:
        name = draw(st.sampled_from(sorted(RESERVED.values())))
        return Match("reserved", name, draw(st.sampled_from(("exists", "exists", "absent"))))
    key = draw(st.sampled_from(sorted(VALUES)))
    op = draw(st.sampled_from(("in", "in", "in", "notin", "exists", "absent")))
    values = draw(st.frozensets(st.sampled_from(VALUES[key]), min_size=1, max_size=2))
    return Match(draw(st.sampled_from(("k8s", "any"))), key, op, values if op in ("in", "notin") else frozenset())


def label_peers() -> st.SearchStrategy[Peer]:
    return st.lists(matches(), max_size=2).map(lambda found: LabelPeer(tuple(found)))


@st.composite
def cidr_peers(draw: st.DrawFn) -> Peer:
    prefix = Prefix.parse(draw(st.sampled_from(PREFIXES)))
    within = [one for one in map(Prefix.parse, PREFIXES) if one.length > prefix.length and _below(one, prefix)]
    excepts = draw(st.lists(st.sampled_from(within), max_size=2, unique=True)) if within else []
    return CidrPeer(prefix, tuple(excepts))


def _below(inner: Prefix, outer: Prefix) -> bool:
    one, other = ipaddress.ip_network(str(inner)), ipaddress.ip_network(str(outer))
    return one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type]


@st.composite
def port_sets(draw: st.DrawFn) -> Ports:
    if draw(st.integers(0, 5)) == 0:
        name, protocol, _ = draw(st.sampled_from(sorted(NAMES)))
        return Ports(draw(st.sampled_from((protocol, 0))), name=name)
    if draw(st.integers(0, 5)) == 0:
        kind = draw(st.sampled_from((0, 1, 8, 128)))
        return Ports(draw(st.sampled_from((1, 58))), kind, draw(st.sampled_from((kind, 255))))
    first, last = sorted((draw(st.sampled_from(PORTS)), draw(st.sampled_from(PORTS))))
    if draw(st.booleans()):
        last = first
    return Ports(draw(st.sampled_from((0, 6, 6, 17, 132))), first, last)


def subjects() -> st.SearchStrategy[Subject]:
    some = st.lists(matches().filter(lambda one: one.source != "reserved"), max_size=1).map(tuple)
    return st.one_of(
        some.map(lambda found: Subject(SubjectKind.ENDPOINT, found)),
        some.map(lambda found: Subject(SubjectKind.ENDPOINT, found)),
        st.just(Subject(SubjectKind.ENDPOINT)),
        st.just(Subject(SubjectKind.NODE)),
    )


@st.composite
def policies(draw: st.DrawFn, name: str = "p") -> PolicyObject:
    """One object: one subject, one tier, rules of both directions and all actions."""
    ref = ObjectRef("CiliumNetworkPolicy", "n1", name)
    subject = draw(subjects())
    tier = draw(st.sampled_from((Tier.NORMAL, Tier.NORMAL, Tier.NORMAL, Tier.ADMIN, Tier.BASELINE)))
    priority = draw(st.integers(0, 2)) if tier is Tier.ADMIN else 0
    actions = [Action.ALLOW, Action.ALLOW, Action.DENY] + ([Action.PASS] if tier is Tier.ADMIN else [])
    rules = []
    for index in range(draw(st.integers(0, 4))):
        direction = draw(st.sampled_from(Direction))
        action = draw(st.sampled_from(actions))
        peers = draw(st.none() | st.lists(label_peers() | cidr_peers(), max_size=2).map(tuple))
        ports = draw(st.none() | st.lists(port_sets(), max_size=2).map(tuple))
        needs = frozenset({"l7"}) if draw(st.integers(0, 9)) == 0 else frozenset[str]()
        origin = RuleOrigin(ref, str(direction), index)
        order = index if tier is not Tier.NORMAL else 0
        rules.append(Rule(origin, subject, direction, action, peers, ports, tier, priority, order, needs))
    denies = []
    if tier is Tier.NORMAL:
        denies = [DefaultDeny(ref, subject, one) for one in Direction if draw(st.integers(0, 2))]
    return PolicyObject(ref, tuple(rules), tuple(denies))


@dataclass(frozen=True)
class Case:
    """A cluster with everybody in it. ``identities`` of those who are not outside; the outside's follow from blocks."""

    cluster: Cluster
    pods: tuple[Somebody, ...]
    nodes: tuple[Somebody, ...]
    outside: tuple[Somebody, ...]
    identities: dict[str, Identity]
    packets: tuple[tuple[int, int], ...]
    """(protocol, port or ICMP type) of the packets that everybody sends to everybody."""

    @property
    def everybody(self) -> tuple[Somebody, ...]:
        return (*self.pods, *self.nodes, *self.outside)


def names_of(who: Somebody) -> frozenset[NamedPort]:
    return frozenset(NamedPort(*one) for one in who.named_ports)


@st.composite
def cases(draw: st.DrawFn, max_objects: int = 5) -> Case:
    count = draw(st.integers(0, max_objects))
    drawn = [draw(policies(f"p{number}") | written(f"p{number}")) for number in range(count)]
    objects = tuple({one.ref: one for one in drawn}.values())
    mode = draw(st.sampled_from(("default", "default", "default", "default", "always", "never")))
    by_cidr = draw(st.booleans())
    cluster = Cluster(objects, mode, draw(st.booleans()), by_cidr)
    found = draw(st.lists(pod_labels(), min_size=2, max_size=5, unique=True))
    pods, identities = [], {}
    for number, labels in enumerate(found):
        names = draw(st.frozensets(st.sampled_from(sorted(NAMES)), max_size=2))
        pod = Somebody(f"pod{number}", labels, named_ports=names)
        pods.append(pod)
        identities[pod.name] = Identity(256 + number, labels)
    nodes = [Somebody("host", reserved(HOST).labels, kind="node")]
    identities["host"] = reserved(HOST)
    for number, address in enumerate(NODES):
        nodes.append(node := remote_node(address, by_cidr))
        identities[node.name] = Identity((2 << 24 | number + 1) if by_cidr else REMOTE_NODE, node.labels)
    outside = tuple(
        Somebody(one, reserved(WORLD_IPV6 if ":" in one else WORLD_IPV4).labels, one, kind="world") for one in OUTSIDE
    )
    packets = draw(st.lists(st.sampled_from(PACKETS), min_size=8, max_size=8, unique=True))
    return Case(cluster, tuple(pods), tuple(nodes), outside, identities, tuple(packets))


def remote_node(address: str, by_cidr: bool) -> Somebody:
    labels = [Label("reserved", "remote-node")]
    if by_cidr:
        text = address.replace(":", "-")
        labels.append(Label("cidr", f"{text}/{128 if ':' in address else 32}"))
    return Somebody(f"node {address}", Labels.of(labels), address, kind="node")

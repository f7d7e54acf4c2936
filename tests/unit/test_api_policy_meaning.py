"""NetworkPolicy rules mean what the object says: its rules against a direct reading of it, for random traffic."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glasshive.api.policies import parse
from glasshive.model.address import Prefix, covers
from glasshive.model.labels import Label, Labels
from glasshive.model.policy import CidrPeer, Direction, LabelPeer, Peer, PolicyObject, Rule
from policy_objects import network_policy

WHERE = "shop"
KEYS, VALUES, NAMESPACES = ("app", "tier"), ("x", "y"), ("shop", "other")
BLOCKS = ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "::/0", "2001:db8::/32")
PROTOCOLS = ("TCP", "UDP", "SCTP")
NAMED = {("http", "TCP"): 80, ("dns", "UDP"): 53}


@dataclass(frozen=True)
class Pod:
    namespace: str
    labels: dict[str, str]
    namespace_labels: dict[str, str]

    @property
    def identity(self) -> Labels:
        own = [Label("k8s", key, value) for key, value in self.labels.items()]
        below = [Label("k8s", f"io.cilium.k8s.namespace.labels.{k}", v) for k, v in self.namespace_labels.items()]
        return Labels.of([*own, *below, Label("k8s", "io.kubernetes.pod.namespace", self.namespace)])


class Packet(NamedTuple):
    """What reaches (ingress) or leaves (egress) the subject. A peer is a pod, the node, or an address outside."""

    subject: Pod
    word: str
    peer: Pod | Labels | str
    protocol: str
    port: int


label_maps = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=1)
expressions = st.one_of(
    st.fixed_dictionaries({
        "key": st.sampled_from(KEYS), "operator": st.sampled_from(["In", "NotIn"]),
        "values": st.lists(st.sampled_from(VALUES), min_size=1, max_size=2),
    }),
    st.fixed_dictionaries({"key": st.sampled_from(KEYS), "operator": st.sampled_from(["Exists", "DoesNotExist"])}),
)  # fmt: skip
selectors = st.fixed_dictionaries(
    {}, optional={"matchLabels": label_maps, "matchExpressions": st.lists(expressions, max_size=1)}
)


@st.composite
def blocks(draw: Any) -> Any:
    cidr = draw(st.sampled_from(BLOCKS))
    network = ipaddress.ip_network(cidr)
    inner = [one for one in BLOCKS if one != cidr and network.version == ipaddress.ip_network(one).version]
    inside = [one for one in inner if ipaddress.ip_network(one).subnet_of(network)]  # type: ignore[arg-type]
    excepts = draw(st.lists(st.sampled_from(inside), max_size=2)) if inside else []
    return {"ipBlock": {"cidr": cidr, "except": excepts}}


label_peers = st.fixed_dictionaries({}, optional={"podSelector": selectors, "namespaceSelector": selectors}).filter(
    bool
)
ports = st.one_of(
    st.fixed_dictionaries({}, optional={"protocol": st.sampled_from(PROTOCOLS), "port": st.integers(78, 82)}),
    st.fixed_dictionaries({"port": st.integers(78, 82), "endPort": st.integers(82, 84)}),
    st.fixed_dictionaries({"port": st.sampled_from(["http", "dns"]), "protocol": st.sampled_from(["TCP", "UDP"])}),
)


def rule_lists(word: str) -> Any:
    peers = st.lists(label_peers | blocks(), max_size=2)
    one = st.fixed_dictionaries({}, optional={word: peers | st.none(), "ports": st.lists(ports, max_size=2)})
    return st.lists(one, max_size=2)


policies = st.fixed_dictionaries(
    {"podSelector": selectors},
    optional={
        "policyTypes": st.lists(st.sampled_from(["Ingress", "Egress"]), unique=True),
        "ingress": rule_lists("from"),
        "egress": rule_lists("to"),
    },
)
LABEL_SETS: tuple[dict[str, str], ...] = ({}, {"app": "x"}, {"app": "y", "tier": "x"})
PODS = [
    Pod(name, own, below) for name in NAMESPACES for own in LABEL_SETS for below in ({}, {"app": "x"}, {"tier": "y"})
]
HOST = Labels.of(["reserved:host"])
PEERS = [*PODS, HOST, "10.1.2.3", "10.1.9.9", "10.9.9.9", "192.0.2.1", "2001:db8::1", "2001:db9::1"]
TRAFFIC = [(protocol, port) for protocol in PROTOCOLS for port in (53, 77, 80, 83, 85)]


def selects(selector: Any, labels: dict[str, str]) -> bool:
    """A LabelSelector, as the Kubernetes API reference words it."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions") or []:
        have = labels.get(one["key"])
        held = {
            "In": have in one.get("values", []),
            "NotIn": have not in one.get("values", []),
            "Exists": have is not None,
            "DoesNotExist": have is None,
        }[one["operator"]]
        if not held:
            return False
    return True


def allowed(spec: Any, packet: Packet) -> bool | None:
    """Whether the object allows it; None if it says nothing about the subject in this direction."""
    types = spec.get("policyTypes") or ["Ingress"] + (["Egress"] if spec.get("egress") else [])
    subject, word = packet.subject, packet.word
    if subject.namespace != WHERE or not selects(spec["podSelector"], subject.labels) or word.capitalize() not in types:
        return None
    for rule in spec.get(word) or []:
        peers, given = rule.get("from" if word == "ingress" else "to"), rule.get("ports")
        here = not peers or any(is_peer(one, packet.peer) for one in peers)
        if here and (not given or any(is_port(one, packet.protocol, packet.port) for one in given)):
            return True
    return False


def is_peer(one: Any, peer: Pod | Labels | str) -> bool:
    if "ipBlock" in one:
        if not isinstance(peer, str):
            return False
        address = ipaddress.ip_address(peer)
        within = [address in ipaddress.ip_network(text) for text in one["ipBlock"].get("except", [])]
        return address in ipaddress.ip_network(one["ipBlock"]["cidr"]) and not any(within)
    if not isinstance(peer, Pod):
        return False
    if "namespaceSelector" in one and not selects(one["namespaceSelector"], peer.namespace_labels):
        return False
    if "namespaceSelector" not in one and peer.namespace != WHERE:
        return False
    return "podSelector" not in one or selects(one["podSelector"], peer.labels)


def is_port(one: Any, protocol: str, port: int) -> bool:
    if protocol != one.get("protocol", "TCP"):
        return False
    wanted = one.get("port")
    if isinstance(wanted, str):
        wanted = NAMED.get((wanted, protocol), -1)
    return wanted is None or wanted <= port <= one.get("endPort", wanted)


def judged(policy: PolicyObject, packet: Packet) -> bool | None:
    """The same, from the rules."""
    direction, identity = Direction(packet.word), packet.subject.identity
    subjects = [one.subject for one in policy.default_denies if one.direction is direction]
    if not any(one.selects(identity) for one in subjects):
        return None
    return any(
        rule.direction is direction
        and rule.subject.selects(identity)
        and (rule.peers is None or any(_reaches(one, packet.peer) for one in rule.peers))
        and _carries(rule, packet.protocol, packet.port)
        for rule in policy.rules
    )


def _reaches(one: Peer, peer: Pod | Labels | str) -> bool:
    if isinstance(one, LabelPeer):
        labels = peer.identity if isinstance(peer, Pod) else peer
        return not isinstance(labels, str) and one.selects(labels)
    assert isinstance(one, CidrPeer)
    if not isinstance(peer, str):
        return False
    address = Prefix.parse(peer)
    inside = covers(one.prefix, address) and one.prefix.is_ipv4 == address.is_ipv4
    return inside and not any(covers(left, address) for left in one.excepts)


def _carries(rule: Rule, protocol: str, port: int) -> bool:
    number = {"TCP": 6, "UDP": 17, "SCTP": 132}[protocol]
    if rule.ports is None:
        return True
    for one in rule.ports:
        named = NAMED.get((one.name, protocol)) == port if one.name else one.first <= port <= one.last
        if one.protocol == number and named:
            return True
    return False


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies)
def test_rules_mean_what_the_object_says(spec: Any) -> None:
    parsed = parse(network_policy(spec, WHERE))
    assert parsed.valid, parsed.policy.findings
    for word in ("ingress", "egress"):
        subjects = {allowed(spec, Packet(one, word, HOST, "TCP", 1)) is None: one for one in PODS}
        for subject in subjects.values():  # one that the policy speaks of, one of which it does not
            for peer in PEERS:
                for protocol, port in TRAFFIC:
                    packet = Packet(subject, word, peer, protocol, port)
                    assert judged(parsed.policy, packet) == allowed(spec, packet), packet
        for subject in PODS:
            packet = Packet(subject, word, HOST, "TCP", 80)
            assert judged(parsed.policy, packet) == allowed(spec, packet), packet

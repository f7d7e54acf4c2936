"""Network policy as its publications describe it, rule by rule and packet by packet, in the plainest Python there is.

It shares nothing with ``glasshive.policy`` but the rules themselves: no identities, no tables, no precedence worked out
beforehand. A peer is somebody with labels or an address; whether a rule means it is asked of the rule as it is written.
Sources: Kubernetes NetworkPolicy (v1), the cilium.io policy documents, policy.networking.k8s.io (see
../shared/reference/features.md, 2.4, 2.6 and 2.7).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from glasshive.model.labels import Labels
from glasshive.model.policy import CidrPeer, LabelPeer, Match, Peer, PolicyObject, Ports, Rule, RuleOrigin, Subject

NODE_LABELS = {"host", "remote-node", "kube-apiserver"}


@dataclass(frozen=True)
class Somebody:
    """Anyone who sends or receives. ``address``: of the outside world, or a node's."""

    name: str
    labels: Labels
    address: str = ""
    named_ports: frozenset[tuple[str, int, int]] = frozenset()
    kind: str = "endpoint"

    @property
    def reserved(self) -> set[str]:
        return {one.key for one in self.labels if one.source == "reserved"}


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection, seen from ``subject``, whose policy judges it."""

    subject: Somebody
    peer: Somebody
    direction: str
    protocol: int
    port: int

    @property
    def receiver(self) -> Somebody:
        return self.subject if self.direction == "ingress" else self.peer


@dataclass(frozen=True)
class Judgement:
    """``verdict``: allow, deny-rule or deny-default. ``by``: the rules any of which may be named as the reason."""

    verdict: str
    by: frozenset[RuleOrigin] = frozenset()


@dataclass(frozen=True)
class Cluster:
    """What is configured, and every policy object."""

    objects: Sequence[PolicyObject]
    mode: str = "default"
    allow_localhost: bool = True
    nodes_by_cidr: bool = False


def condition_holds(match: Match, labels: Labels) -> bool:
    values = [one.value for one in labels if one.key == match.key and match.source in ("any", one.source)]
    if match.op == "in":
        return any(value in match.values for value in values)
    if match.op == "notin":
        return all(value not in match.values for value in values)
    return bool(values) if match.op == "exists" else not values


def all_hold(matches: Iterable[Match], labels: Labels) -> bool:
    return all(condition_holds(one, labels) for one in matches)


def means(peer: Peer, who: Somebody, cluster: Cluster) -> bool:
    """Whether one peer of a rule is this somebody."""
    if isinstance(peer, LabelPeer):
        if not peer.matches:
            return all(one.source not in ("reserved", "cidr") for one in who.labels)
        return all_hold(peer.matches, who.labels)
    return means_address(peer, who, cluster)


def means_address(peer: CidrPeer, who: Somebody, cluster: Cluster) -> bool:
    """CIDR rules are about the outside, and about nodes where that is configured; never about pods."""
    if not who.address:
        return False
    if who.reserved & NODE_LABELS and not cluster.nodes_by_cidr:
        return False
    address = ipaddress.ip_address(who.address)

    def holds(prefix: object) -> bool:
        network = ipaddress.ip_network(str(prefix))
        return address.version == network.version and address in network

    return holds(peer.prefix) and not any(holds(one) for one in peer.excepts)


def covers(ports: Ports, packet: Packet) -> bool:
    wanted = (6, 17, 132) if ports.protocol == 0 else (ports.protocol,)
    if packet.protocol not in wanted:
        return False
    if ports.name:
        return (ports.name, packet.protocol, packet.port) in packet.receiver.named_ports
    last = 65535 if packet.protocol in (1, 58) and ports.last >= 255 else ports.last
    return ports.first <= packet.port <= last


def fits(rule: Rule, cluster: Cluster, packet: Packet) -> bool:
    """Whether a rule speaks of this packet."""
    if rule.action == "allow" and rule.needs:
        return False
    if rule.peers is not None and not any(means(one, packet.peer, cluster) for one in rule.peers):
        return False
    return rule.ports is None or any(covers(one, packet) for one in rule.ports)


def selects(subject: Subject, who: Somebody) -> bool:
    return subject.kind == who.kind and all_hold(subject.matches, who.labels)


def judge(cluster: Cluster, packet: Packet) -> Judgement | None:
    """One side's word on a new connection; None: this side is not judged at all."""
    if cluster.mode == "never":
        return None
    subject, direction = packet.subject, packet.direction
    mine = [rule for one in cluster.objects for rule in one.rules if rule.direction == direction]
    mine = [rule for rule in mine if selects(rule.subject, subject)]
    isolated = any(
        deny.direction == direction and selects(deny.subject, subject)
        for one in cluster.objects
        for deny in one.default_denies
    )
    isolated = isolated or (cluster.mode == "always" and subject.kind == "endpoint")
    usable = [r for r in mine if r.peers != () and r.ports != () and not (r.action == "allow" and r.needs)]
    if not usable and not isolated:
        return None
    fitting = [rule for rule in mine if fits(rule, cluster, packet)]
    local = cluster.allow_localhost and direction == "ingress" and subject.kind == "endpoint"
    return decide(fitting, isolated=isolated, from_host=local and "host" in packet.peer.reserved)


def decide(fitting: list[Rule], *, isolated: bool, from_host: bool) -> Judgement:
    admin = tiered(fitting, 0)
    for rule in admin:
        if rule.action == "pass":
            break
        return Judgement("allow" if rule.action == "allow" else "deny-rule", alike(admin, rule))
    normal = [rule for rule in fitting if rule.tier == 1]
    denying = frozenset(rule.origin for rule in normal if rule.action == "deny")
    if denying:
        return Judgement("deny-rule", denying)
    allowing = frozenset(rule.origin for rule in normal if rule.action == "allow")
    if from_host:
        return Judgement("allow")  # by any of them, or by the setting
    if allowing:
        return Judgement("allow", allowing)
    if isolated:
        return Judgement("deny-default")
    baseline = tiered(fitting, 2)
    for rule in baseline:
        return Judgement("allow" if rule.action == "allow" else "deny-rule", alike(baseline, rule))
    return Judgement("allow")


def tiered(rules: Iterable[Rule], tier: int) -> list[Rule]:
    """Rules of a tier in the order in which they are asked; what is equal in both is asked from the strictest on."""
    strictness = {"deny": 0, "pass": 1, "allow": 2}
    mine = [rule for rule in rules if rule.tier == tier]
    return sorted(mine, key=lambda rule: (rule.priority, rule.order, strictness[rule.action]))


def alike(rules: Iterable[Rule], one: Rule) -> frozenset[RuleOrigin]:
    place = one.priority, one.order, one.action
    return frozenset(rule.origin for rule in rules if (rule.priority, rule.order, rule.action) == place)

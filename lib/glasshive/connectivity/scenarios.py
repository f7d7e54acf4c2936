"""Which probes go from where to where. Pure: places and facts in, checks and what does not apply out.

Node pairs: all of them up to ``ALL_PAIRS_NODES`` nodes, beyond that each node with the next one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from glasshive.connectivity.policies import PolicyRound, rounds
from glasshive.connectivity.values import Check, Facts, Place

ALL_PAIRS_NODES = 4
BULK_BYTES = 1 << 20
LARGE_BYTES = 8000
NARROW_MTU_BYTES = 1300
"""What a made-up narrow link carries; IPv6 allows no less than 1,280."""
HEADERS_BYTES = {"ipv4": 28, "ipv6": 48}
"""IP and ICMP headers."""
UNUSED_PORT = 9
SERVICE, HEADLESS = "echo", "echo-headless"


@dataclass(frozen=True)
class Places:
    """Everything that takes part, each tuple in the order of the nodes."""

    clients: tuple[Place, ...]
    echoes: tuple[Place, ...]
    nodes: tuple[Place, ...]
    world: Place | None

    def of(self, kind: str, node: str) -> Place:
        """Return the place of a kind on a node."""
        found = {"client": self.clients, "echo": self.echoes, "node": self.nodes}[kind]
        return next(place for place in found if place.node == node)

    def all(self) -> Iterator[Place]:
        """Yield all places."""
        yield from (*self.clients, *self.echoes, *self.nodes)
        if self.world is not None:
            yield self.world


@dataclass
class Plan:
    """``checks`` run side by side; ``later`` after them, because they change what hosts know about paths."""

    checks: list[Check] = field(default_factory=list)
    later: list[Check] = field(default_factory=list)
    rounds: list[PolicyRound] = field(default_factory=list)
    """Checks under policies, after all others."""
    missing: dict[str, str] = field(default_factory=dict)
    """Test name -> why it does not apply."""

    @property
    def order(self) -> list[str]:
        """Test names in the order of the report."""
        judged = [check for one in self.rounds for check in one.checks]
        return list(dict.fromkeys(check.test for check in (*self.checks, *self.later, *judged)))


def plan(places: Places, facts: Facts) -> Plan:
    """Return everything to be checked on this cluster."""
    made = Plan()
    for family in facts.families:
        made.checks += _pod_checks(places, facts, family)
        made.checks += _node_checks(places, family)
        made.checks += _world_checks(places, family)
        made.checks += _nobody_checks(places, facts, family)
        made.later += _discovery_checks(places, family)
        made.checks += _name_checks(places, facts, family)
        made.checks += _service_checks(places, facts, family)
    if "policy" in facts.features:
        made.rounds = rounds(places, facts)
    made.missing = _missing(places, facts)
    return made


def pairs(nodes: Sequence[str]) -> list[tuple[str, str]]:
    """Return ordered pairs of different nodes."""
    if len(nodes) < 2:
        return []
    if len(nodes) <= ALL_PAIRS_NODES:
        return [(a, b) for a in nodes for b in nodes if a != b]
    return [(a, nodes[(i + 1) % len(nodes)]) for i, a in enumerate(nodes)]


def _names(places: Places) -> list[str]:
    return [place.node for place in places.nodes]


def token() -> str:
    """Return a canary: 32 hexadecimal digits that nobody can guess."""
    return secrets.token_hex(16)


def _probe(kind: str, target: Place, family: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "address": target.addresses[family], "port": target.port, "token": token(), **more}


def _basic(
    name: str, source: Place, target: Place, family: str, seen_as: Iterable[str], *, large: bool = True
) -> Iterator[Check]:
    """TCP with bulk data, UDP, ping; with ``large`` also datagrams and pings that must be fragmented."""
    seen = frozenset(seen_as)

    def check(row: str, probe: dict[str, Any], *, proved: bool) -> Check:
        provers = (target,) if proved else ()
        return Check(f"{name}/{row}/{family}", source, target.name, probe, provers, seen if proved else frozenset())

    yield check("tcp", _probe("tcp", target, family), proved=True)
    bulk = {"upload_bytes": BULK_BYTES, "download_bytes": BULK_BYTES}
    yield check("tcp-bulk", _probe("tcp", target, family, **bulk), proved=True)
    yield check("udp", _probe("udp", target, family), proved=True)
    yield check("icmp", _probe("ping", target, family), proved=False)
    if large:
        big = {"size": LARGE_BYTES, "answer_bytes": LARGE_BYTES}
        yield check("udp-fragmented", _probe("udp", target, family, **big), proved=True)
        yield check("icmp-fragmented", _probe("ping", target, family, size=LARGE_BYTES), proved=False)


def _whole(name: str, source: Place, target: Place, family: str, mtu: int) -> Iterator[Check]:
    """A ping of exactly the MTU, unfragmented, and one of a byte more, which must be refused."""
    fits = mtu - HEADERS_BYTES[family]
    row = f"{name}/mtu/{family}"
    yield Check(row, source, target.name, _probe("ping", target, family, size=fits, whole=True))
    over = _probe("ping", target, family, size=fits + 1, whole=True)
    yield Check(row, source, target.name, over, too_long=True)


def _pod_checks(places: Places, facts: Facts, family: str) -> Iterator[Check]:
    names = _names(places)
    ways = [("same-node", node, node) for node in names] + [("other-node", a, b) for a, b in pairs(names)]
    for where, start, end in ways:
        source, target = places.of("client", start), places.of("echo", end)
        name = f"pod-to-pod/{where}"
        yield from _basic(name, source, target, family, [source.addresses[family]])
        yield from _whole(name, source, target, family, facts.pod_mtu)


def _node_checks(places: Places, family: str) -> Iterator[Check]:
    names = _names(places)
    ways = [("own", node, node) for node in names] + [("other", a, b) for a, b in _ring(names)]
    for which, start, end in ways:
        pod, node = places.of("client", start), places.of("node", end)
        yield from _basic(f"pod-to-{which}-node", pod, node, family, [pod.addresses[family]])
        source, target = places.of("node", start), places.of("echo", end)
        seen = {a for a in (*source.addresses.values(), *source.also) if (":" in a) == (family == "ipv6")}
        yield from _basic(f"node-to-{which}-pod", source, target, family, seen)


def _ring(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(a, names[(i + 1) % len(names)]) for i, a in enumerate(names)] if len(names) > 1 else []


def _world_checks(places: Places, family: str) -> Iterator[Check]:
    world = places.world
    if world is None:
        return
    for client in places.clients:
        # Masqueraded: the world knows nodes, not pods.
        node = places.of("node", client.node)
        yield from _basic("pod-to-world", client, world, family, [node.addresses[family]])
    for node in places.nodes:
        seen = [a for a in (world.addresses[family], *world.also) if (":" in a) == (family == "ipv6")]
        yield from _basic("world-to-node", world, node, family, seen)


def _nobody_checks(places: Places, facts: Facts, family: str) -> Iterator[Check]:
    """Where nobody is nobody may answer: else every other pass would be worth nothing."""
    names = _names(places)
    for start, end in [(n, n) for n in names] + _ring(names):
        source, target = places.of("client", start), places.of("echo", end)
        free = facts.free_addresses.get((end, family))
        if free:
            probe = {"kind": "silent", "address": free, "port": target.port, "token": token()}
            yield Check(f"nobody-answers/free-address/{family}", source, free, probe)
        closed = _probe("refused", target, family) | {"port": UNUSED_PORT}
        yield Check(f"nobody-answers/closed-port/{family}", source, target.name, closed)


def _discovery_checks(places: Places, family: str) -> Iterator[Check]:
    """A narrow link further on is reported by ICMP; the sender must hear of it, through tunnels and translation."""
    names = _names(places)
    for start, end in pairs(names) or [(names[0], names[0])]:
        source, target = places.of("client", start), places.of("echo", end)
        probe = _probe("path_mtu", target, family, mtu=NARROW_MTU_BYTES)
        yield Check(f"mtu-discovery/pod-to-pod/{family}", source, target.name, probe)
    if places.world is not None:
        for source in places.clients:
            probe = _probe("path_mtu", places.world, family, mtu=NARROW_MTU_BYTES)
            yield Check(f"mtu-discovery/pod-to-world/{family}", source, places.world.name, probe)


def _name_checks(places: Places, facts: Facts, family: str) -> Iterator[Check]:
    server = facts.name_servers.get(family)
    if not server:
        return
    for source in places.clients:
        yield from _name_checks_from(source, server, facts, family)


def _name_checks_from(source: Place, server: str, facts: Facts, family: str) -> Iterator[Check]:
    def ask(row: str, name: str, wanted: frozenset[str] | None, code: int, record: str) -> Check:
        probe = {"kind": "dns", "address": server, "name": name, "record": record, "token": token()}
        return Check(f"dns/{row}/{family}", source, name, probe, addresses=wanted, code=code)

    domain = f"{facts.namespace}.svc.cluster.local"
    record = "A" if family == "ipv4" else "AAAA"
    address = facts.services.get(SERVICE, {}).get(family)
    if address:
        yield ask("service", f"{SERVICE}.{domain}", frozenset({address}), 0, record)
        probe = {"kind": "resolve", "name": f"{SERVICE}.{facts.namespace}", "record": record, "token": token()}
        found = frozenset({address})
        yield Check(f"dns/search-path/{family}", source, str(probe["name"]), probe, addresses=found)
    if family in facts.headless:
        yield ask("headless", f"{HEADLESS}.{domain}", facts.headless[family], 0, record)
    yield ask("no-such-name", f"{token()}.{domain}", frozenset(), 3, record)


def _service_checks(places: Places, facts: Facts, family: str) -> Iterator[Check]:
    address = facts.services.get(SERVICE, {}).get(family)
    if "service" not in facts.features or not address:
        return
    port = places.echoes[0].port
    for source in places.clients:
        for kind in ("tcp", "udp"):
            probe = {"kind": kind, "address": address, "port": port, "token": token()}
            name = f"pod-to-service/{kind}/{family}"
            yield Check(name, source, SERVICE, probe, places.echoes, frozenset({source.addresses[family]}))
    for source in places.echoes:  # with enough tries one of them meets itself
        for _ in range(2 * len(places.echoes)):
            probe = {"kind": "tcp", "address": address, "port": port, "token": token()}
            yield Check(f"hairpin/tcp/{family}", source, SERVICE, probe, places.echoes)
    if facts.node_port and places.world is not None:
        for node in places.nodes:
            for kind in ("tcp", "udp"):
                probe = {"kind": kind, "address": node.addresses[family], "port": facts.node_port, "token": token()}
                target = f"{node.name}:{facts.node_port}"
                yield Check(f"world-to-node-port/{kind}/{family}", places.world, target, probe, places.echoes)


def _missing(places: Places, facts: Facts) -> dict[str, str]:
    missing: dict[str, str] = {}
    if len(places.nodes) < 2:
        for name in ("pod-to-pod/other-node", "pod-to-other-node", "node-to-other-pod"):
            missing[name] = "the cluster has one node"
    if places.world is None:
        for name in ("pod-to-world", "world-to-node"):
            missing[name] = "the cluster has no world outside that could be asked"
    if "service" not in facts.features:
        for name in ("pod-to-service", "world-to-node-port", "hairpin"):
            missing[name] = "the agents have no feature named service"
    elif not facts.node_port:
        missing["world-to-node-port"] = "the API server gives out no node ports"
    if "policy" not in facts.features:
        missing["policy"] = "the agents have no feature named policy"
    if not facts.name_servers:
        missing["dns"] = "there is no Service kube-system/kube-dns"
    return missing

"""Frontends -> the table that kube-proxy's nftables mode has, and the difference of two such tables. Pure.

One verdict map finds the service of a packet, whatever their number; a chain per service chooses the endpoint, a chain
per endpoint translates. Names are those of kube-proxy (table ``kube-proxy``, maps ``service-ips`` and
``service-nodeports``), shortened by a digest where a chain's name would be too long. Weights are not known to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from glasshive.model.address import render
from glasshive.model.service import BackendSet, FrontendFlag, FrontendType, Place
from glasshive.service.kube_proxy.names import (
    MASQUERADE_MARK,
    PROTOCOLS,
    Owned,
    PeerNode,
    cidr,
    digest,
    has,
    of_family,
    on_any_node,
    target,
)

TABLE = "kube-proxy"
_BATCH = 2000
"""Elements of one command: a line of all of 100,000 would be parsed in one go."""


@dataclass
class Table:
    """One family's table: chains with their rules, maps with their elements, sets of who returns to an endpoint."""

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)


def frame(node: PeerNode, *, ipv4: bool) -> str:
    """The table without services, for ``nft -f``: base chains, maps, masquerading. Replaces what was there."""
    family, kind = ("ip", "ipv4_addr") if ipv4 else ("ip6", "ipv6_addr")
    leaving = "\n".join(
        f"add rule {family} {TABLE} nat-postrouting {family} saddr {pods} {family} daddr != "
        f"{{ {', '.join(cidr(node.cluster, ipv4=ipv4))} }} masquerade fully-random"
        for pods in cidr(node.pods, ipv4=ipv4)
    )
    place = f"{kind} . inet_proto . inet_service : verdict"
    head = f"{family} {TABLE}"
    key = f"{family} daddr . meta l4proto . th dport"
    return f"""\
add table {head}
delete table {head}
add table {head}
add map {head} service-ips {{ type {place} ; }}
add map {head} service-nodeports {{ type inet_proto . inet_service : verdict ; }}
add map {head} no-endpoint-services {{ type {place} ; }}
add map {head} no-endpoint-nodeports {{ type inet_proto . inet_service : verdict ; }}
add chain {head} mark-for-masquerade {{ meta mark set meta mark or {MASQUERADE_MARK} ; }}
add chain {head} reject-chain {{ reject ; }}
add chain {head} services
add rule {head} services {key} vmap @service-ips
add rule {head} services fib daddr type local meta l4proto . th dport vmap @service-nodeports
add chain {head} no-endpoints
add rule {head} no-endpoints {key} vmap @no-endpoint-services
add rule {head} no-endpoints fib daddr type local meta l4proto . th dport vmap @no-endpoint-nodeports
add chain {head} nat-prerouting {{ type nat hook prerouting priority dstnat ; }}
add rule {head} nat-prerouting jump services
add chain {head} nat-output {{ type nat hook output priority -100 ; }}
add rule {head} nat-output jump services
add chain {head} filter-input {{ type filter hook input priority -110 ; }}
add rule {head} filter-input ct state new jump no-endpoints
add chain {head} filter-forward {{ type filter hook forward priority -110 ; }}
add rule {head} filter-forward ct state new jump no-endpoints
add chain {head} filter-output {{ type filter hook output priority -110 ; }}
add rule {head} filter-output ct state new jump no-endpoints
add chain {head} nat-postrouting {{ type nat hook postrouting priority srcnat ; }}
{leaving}
add rule {head} nat-postrouting meta mark & {MASQUERADE_MARK} == 0 return
add rule {head} nat-postrouting meta mark set meta mark xor {MASQUERADE_MARK} masquerade fully-random
"""


def removal(*, ipv4: bool) -> str:
    """Take the table away, if it is there."""
    head = f"{'ip' if ipv4 else 'ip6'} {TABLE}"
    return f"add table {head}\ndelete table {head}\n"


def table(found: Iterable[Owned], node: PeerNode, *, ipv4: bool) -> Table:
    """What services put into one family's table."""
    making = _Making(node, ipv4=ipv4)
    for one in of_family(found, ipv4=ipv4):
        making.add(one)
    return making.made


def difference(old: Table, new: Table, *, ipv4: bool) -> str:
    """What ``nft -f`` has to read so that ``old`` becomes ``new`` in one transaction; "" when they are equal."""
    head = f"{'ip' if ipv4 else 'ip6'} {TABLE}"
    changed = {name: rules for name, rules in new.chains.items() if old.chains.get(name) != rules}
    gone = [name for name in old.chains if name not in new.chains]
    lines = [f"add set {head} {name} {shape}" for name, shape in new.sets.items() if name not in old.sets]
    lines += [f"add chain {head} {name}" for name in changed]
    lines += [f"flush chain {head} {name}" for name in (*(name for name in changed if name in old.chains), *gone)]
    lines += [f"add rule {head} {name} {rule}" for name, rules in changed.items() for rule in rules]
    for name in sorted({*old.maps, *new.maps}):
        before, after = old.maps.get(name, {}), new.maps.get(name, {})
        stale = [key for key, verdict in before.items() if after.get(key) != verdict]
        fresh = [f"{key} : {verdict}" for key, verdict in after.items() if before.get(key) != verdict]
        lines += _elements("delete", head, name, stale) + _elements("add", head, name, fresh)
    lines += [f"delete chain {head} {name}" for name in gone]
    lines += [f"delete set {head} {name}" for name in old.sets if name not in new.sets]
    return "".join(f"{line}\n" for line in lines)


def _elements(verb: str, head: str, name: str, found: list[str]) -> list[str]:
    parts = (found[at : at + _BATCH] for at in range(0, len(found), _BATCH))
    return [f"{verb} element {head} {name} {{ {', '.join(part)} }}" for part in parts]


class _Making:
    """A table under way."""

    def __init__(self, node: PeerNode, *, ipv4: bool) -> None:
        self.made = Table()
        self._family = "ip" if ipv4 else "ip6"
        self._address_type = "ipv4_addr" if ipv4 else "ipv6_addr"
        self._pods = cidr(node.pods, ipv4=ipv4)

    def add(self, one: Owned) -> None:
        """One frontend."""
        frontend = one.frontend
        protocol = PROTOCOLS[frontend.place.protocol]
        any_node = on_any_node(frontend.place)
        key = f"{protocol} . {frontend.place.port}"
        if not any_node:
            key = f"{render(frontend.place.address)} . {key}"
        if not frontend.internal and not frontend.external:
            name = "no-endpoint-nodeports" if any_node else "no-endpoint-services"
            verdict = "goto reject-chain" if has(frontend, FrontendFlag.REJECT) else "drop"
            self.made.maps.setdefault(name, {})[key] = verdict
            return
        chain = self._cluster(one) if frontend.type == FrontendType.CLUSTER_IP else self._door(one)
        self.made.maps.setdefault("service-nodeports" if any_node else "service-ips", {})[key] = f"goto {chain}"

    def _cluster(self, one: Owned) -> str:
        frontend = one.frontend
        local = has(frontend, FrontendFlag.INTERNAL_LOCAL)
        choosing = self._choosing("local" if local else "service", one, frontend.internal)
        chain = f"cluster-{digest(one.owner, PROTOCOLS[frontend.place.protocol])}"
        inside = f"{self._family} saddr != {{ {', '.join(self._pods)} }} " if self._pods else ""
        self.made.chains[chain] = (f"{inside}jump mark-for-masquerade", f"goto {choosing}")
        return chain

    def _choosing(self, kind: str, one: Owned, backends: BackendSet) -> str:
        """The chain that chooses one of some endpoints; without any it drops."""
        chain = f"{kind}-{digest(one.owner, PROTOCOLS[one.frontend.place.protocol])}"
        if chain in self.made.chains:
            return chain
        ends = [self._endpoint(one, place) for place, _ in backends]
        rules = []
        if has(one.frontend, FrontendFlag.AFFINITY):
            rules += [f"{self._family} saddr @{_clients(end)} goto {end}" for end in ends]
        choice = ", ".join(f"{index} : goto {end}" for index, end in enumerate(ends))
        rules.append(f"numgen random mod {len(ends)} vmap {{ {choice} }}" if ends else "drop")
        self.made.chains[chain] = tuple(rules)
        return chain

    def _endpoint(self, one: Owned, place: Place) -> str:
        protocol, frontend = PROTOCOLS[place.protocol], one.frontend
        chain = f"endpoint-{digest(one.owner, protocol, target(place))}"
        rules = [f"{self._family} saddr {render(place.address)} jump mark-for-masquerade"]
        if has(frontend, FrontendFlag.AFFINITY):
            shape = f"{{ type {self._address_type} ; flags dynamic,timeout ; timeout {frontend.affinity_s}s ; }}"
            self.made.sets[_clients(chain)] = shape
            rules.append(f"update @{_clients(chain)} {{ {self._family} saddr }}")
        rules.append(f"meta l4proto {protocol} dnat to {target(place)}")
        self.made.chains[chain] = tuple(rules)
        return chain

    def _door(self, one: Owned) -> str:
        """The chain for calls to node ports, external and load balancer addresses."""
        frontend = one.frontend
        protocol = PROTOCOLS[frontend.place.protocol]
        ranged = has(frontend, FrontendFlag.SOURCE_RANGES)
        chain = f"{'firewall' if ranged else 'external'}-{digest(one.owner, protocol)}"
        if chain in self.made.chains:
            return chain
        anyone = self._choosing("service", one, frontend.internal)
        rules = self._walls(one) if ranged else []
        if has(frontend, FrontendFlag.EXTERNAL_LOCAL):
            rules += [f"{self._family} saddr {pods} goto {anyone}" for pods in self._pods]
            rules += ["fib saddr type local jump mark-for-masquerade", f"fib saddr type local goto {anyone}"]
            rules.append(f"goto {self._choosing('local', one, frontend.external)}")
        else:
            rules += ["jump mark-for-masquerade", f"goto {anyone}"]
        self.made.chains[chain] = tuple(rules)
        return chain

    def _walls(self, one: Owned) -> list[str]:
        """Callers outside the source ranges end here. Pods and the node itself are judged like others."""
        ranges = ", ".join(str(prefix) for prefix in one.frontend.source_ranges)
        if has(one.frontend, FrontendFlag.SOURCE_DENY):
            return [f"{self._family} saddr {{ {ranges} }} drop"] if ranges else []
        return [f"{self._family} saddr != {{ {ranges} }} drop"] if ranges else ["drop"]


def _clients(endpoint: str) -> str:
    return endpoint.replace("endpoint-", "affinity-")

"""Frontends -> the chains that kube-proxy's iptables mode has, and the difference of two such rulesets. Pure.

A chain per service port (``KUBE-SVC-``), per external door (``KUBE-EXT-``), per endpoint (``KUBE-SEP-``), and one rule
per frontend in ``KUBE-SERVICES``: that list is what a packet to the last of many services pays for. ``KUBE-SVL-`` holds
the endpoints of this node where a traffic policy asks for them. Weights are not known to this mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from glasshive.model.address import render
from glasshive.model.service import BackendSet, Frontend, FrontendFlag, FrontendType, Place
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

Ruleset = dict[str, dict[str, tuple[str, ...]]]
"""Table -> chain -> rules without their ``-A CHAIN``."""

_MARK = f"{MASQUERADE_MARK}/{MASQUERADE_MARK}"
_ENTRIES = {
    "nat": (("PREROUTING", "KUBE-SERVICES"), ("OUTPUT", "KUBE-SERVICES"), ("POSTROUTING", "KUBE-POSTROUTING")),
    "filter": (
        ("INPUT", "KUBE-EXTERNAL-SERVICES"), ("INPUT", "KUBE-PROXY-FIREWALL"), ("OUTPUT", "KUBE-SERVICES"),
        ("FORWARD", "KUBE-PROXY-FIREWALL"), ("FORWARD", "KUBE-FORWARD"), ("FORWARD", "KUBE-SERVICES"),
    ),
}  # fmt: skip
"""The built-in chains from which ours are entered."""


def ruleset(found: Iterable[Owned], node: PeerNode, *, ipv4: bool) -> Ruleset:
    """All chains of one address family."""
    nat = _Nat(node, ipv4=ipv4)
    rejected: list[str] = []
    rejected_ports: list[str] = []
    firewall: list[str] = []
    for one in of_family(found, ipv4=ipv4):
        frontend = one.frontend
        if not frontend.internal and not frontend.external:
            where = rejected_ports if on_any_node(frontend.place) else rejected
            where.append(
                f"{_comment(f'{one.owner} has no endpoints')} {_matching(frontend.place)} {_refusal(frontend)}"
            )
            continue
        nat.add(one)
        if has(frontend, FrontendFlag.SOURCE_RANGES):
            # Who was let in has been translated by now: what still has this destination was not.
            firewall.append(f"{_comment(f'{one.owner} source ranges')} {_matching(frontend.place)} -j DROP")
    forward = (
        "-m conntrack --ctstate INVALID -j DROP",
        f"-m mark --mark {_MARK} -j ACCEPT",
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    )
    own = {
        "KUBE-SERVICES": tuple(rejected), "KUBE-EXTERNAL-SERVICES": tuple(rejected_ports),
        "KUBE-PROXY-FIREWALL": tuple(firewall), "KUBE-FORWARD": forward,
    }  # fmt: skip
    return {"nat": nat.chains(), "filter": own}


def entries() -> list[tuple[str, str, str]]:
    """(table, built-in chain, the chain of ours that it enters)."""
    return [(table, chain, to) for table, found in _ENTRIES.items() for chain, to in found]


def difference(old: Ruleset, new: Ruleset) -> str:
    """What ``iptables-restore --noflush`` has to read so that ``old`` becomes ``new``; "" when they are equal."""
    return "".join(_table(name, old.get(name, {}), new.get(name, {})) for name in ("nat", "filter"))


def _table(name: str, old: Mapping[str, tuple[str, ...]], new: Mapping[str, tuple[str, ...]]) -> str:
    changed = {chain: rules for chain, rules in new.items() if old.get(chain) != rules}
    gone = [chain for chain in old if chain not in new]
    if not changed and not gone:
        return ""
    lines = [f"*{name}"]
    lines += [f":{chain} - [0:0]" for chain in (*changed, *gone)]  # naming a chain empties it, or makes it
    lines += [f"-A {chain} {rule}" for chain, rules in changed.items() for rule in rules]
    lines += [f"-X {chain}" for chain in gone]
    return "\n".join([*lines, "COMMIT", ""])


class _Nat:
    """The table nat under way."""

    def __init__(self, node: PeerNode, *, ipv4: bool) -> None:
        self._pods = cidr(node.pods, ipv4=ipv4)
        self._cluster = cidr(node.cluster, ipv4=ipv4)
        self._bits = 32 if ipv4 else 128
        self._services: list[str] = []
        self._node_ports: list[str] = []
        self._chains: dict[str, list[str]] = {}

    def add(self, one: Owned) -> None:
        """One frontend with at least one endpoint somewhere."""
        frontend, comment = one.frontend, _comment(one.owner)
        matching = _matching(frontend.place)
        if frontend.type == FrontendType.CLUSTER_IP:
            local = has(frontend, FrontendFlag.INTERNAL_LOCAL)
            chain = self._choosing("KUBE-SVL" if local else "KUBE-SVC", one, frontend.internal)
            outside = " ".join(f"! -s {prefix}" for prefix in self._pods)
            self._put(chain, f"{matching} {outside} -j KUBE-MARK-MASQ", first=True)
            self._services.append(f"{comment} {matching} -j {chain}")
            return
        chain = self._door(one)
        if on_any_node(frontend.place):
            self._node_ports.append(f"{comment} {matching} -j {chain}")
        elif has(frontend, FrontendFlag.SOURCE_RANGES):
            self._services.append(f"{comment} {matching} -j {self._walled(one, chain)}")
        else:
            self._services.append(f"{comment} {matching} -j {chain}")

    def chains(self) -> dict[str, tuple[str, ...]]:
        """Everything, the frame included."""
        last = "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
        leaving = [f"-s {pods} -j GLASSHIVE-MASQ" for pods in self._pods]
        frame = {
            "KUBE-MARK-MASQ": (f"-j MARK --or-mark {MASQUERADE_MARK}",),
            "KUBE-POSTROUTING": (
                *leaving,
                f"-m mark ! --mark {_MARK} -j RETURN",
                f"-j MARK --xor-mark {MASQUERADE_MARK}",
                "-j MASQUERADE --random-fully",
            ),
            "GLASSHIVE-MASQ": (*(f"-d {prefix} -j RETURN" for prefix in self._cluster), "-j MASQUERADE --random-fully"),
            "KUBE-SERVICES": (*self._services, last),
            "KUBE-NODEPORTS": tuple(self._node_ports),
        }
        return frame | {chain: tuple(rules) for chain, rules in self._chains.items()}

    def _put(self, chain: str, rule: str, *, first: bool = False) -> None:
        rules = self._chains.setdefault(chain, [])
        if rule not in rules:
            rules.insert(0 if first else len(rules), rule)

    def _choosing(self, kind: str, one: Owned, backends: BackendSet) -> str:
        """The chain that chooses one of some endpoints."""
        protocol = PROTOCOLS[one.frontend.place.protocol]
        chain = f"{kind}-{digest(one.owner, protocol)}"
        if chain in self._chains:
            return chain
        self._chains[chain] = []
        ends = [(self._endpoint(one, place), place) for place, _ in backends]
        if has(one.frontend, FrontendFlag.AFFINITY):
            seconds = one.frontend.affinity_s
            for end, _ in ends:
                self._put(chain, f"-m recent --name {end} --rcheck --seconds {seconds} --reap --rsource -j {end}")
        for index, (end, place) in enumerate(ends):
            comment = _comment(f"{one.owner} -> {target(place)}")
            left = len(ends) - index
            chance = f"-m statistic --mode random --probability {1 / left:0.10f} " if left > 1 else ""
            self._put(chain, f"{comment} {chance}-j {end}")
        return chain

    def _endpoint(self, one: Owned, place: Place) -> str:
        protocol = PROTOCOLS[place.protocol]
        chain = f"KUBE-SEP-{digest(one.owner, protocol, target(place))}"
        note = f"-m recent --name {chain} --set --rsource " if has(one.frontend, FrontendFlag.AFFINITY) else ""
        self._put(chain, f"-s {render(place.address)}/{self._bits} -j KUBE-MARK-MASQ")
        self._put(chain, f"-p {protocol} -m {protocol} {note}-j DNAT --to-destination {target(place)}")
        return chain

    def _door(self, one: Owned) -> str:
        """The chain for calls to node ports, external and load balancer addresses."""
        frontend = one.frontend
        chain = f"KUBE-EXT-{digest(one.owner, PROTOCOLS[frontend.place.protocol])}"
        if chain in self._chains:
            return chain
        self._chains[chain] = []
        anyone = self._choosing("KUBE-SVC", one, frontend.internal)
        if not has(frontend, FrontendFlag.EXTERNAL_LOCAL):
            self._put(chain, "-j KUBE-MARK-MASQ")
            self._put(chain, f"-j {anyone}")
            return chain
        for prefix in self._pods:
            self._put(chain, f"-s {prefix} -j {anyone}")
        self._put(chain, "-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ")
        self._put(chain, f"-m addrtype --src-type LOCAL -j {anyone}")
        if frontend.external:
            self._put(chain, f"-j {self._choosing('KUBE-SVL', one, frontend.external)}")
        return chain

    def _walled(self, one: Owned, door: str) -> str:
        """Only callers of the source ranges come to the door; the filter table drops the others."""
        chain = f"KUBE-FW-{digest(one.owner, PROTOCOLS[one.frontend.place.protocol])}"
        ranges = [str(prefix) for prefix in one.frontend.source_ranges]
        if has(one.frontend, FrontendFlag.SOURCE_DENY):
            for text in ranges:
                self._put(chain, f"-s {text} -j RETURN")
            self._put(chain, f"-j {door}")
        else:
            for text in ranges:
                self._put(chain, f"-s {text} -j {door}")
        self._chains.setdefault(chain, [])
        return chain


def _comment(text: str) -> str:
    return f'-m comment --comment "{text}"'


def _matching(place: Place) -> str:
    protocol = PROTOCOLS[place.protocol]
    port = f"-p {protocol} -m {protocol} --dport {place.port}"
    return port if on_any_node(place) else f"-d {render(place.address)} {port}"


def _refusal(frontend: Frontend) -> str:
    return "-j REJECT" if has(frontend, FrontendFlag.REJECT) else "-j DROP"

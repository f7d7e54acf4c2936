"""Rules, peers and ports in words, for explanations."""

from __future__ import annotations

from collections.abc import Iterable

from glasshive.model.labels import Label
from glasshive.model.policy import (
    ICMP,
    ICMPV6,
    PORT_MAX,
    PROTOCOL_ANY,
    SCTP,
    TCP,
    UDP,
    CidrPeer,
    Match,
    Peer,
    Ports,
    Rule,
    Verdict,
)

_PROTOCOLS = {PROTOCOL_ANY: "TCP, UDP and SCTP", TCP: "TCP", UDP: "UDP", SCTP: "SCTP", ICMP: "ICMP", ICMPV6: "ICMPv6"}
_GENERATED = ("io.cilium.k8s.", "io.kubernetes.pod.namespace")
VERDICTS = {
    None: "ALLOWED",
    Verdict.ALLOW: "ALLOWED",
    Verdict.DENY_DEFAULT: "DENIED (default deny)",
    Verdict.DENY_RULE: "DENIED (by a rule)",
}


def protocol(number: int) -> str:
    """A protocol's name, or its number."""
    return _PROTOCOLS.get(number, f"IP protocol {number}")


def packet(number: int, port: int) -> str:
    """``80/TCP``, ``type 8/ICMP``."""
    if number in (ICMP, ICMPV6):
        return f"type {port}/{protocol(number)}"
    return f"{port}/{protocol(number)}" if number in (TCP, UDP, SCTP) else protocol(number)


def ports(wanted: Iterable[Ports] | None) -> str:
    """What ports a rule speaks of."""
    if wanted is None:
        return "every port"
    return ", ".join(_ports(one) for one in wanted) or "no port"


def _ports(one: Ports) -> str:
    name = protocol(one.protocol)
    if one.name:
        return f'"{one.name}"/{name}'
    types = one.protocol in (ICMP, ICMPV6)
    if one.first == 0 and one.last >= (255 if types else PORT_MAX):
        return f"all of {name}"
    numbers = str(one.first) if one.first == one.last else f"{one.first}-{one.last}"
    return f"type {numbers}/{name}" if types else f"{numbers}/{name}"


def peers(wanted: Iterable[Peer] | None) -> str:
    """Whom a rule means."""
    if wanted is None:
        return "anybody"
    return "; or ".join(peer(one) for one in wanted) or "nobody"


def peer(one: Peer) -> str:
    """Whom one peer of a rule means."""
    if isinstance(one, CidrPeer):
        excepts = ", ".join(map(str, one.excepts))
        return f"{one.prefix} except {excepts}" if excepts else str(one.prefix)
    return ", ".join(condition(match) for match in one.matches) or "all endpoints"


def condition(match: Match) -> str:
    """One condition on labels."""
    name = f"{match.source}:{match.key}"
    values = sorted(match.values)
    match match.op:
        case "in":
            return f"{name}={values[0]}" if len(values) == 1 else f"{name} in ({', '.join(values)})"
        case "notin":
            return f"{name} not in ({', '.join(values)})"
        case "exists":
            return name
        case _:
            return f"no {name}"


def labels(held: Iterable[Label]) -> str:
    """Somebody's labels, without the ones that every pod of a namespace has."""
    every = list(held)
    telling = [one for one in every if not one.key.startswith(_GENERATED)]
    return ", ".join(map(str, telling or every)) or "no labels"


def rule(one: Rule) -> str:
    """A rule in one line: what it does, and where it stands."""
    return f"{one.origin}: {one.action} {peers(one.peers)} on {ports(one.ports)}"

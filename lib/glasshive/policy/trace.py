"""Would this connection pass? Offline, from policy objects alone: the sender's egress, then the receiver's ingress.

What is not known offline (which identity numbers the cluster gave) does not matter: identities are made up for the two
parties from their labels, and the same engine computes the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from glasshive.model.address import Prefix
from glasshive.model.identity import Identity
from glasshive.model.labels import NO_LABELS, SOURCE_RESERVED, Label, Labels
from glasshive.model.policy import Direction, PolicyObject, SubjectKind
from glasshive.policy import words
from glasshive.policy.engine import Change, Engine, PutIdentity, PutObject, PutSubject
from glasshive.policy.explain import Explanation, explain
from glasshive.policy.ports import NO_NAMES, NamedPort
from glasshive.policy.resolve import Settings, SubjectFacts

_FIRST = 256
_WORLD_IPV4, _WORLD_IPV6 = 9, 10


@dataclass(frozen=True, slots=True)
class Party:
    """One end of a connection. ``kind`` None: nobody judges there. It is outside of the cluster, known by its address
    alone, or, with ``peer_labels``, a service of the cluster that has an identity of its own.

    A node's ``labels`` are what node selectors see; ``peer_labels`` what the other side's rules see (``reserved:host``
    for the node that a pod runs on, ``reserved:remote-node`` for others). For pods both are the same.
    """

    name: str
    labels: Labels = NO_LABELS
    addresses: tuple[Prefix, ...] = ()
    named_ports: frozenset[NamedPort] = NO_NAMES
    kind: SubjectKind | None = SubjectKind.ENDPOINT
    peer_labels: Labels = NO_LABELS


@dataclass(frozen=True, slots=True)
class Trace:
    """Both sides' words; None: that side is outside of the cluster, and nobody judges there."""

    source: Party
    destination: Party
    protocol: int
    port: int
    egress: Explanation | None
    ingress: Explanation | None

    @property
    def allowed(self) -> bool:
        """Whether the connection passes: both sides must let it."""
        return all(side is None or side.allowed for side in (self.egress, self.ingress))

    def text(self) -> str:
        """The trace as lines for a terminal."""
        packet = words.packet(self.protocol, self.port)
        parts = [f"{self.source.name} -> {self.destination.name}, {packet}"]
        for side, party, word in (
            (self.egress, self.source, "egress"),
            (self.ingress, self.destination, "ingress"),
        ):
            told = "no policy is enforced there" if len(party.peer_labels) else "outside of the cluster"
            parts.append(f"{word} of {party.name}: {told}" if side is None else side.text(offline=True))
        parts.append(f"Verdict: {'ALLOWED' if self.allowed else 'DENIED'}")
        return "\n\n".join(parts)


def trace(
    objects: Iterable[PolicyObject],
    source: Party,
    destination: Party,
    packet: tuple[int, int],
    settings: Settings | None = None,
) -> Trace:
    """What the policy objects say of a connection's first packet: (protocol, port or ICMP type)."""
    engine = Engine(settings)
    changes: list[Change] = [PutObject(one) for one in objects]
    changes += [PutIdentity(Identity(number, _reserved(name))) for number, name in _RESERVED.items()]
    for number, one in enumerate((source, destination), _FIRST):
        seen = one.peer_labels if len(one.peer_labels) else one.labels
        if one.kind is not None or len(seen):
            changes.append(PutIdentity(Identity(number, seen), one.named_ports))
        if one.kind is None:
            continue
        changes.append(PutSubject(one.name, SubjectFacts(one.labels, one.named_ports, one.kind)))
    engine.apply(*changes)
    sender, receiver = (_identity(engine, one, at) for at, one in enumerate((source, destination), _FIRST))
    egress = ingress = None
    if source.kind is not None:
        egress = explain(engine, source.name, Direction.EGRESS, packet, peer=receiver, addresses=destination.addresses)
    if destination.kind is not None:
        ingress = explain(engine, destination.name, Direction.INGRESS, packet, peer=sender, addresses=source.addresses)
    return Trace(source, destination, *packet, egress, ingress)


_RESERVED = {1: "host", 2: "world", 6: "remote-node", _WORLD_IPV4: "world-ipv4", _WORLD_IPV6: "world-ipv6"}


def _reserved(name: str) -> Labels:
    return Labels.of([Label(SOURCE_RESERVED, name)])


def _identity(engine: Engine, party: Party, number: int) -> int:
    """The identity that the other side sees."""
    if party.kind is not None or len(party.peer_labels):
        return number
    address = party.addresses[0]
    block = engine.prefixes.covering(address)
    if block is not None:
        return block.number
    return _WORLD_IPV4 if address.is_ipv4 else _WORLD_IPV6

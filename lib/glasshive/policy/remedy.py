"""The smallest change of policy that turns a verdict round, tried on the rules before it is proposed.

Candidates are edits of one rule, from the least that an author would have to write to the most; the first that flips
the verdict is it. An edit is a pair of rules, before and after; None before is a new rule, None after one taken away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from glasshive.model.labels import Label
from glasshive.model.policy import (
    Action,
    CidrPeer,
    Direction,
    LabelPeer,
    Match,
    ObjectRef,
    Peer,
    Ports,
    Rule,
    RuleOrigin,
    Subject,
    Tier,
)
from glasshive.policy import words
from glasshive.policy.resolve import LOCALHOST, Mode
from glasshive.policy.selectors import address_blocks
from glasshive.policy.situation import Situation

NEW = ObjectRef("CiliumClusterwideNetworkPolicy", "", "new")
Edit = tuple[Rule | None, Rule | None]


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to change, in words and as edits."""

    text: str
    edits: tuple[Edit, ...]


def remedy(at: Situation) -> Remedy | None:
    """The smallest change that flips the verdict; None if no rule can, because the mode is to judge nobody."""
    if at.engine.settings.mode is Mode.NEVER:
        return None
    allowed = at.allows(at.rules)
    candidates = _to_deny(at) if allowed else _to_allow(at)
    for candidate in candidates:
        if at.allows(_edited(at.rules, candidate.edits)) != allowed:
            return candidate
    return None


def _edited(rules: tuple[Rule, ...], edits: tuple[Edit, ...]) -> list[Rule]:
    swapped = {before: after for before, after in edits if before is not None}
    found = [after for one in rules if (after := swapped.get(one, one)) is not None]
    return found + [after for before, after in edits if before is None and after is not None]


def _to_allow(at: Situation) -> Iterator[Remedy]:
    packet, peer = words.packet(at.protocol, at.port), _peer_of(at)
    denying = [one for one in at.fitting() if one.action is Action.DENY]
    openings = list(_openings(at, peer))
    yield from openings
    for one in denying:
        yield Remedy(f"remove {one.origin}, or keep this peer or {packet} out of it", ((one, None),))
    every: tuple[Edit, ...] = tuple((one, None) for one in denying)
    taken = " and ".join(str(one.origin) for one in denying)
    if len(denying) > 1:
        yield Remedy(f"remove {taken}, or keep this peer or {packet} out of them", every)
    if denying:
        for opening in openings:
            yield Remedy(f"remove {taken}; then {opening.text}", (*every, *opening.edits))
    first = _new_rule(at, peer, Action.ALLOW, Tier.ADMIN)
    yield Remedy(f"add an Admin rule, in front of all others, that allows {_sentence(at, peer)}", ((None, first),))


def _openings(at: Situation, peer: Peer) -> Iterator[Remedy]:
    """Changes that allow the packet as far as no rule denies it."""
    packet = words.packet(at.protocol, at.port)
    allowing = [one for one in at.rules if one.action is Action.ALLOW and one is not LOCALHOST]
    for one in allowing:
        if not one.needs and at.fits_peer(one) and one.peers != () and not at.fits_port(one):
            ports = (*(one.ports or ()), Ports(at.protocol, at.port, at.port))
            yield Remedy(f"add {packet} to {one.origin}", ((one, replace(one, ports=ports)),))
    for one in allowing:
        if not one.needs and at.fits_port(one) and not at.fits_peer(one):
            peers = (*(one.peers or ()), peer)
            yield Remedy(f"add {words.peer(peer)} to the peers of {one.origin}", ((one, replace(one, peers=peers)),))
    for one in allowing:
        if one.needs and at.fits_peer(one) and at.fits_port(one):
            lacks = ", ".join(sorted(one.needs))
            text = f"take what is not enforced yet ({lacks}) out of {one.origin}"
            yield Remedy(text, ((one, replace(one, needs=frozenset())),))
    new = _new_rule(at, peer, Action.ALLOW, Tier.NORMAL)
    yield Remedy(f"add a rule that allows {_sentence(at, peer)}", ((None, new),))


def _to_deny(at: Situation) -> Iterator[Remedy]:
    peer = _peer_of(at)
    _, decider = at.decide(at.fitting())
    if decider is not None and decider is not LOCALHOST:
        yield Remedy(f"remove {decider.origin}, or keep this peer or port out of it", ((decider, None),))
    for tier, text in ((Tier.NORMAL, "a deny rule"), (Tier.ADMIN, "an Admin deny rule, in front of all others,")):
        new = _new_rule(at, peer, Action.DENY, tier)
        yield Remedy(f"add {text} for {_sentence(at, peer)}", ((None, new),))


def _sentence(at: Situation, peer: Peer) -> str:
    packet = words.packet(at.protocol, at.port)
    if at.direction is Direction.INGRESS:
        return f"{packet} from {words.peer(peer)} to {words.labels(at.facts.labels)}"
    return f"{packet} from {words.labels(at.facts.labels)} to {words.peer(peer)}"


def _new_rule(at: Situation, peer: Peer, action: Action, tier: Tier) -> Rule:
    section = str(at.direction) + ("Deny" if action is Action.DENY else "")
    subject = Subject(at.facts.kind, _telling(at.facts.labels))
    ports = (Ports(at.protocol, at.port, at.port),)
    priority, order = (-1, -1) if tier is Tier.ADMIN else (0, 0)
    origin = RuleOrigin(NEW, section, 0)
    return Rule(origin, subject, at.direction, action, (peer,), ports, tier, priority, order)


def _peer_of(at: Situation) -> Peer:
    """A peer that means this one: by its address or block if it is of the outside, else by its labels."""
    blocks = at.addresses or address_blocks(at.peer_labels, nodes=False)
    if at.outside and blocks:
        return CidrPeer(blocks[0])
    return LabelPeer(_telling(at.peer_labels))


def _telling(labels: Iterable[Label]) -> tuple[Match, ...]:
    """Conditions that mean somebody, without what Glasshive adds to every pod of a namespace."""
    return tuple(_exactly(one) for one in labels if not one.key.startswith("io.cilium.k8s."))


def _exactly(label: Label) -> Match:
    if label.source == "reserved" or not label.value:
        return Match(label.source, label.key, "exists")
    return Match(label.source, label.key, "in", frozenset((label.value,)))

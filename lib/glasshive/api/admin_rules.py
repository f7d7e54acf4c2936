"""Ordered rules, as AdminNetworkPolicy, BaselineAdminNetworkPolicy and ClusterNetworkPolicy have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glasshive.api.admin_peers import NAMELESS, read_peers, read_subject
from glasshive.api.policy_reading import Reading
from glasshive.model.policy import Action, Direction, Ports, Rule, RuleOrigin, Subject, Tier

Object = dict[str, Any]
_PEERS = {Direction.INGRESS: "from", Direction.EGRESS: "to"}


@dataclass(frozen=True, slots=True)
class Words:
    """How a kind writes its rules: its actions, and the field and reader of ports."""

    actions: Mapping[str, Action]
    ports: str
    read_port: Callable[[Object, str, Reading], Ports | None]


def read_rules(spec: Object, words: Words, tier: Tier, priority: int, reading: Reading) -> list[Rule]:
    """The rules of ``spec``, in order."""
    subject = read_subject(spec["subject"], reading)
    rules: list[Rule] = []
    for direction in Direction:
        for at, one in enumerate(spec.get(direction.value) or ()):
            rules += _read_rule(one, at, direction, subject, words=words, tier=tier, priority=priority, reading=reading)
    return rules


def _read_rule(
    one: Object, at: int, direction: Direction, subject: Subject, *,
    words: Words, tier: Tier, priority: int, reading: Reading,
) -> list[Rule]:  # fmt: skip
    path = f"spec.{direction.value}[{at}]"
    action = words.actions[one["action"]]
    if action is Action.PASS and tier is Tier.BASELINE:
        action = Action.ALLOW  # nothing comes after the Baseline tier, and what nothing refuses is allowed
    peers = one.get(_PEERS[direction]) or ()
    read = read_peers(peers, action, f"{path}.{_PEERS[direction]}", reading)
    ports = _read_ports(one, peers, path, words, reading)
    origin = RuleOrigin(reading.ref, direction.value, at, label=one.get("name") or "")

    def rule(does: Action, whom: tuple[Any, ...] | None, which: tuple[Ports, ...] | None, *needs: str) -> Rule:
        return Rule(origin, subject, direction, does, whom, which, tier, priority, at, frozenset(needs))

    if read.closed:
        return [rule(action, (), ports)] if action is Action.ALLOW else [rule(Action.DENY, None, None)]
    found = [rule(action, None if read.everybody else tuple(dict.fromkeys(read.peers)), ports)]
    if read.needs and not read.peers and not read.everybody:
        found = []
    return [*found, *(rule(action, (), ports, need) for need in sorted(read.needs))]


def _read_ports(
    one: Object, peers: Sequence[Object], path: str, words: Words, reading: Reading
) -> tuple[Ports, ...] | None:
    given = one.get(words.ports)
    if not given:
        return None
    found = []
    for at, port in enumerate(given):
        read = words.read_port(port, f"{path}.{words.ports}[{at}]", reading)
        if read is not None:
            found.append(read)
    nameless = sorted({name for peer in peers for name in NAMELESS if peer.get(name) is not None})
    if nameless and any(port.name for port in found):
        reading.error(f"{path}.{words.ports}", f"named ports cannot be used with {', '.join(nameless)}: they have none")
    return tuple(dict.fromkeys(found))

"""What one peer may do under a set of rules: all precedence decided, as rows of which at most one holds for a packet.

``decide_ports`` sweeps over the port numbers of one protocol and asks, between any two borders, which rule speaks.
Rules are ranked once (``rank``), so that the sweep only looks for the first in order. Admin rules are kept apart,
because PASS takes away the word of every Admin rule behind it without saying anything itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise
from typing import NamedTuple

from glasshive.model.policy import PORT_MAX, Action, PeerRows, PortRow, Rule, Tier, Verdict
from glasshive.policy.ports import EVERY_PROTOCOL, NO_NAMES, NamedPort, Span, names_used, prefixes, spans


class Outcome(NamedTuple):
    """What is decided, and the cookie of the rule that did (0: none)."""

    verdict: Verdict
    rule: int


REFUSED = Outcome(Verdict.DENY_DEFAULT, 0)
UNTOUCHED = Outcome(Verdict.ALLOW, 0)

_ACTION_ORDER = {Action.DENY: 0, Action.PASS: 1, Action.ALLOW: 2}
_VERDICTS = {Action.ALLOW: Verdict.ALLOW, Action.DENY: Verdict.DENY_RULE}


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A rule that can decide something, ready for use. ``number`` tells rules apart and is never used again."""

    number: int
    rule: Rule
    cookie: int
    names: frozenset[str]
    spans: tuple[Span, ...]
    """Its ports; without those that are named, if ``names`` is not empty."""

    @classmethod
    def of(cls, number: int, rule: Rule, cookie: int) -> Compiled:
        """The compiled form of a rule."""
        return cls(number, rule, cookie, names_used(rule.ports), spans(rule.ports))

    def spans_with(self, names: Iterable[NamedPort]) -> tuple[Span, ...]:
        """Its ports, the named ones by what the receiver calls so."""
        return spans(self.rule.ports, names) if self.names else self.spans


def effective(rule: Rule) -> bool:
    """Whether a rule can decide a packet: it means somebody, some port, and has all it needs.

    An allow rule that lacks something allows nothing; a deny or pass rule holds all the same, the stricter reading.
    """
    return rule.peers != () and rule.ports != () and not (rule.needs and rule.action is Action.ALLOW)


def rank(rule: Rule, span: Span, cookie: int) -> tuple[int, ...]:
    """Where a rule stands for a span: the lowest is asked first.

    Admin and Baseline: by priority, then order; a tie goes to the stricter. Normal: deny before allow; of two that say
    the same the more specific one speaks, because it is the one its author would look for: fewer ports, then named
    peers. The cookie makes the order total and the same on every node.
    """
    if rule.tier is Tier.NORMAL:
        return Tier.NORMAL, _ACTION_ORDER[rule.action], span.width, rule.peers is None, cookie
    return int(rule.tier), rule.priority, rule.order, _ACTION_ORDER[rule.action], cookie


class Claim(NamedTuple):
    """A rule's word for a span."""

    rank: tuple[int, ...]
    span: Span
    outcome: Outcome | None  # None: PASS


def claims(rules: Iterable[Compiled], names: Iterable[NamedPort], *, default_deny: bool) -> list[Claim]:
    """The words of all rules, the first to be asked first. Under default deny, Baseline has nothing to say."""
    found = []
    for one in rules:
        rule = one.rule
        if default_deny and rule.tier is Tier.BASELINE:
            continue
        outcome = None if rule.action is Action.PASS else Outcome(_VERDICTS[rule.action], one.cookie)
        found += [Claim(rank(rule, span, one.cookie), span, outcome) for span in one.spans_with(names)]
    found.sort(key=lambda claim: claim.rank)
    return found


def peer_rows(rules: Iterable[Compiled], names: Iterable[NamedPort] = NO_NAMES, *, default_deny: bool) -> PeerRows:
    """Everything the rules that match a peer say of it. ``names``: what the receiving side calls its ports."""
    ordered = claims(rules, names, default_deny=default_deny)
    fallback = REFUSED if default_deny else UNTOUCHED
    anything = [claim for claim in ordered if claim.span.protocol == EVERY_PROTOCOL]
    base = _first_word(anything, fallback)
    rows = []
    for protocol in sorted({claim.span.protocol for claim in ordered} - {EVERY_PROTOCOL}):
        relevant = [claim for claim in ordered if claim.span.protocol in (protocol, EVERY_PROTOCOL)]
        for first, last, outcome in decide_ports(relevant, fallback):
            if outcome != base:
                rows += [PortRow(protocol, port, bits, *outcome) for port, bits in prefixes(first, last)]
    return PeerRows(*base, tuple(rows))


def _first_word(ordered: Iterable[Claim], fallback: Outcome) -> Outcome:
    passed = False
    for claim in ordered:
        if passed and claim.rank[0] == Tier.ADMIN:
            continue
        if claim.outcome is not None:
            return claim.outcome
        passed = True
    return fallback


def decide_ports(ordered: Sequence[Claim], fallback: Outcome) -> list[tuple[int, int, Outcome]]:
    """Who decides which ports: (first, last, outcome) from 0 to 65535 without gaps, neighbours being different."""
    starts: dict[int, list[int]] = {}
    borders = {0, PORT_MAX + 1}
    for at, claim in enumerate(ordered):
        starts.setdefault(claim.span.first, []).append(at)
        borders.add(claim.span.first)
        borders.add(claim.span.last + 1)
    cuts = sorted(borders)
    admin: list[int] = []
    others: list[int] = []
    found: list[tuple[int, int, Outcome]] = []
    for first, end in pairwise(cuts):
        for at in starts.get(first, ()):
            heappush(admin if ordered[at].rank[0] == Tier.ADMIN else others, at)
        outcome = _top(admin, ordered, first) or _top(others, ordered, first) or fallback
        if found and found[-1][2] == outcome:
            found[-1] = found[-1][0], end - 1, outcome
        else:
            found.append((first, end - 1, outcome))
    return found


def _top(heap: list[int], ordered: Sequence[Claim], port: int) -> Outcome | None:
    """The word of the first claim that still covers ``port``; None when there is none, or it is PASS."""
    while heap and ordered[heap[0]].span.last < port:
        heappop(heap)
    return ordered[heap[0]].outcome if heap else None

"""Rows of one peer: spans, prefixes, precedence, attribution, and what is shared."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshive.model.policy import (
    Action,
    Direction,
    LabelPeer,
    ObjectRef,
    PeerRows,
    PortRow,
    Ports,
    Rule,
    RuleOrigin,
    Subject,
    SubjectKind,
    Tier,
    Verdict,
)
from glasshive.policy.cookies import Cookies
from glasshive.policy.half import RowMemo
from glasshive.policy.ports import EVERYTHING, NamedPort, Span, prefixes, spans
from glasshive.policy.rows import Compiled, effective, peer_rows

ALLOW, DEFAULT, DENY = Verdict.ALLOW, Verdict.DENY_DEFAULT, Verdict.DENY_RULE
REF = ObjectRef("CiliumNetworkPolicy", "n", "p")
HTTP = NamedPort("http", 6, 80)


def rule(index: int, *ports: Ports, action: Action = Action.ALLOW, anybody: bool = False, **more: object) -> Compiled:
    """Rule number and cookie ``index``; without ports: every port."""
    peers = None if anybody else (LabelPeer(()),)
    origin = RuleOrigin(REF, "ingress", index)
    subject = Subject(SubjectKind.ENDPOINT)
    value = Rule(origin, subject, Direction.INGRESS, action, peers, ports or None, **more)  # type: ignore[arg-type]
    return Compiled.of(index, value, index)


def admin(index: int, *ports: Ports, action: Action) -> Compiled:
    """An Admin rule in its place of order."""
    return rule(index, *ports, action=action, tier=Tier.ADMIN, order=index)


def tcp(first: int, last: int | None = None) -> Ports:
    return Ports(6, first, first if last is None else last)


def rows(*rules: Compiled, deny: bool = True, names: frozenset[NamedPort] = frozenset()) -> PeerRows:
    return peer_rows(rules, names, default_deny=deny)


def texts(found: PeerRows) -> list[str]:
    return [f"{r.protocol} {r.port}/{r.prefix_bits} {r.verdict.name} {r.rule}" for r in found.ports]


@pytest.mark.parametrize(
    ("first", "last", "count"),
    [(80, 80, 1), (22, 23, 1), (0, 1023, 1), (1024, 65535, 6), (1, 1023, 10), (10000, 20000, 11), (1, 65535, 16),
     (1, 65534, 30), (0, 65535, 1)],
)  # fmt: skip
def test_a_range_in_as_few_prefixes_as_can_be(first: int, last: int, count: int) -> None:
    """The counts are those of the reference (features.md, 1.4)."""
    assert len(prefixes(first, last)) == count


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_prefixes_cover_the_range_and_nothing_else(one: int, other: int) -> None:
    first, last = sorted((one, other))
    covered = [(port, port + (1 << (16 - bits)) - 1) for port, bits in prefixes(first, last)]
    assert (covered[0][0], covered[-1][1]) == (first, last)
    assert all(left[1] + 1 == right[0] for left, right in pairwise(covered))
    assert all(low % (high - low + 1) == 0 for low, high in covered)


@pytest.mark.parametrize(
    ("ports", "found"),
    [
        (None, (EVERYTHING,)),
        ((), ()),
        ((tcp(80),), (Span(6, 80, 80),)),
        ((Ports(0, 53, 53),), (Span(6, 53, 53), Span(17, 53, 53), Span(132, 53, 53))),
        ((Ports(1, 8, 8),), (Span(1, 8, 8),)),
        ((Ports(58, 0, 255),), (Span(58, 0, 65535),)),
        ((Ports(0, name="http"),), (Span(6, 80, 80),)),
        ((Ports(17, name="http"),), ()),
        ((Ports(6, name="none"),), ()),
        ((tcp(80), tcp(80)), (Span(6, 80, 80),)),
    ],
)
def test_what_ports_mean(ports: tuple[Ports, ...] | None, found: tuple[Span, ...]) -> None:
    assert spans(ports, (HTTP,)) == found


TABLE = {
    "nothing, default deny": ((), True, (DEFAULT, 0), []),
    "nothing, no default deny": ((), False, (ALLOW, 0), []),
    "everything": ((rule(1),), True, (ALLOW, 1), []),
    "one port": ((rule(1, tcp(80)),), True, (DEFAULT, 0), ["6 80/16 ALLOW 1"]),
    "a range": ((rule(1, tcp(80, 83)),), True, (DEFAULT, 0), ["6 80/14 ALLOW 1"]),
    "a whole protocol": ((rule(1, tcp(0, 65535)),), True, (DEFAULT, 0), ["6 0/0 ALLOW 1"]),
    "deny first": ((rule(1), rule(2, tcp(80), action=Action.DENY)), True, (ALLOW, 1), ["6 80/16 DENY_RULE 2"]),
    "deny of all takes narrower allows": ((rule(1, tcp(80)), rule(2, action=Action.DENY)), True, (DENY, 2), []),
    "deny in the middle of a range": (
        (rule(1, tcp(80, 83)), rule(2, tcp(81), action=Action.DENY)),
        True,
        (DEFAULT, 0),
        ["6 80/16 ALLOW 1", "6 81/16 DENY_RULE 2", "6 82/15 ALLOW 1"],
    ),
    "the more specific counts": ((rule(1), rule(2, tcp(80))), True, (ALLOW, 1), ["6 80/16 ALLOW 2"]),
    "the narrower of two ranges": (
        (rule(1, tcp(80, 83)), rule(2, tcp(80, 81))),
        True,
        (DEFAULT, 0),
        ["6 80/15 ALLOW 2", "6 82/15 ALLOW 1"],
    ),
    "named peers before anybody": ((rule(1, tcp(80), anybody=True), rule(2, tcp(80))), True, (DEFAULT, 0),
                                   ["6 80/16 ALLOW 2"]),
    "neighbours of one rule are one": ((rule(1, tcp(80), tcp(81)),), True, (DEFAULT, 0), ["6 80/15 ALLOW 1"]),
    "neighbours of two rules stay two": (
        (rule(1, tcp(80)), rule(2, tcp(81))), True, (DEFAULT, 0), ["6 80/16 ALLOW 1", "6 81/16 ALLOW 2"],
    ),
    "PASS alone decides nothing": ((rule(1, tcp(80), tier=Tier.ADMIN, action=Action.PASS),), True, (DEFAULT, 0), []),
    "Admin before deny": (
        (rule(1, tcp(80), tier=Tier.ADMIN), rule(2, action=Action.DENY)), True, (DENY, 2), ["6 80/16 ALLOW 1"],
    ),
    "PASS takes the word of what follows in its tier": (
        (admin(1, tcp(80), action=Action.PASS), admin(2, action=Action.DENY)),
        False,
        (DENY, 2),
        ["6 80/16 ALLOW 0"],
    ),
    "an earlier Admin rule is not passed": (
        (admin(2, action=Action.PASS), admin(1, tcp(80), action=Action.DENY)),
        False,
        (ALLOW, 0),
        ["6 80/16 DENY_RULE 1"],
    ),
    "lower priority first": (
        (rule(1, tier=Tier.ADMIN, priority=2), rule(2, tier=Tier.ADMIN, priority=1, action=Action.DENY)),
        False, (DENY, 2), [],
    ),
    "Baseline without default deny": ((rule(1, tcp(80), tier=Tier.BASELINE, action=Action.DENY),), False, (ALLOW, 0),
                                      ["6 80/16 DENY_RULE 1"]),
    "Baseline under default deny": ((rule(1, tier=Tier.BASELINE),), True, (DEFAULT, 0), []),
    "Baseline behind a policy's allow": ((rule(1, tier=Tier.BASELINE, action=Action.DENY), rule(2, tcp(80))), False,
                                         (DENY, 1), ["6 80/16 ALLOW 2"]),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "deny", "base", "ports"), TABLE.values(), ids=TABLE)
def test_rows(rules: tuple[Compiled, ...], deny: bool, base: tuple[Verdict, int], ports: list[str]) -> None:
    found = rows(*rules, deny=deny)
    assert (found.verdict, found.rule) == base
    assert texts(found) == ports
    assert rows(*reversed(rules), deny=deny) == found, "the order in which rules are given does not matter"


def test_named_ports_are_rows_of_what_the_receiver_has() -> None:
    named = rule(1, Ports(6, name="http"))
    assert rows(named, names=frozenset({HTTP})).ports == (PortRow(6, 80, 16, ALLOW, 1),)
    assert not rows(named).ports


def test_which_rules_can_decide() -> None:
    assert effective(rule(1).rule)
    assert not effective(rule(1, needs=frozenset({"l7"})).rule)
    assert effective(rule(1, needs=frozenset({"l7"}), action=Action.DENY).rule), "a deny rule holds all the same"


def test_ten_thousand_rules_on_one_peer() -> None:
    found = rows(*(rule(1 + at, tcp(2 * at)) for at in range(10_000)))
    assert len(found.ports) == 10_000
    assert {row.prefix_bits for row in found.ports} == {16}


def test_rows_of_equal_rules_are_computed_once() -> None:
    memo, one, two = RowMemo(), rule(1, tcp(80)), rule(2)
    first = memo.rows({1: one, 2: two}, frozenset(), default_deny=True)
    assert memo.rows({2: two, 1: one}, frozenset(), default_deny=True) is first


def test_cookies_are_the_same_in_every_life_and_remembered_for_a_while() -> None:
    origin, again = (RuleOrigin(one, "ingress", 0) for one in (REF, replace(REF, uid="other")))
    one, other = Cookies(), Cookies()
    cookie = one.acquire(origin)
    assert cookie == other.acquire(again) == one.known(origin)
    assert one.acquire(again) != cookie, "two rules at the same time never share one"
    one.release(origin)
    assert one.origin(cookie) == origin
    assert origin not in one.items().values()
    assert one.origin(1) is None

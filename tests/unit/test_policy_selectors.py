"""Selectors and address blocks: who is meant, however identities and selectors come and go."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshive.errors import ExhaustedError
from glasshive.model.address import Prefix
from glasshive.model.labels import Label, Labels
from glasshive.model.policy import CidrPeer, LabelPeer, Match
from glasshive.policy import prefixes
from glasshive.policy.label_index import filing
from glasshive.policy.prefixes import PrefixIdentities, inside, label_of, prefix_of
from glasshive.policy.selectors import SelectorCache, everyone, ordinary
from policy_cases import cidr_peers, label_peers, pod_labels


def cidr(text: str, *excepts: str) -> CidrPeer:
    return CidrPeer(Prefix.parse(text), tuple(map(Prefix.parse, excepts)))


def match(op: str, *values: str, key: str = "app", source: str = "k8s") -> Match:
    return Match(source, key, op, frozenset(values))


WEB = Labels.of(["k8s:app=web", "k8s:env=x"])
TABLE = [
    ("a value", (match("in", "web"),), WEB, True),
    ("one of values", (match("in", "db", "web"),), WEB, True),
    ("another value", (match("in", "db"),), WEB, False),
    ("no value at all", (match("in"),), WEB, False),
    ("of any source", (match("in", "web", source="any"),), WEB, True),
    ("of another source", (match("in", "web", source="container"),), WEB, False),
    ("both", (match("in", "web"), match("in", "x", key="env")), WEB, True),
    ("one of two", (match("in", "web"), match("in", "y", key="env")), WEB, False),
    ("twice the same key", (match("in", "web", "db"), match("in", "db")), WEB, False),
    ("not in", (match("notin", "db"),), WEB, True),
    ("not in, but it is", (match("notin", "web"),), WEB, False),
    ("not in, and missing", (match("notin", "web", key="tier"),), WEB, True),
    ("exists", (match("exists"),), WEB, True),
    (
        "exists, and is not",
        (match("in", "web"), match("notin", "x", key="env"), match("exists", key="env")),
        WEB,
        False,
    ),
    ("absent", (match("absent", key="tier"),), WEB, True),
    ("absent, but there", (match("absent"),), WEB, False),
    ("all endpoints", (), WEB, True),
    ("all endpoints, not the host", (), Labels.of(["reserved:host"]), False),
    ("all endpoints, not the world's blocks", (), Labels.of(["cidr:10.0.0.0/8", "reserved:world"]), False),
    ("an entity", (match("exists", key="host", source="reserved"),), Labels.of(["reserved:host"]), True),
    ("more values than are filed", (match("in", "web", *map(str, range(99))),), WEB, True),
]


@pytest.mark.parametrize(("what", "matches", "labels", "means"), TABLE, ids=[row[0] for row in TABLE])
@pytest.mark.parametrize("first", ["identity", "selector"])
def test_who_is_meant(what: str, matches: tuple[Match, ...], labels: Labels, means: bool, first: str) -> None:
    cache, peer = SelectorCache(), LabelPeer(matches)
    if first == "identity":
        cache.add(300, labels)
        selector = cache.acquire(peer)
    else:
        selector = cache.acquire(peer)
        assert cache.add(300, labels) == ({selector.number} if means else set(), set())
    assert (300 in selector.members) == means == cache.means(peer, 300)
    assert cache.matched(300) == ({selector.number} if means else set())


def test_several_sources_of_one_key() -> None:
    cache = SelectorCache(everyone)
    cache.add(1, Labels.of(["k8s:app=web", "container:app=db"]))
    for value in ("web", "db"):
        assert cache.acquire(LabelPeer((match("in", value, source="any"),))).members == {1}
    assert not cache.acquire(LabelPeer((match("notin", "db", source="any"),))).members


BLOCKS = [
    (cidr("10.0.0.0/8"), "10.1.0.0/16", True),
    (cidr("10.0.0.0/8"), "10.0.0.0/8", True),
    (cidr("10.1.0.0/16"), "10.0.0.0/8", False),
    (cidr("10.0.0.0/8", "10.1.0.0/16"), "10.1.2.0/24", False),
    (cidr("10.0.0.0/8", "10.1.0.0/16"), "10.2.0.0/16", True),
    (cidr("10.0.0.0/8", "10.1.0.0/16"), "10.0.0.0/8", True),
    (cidr("0.0.0.0/0"), "10.0.0.0/8", True),
    (cidr("::/0"), "10.0.0.0/8", False),
    (cidr("::/0"), "2001:db8::/32", True),
    (cidr("2001:db8::/29"), "2001:dbf::/32", True),
    (cidr("2001:db8::/29"), "2001:dc0::/32", False),
]


@pytest.mark.parametrize(("peer", "block", "means"), BLOCKS)
def test_which_blocks_a_cidr_means(peer: CidrPeer, block: str, means: bool) -> None:
    labels = PrefixIdentities(dual_stack=True).labels(Prefix.parse(block))
    one, other = SelectorCache(), SelectorCache()
    one.add(1 << 24 | 1, labels)
    assert bool(one.acquire(peer).members) == means
    selector = other.acquire(peer)
    other.add(1 << 24 | 1, labels)
    assert bool(selector.members) == means


def test_the_whole_of_a_family_means_the_world() -> None:
    cache = SelectorCache()
    for number, name in ((2, "world"), (9, "world-ipv4"), (10, "world-ipv6"), (1, "host")):
        cache.add(number, Labels.of([f"reserved:{name}"]))
    assert cache.acquire(cidr("0.0.0.0/0")).members == {2, 9}
    assert cache.acquire(cidr("::/0", "2001:db8::/32")).members == {2, 10}
    assert not cache.acquire(cidr("10.0.0.0/8")).members


@pytest.mark.parametrize("by_cidr", [False, True])
def test_nodes_by_cidr_only_where_configured(by_cidr: bool) -> None:
    cache = SelectorCache(nodes_by_cidr=by_cidr)
    cache.add(2 << 24 | 1, Labels.of(["reserved:remote-node", "cidr:172.30.0.12/32"]))
    assert bool(cache.acquire(cidr("172.30.0.0/24")).members) == by_cidr


def test_an_identity_with_other_labels_changes_sides() -> None:
    cache = SelectorCache()
    web, db = (cache.acquire(LabelPeer((match("in", value),))) for value in ("web", "db"))
    cache.add(300, WEB)
    assert cache.add(300, WEB) == (set(), set())
    assert cache.add(300, Labels.of(["k8s:app=db"])) == ({db.number}, {web.number})
    assert (web.members, db.members) == (set(), {300})
    assert cache.remove(300) == {db.number}
    assert cache.remove(300) == set()
    assert not db.members


def test_a_selector_lives_as_long_as_somebody_uses_it() -> None:
    cache, peer = SelectorCache(), LabelPeer((match("in", "web"),))
    cache.add(300, WEB)
    one = cache.acquire(peer)
    assert cache.acquire(peer) is one
    assert not cache.release(one)
    assert cache.release(one)
    assert cache.find(peer) is None
    assert not cache.matched(300)
    assert cache.acquire(peer).number != one.number, "numbers are not given twice: rows may remember them"


@settings(max_examples=60, deadline=None)
@given(st.lists(label_peers() | cidr_peers(), max_size=8), st.lists(pod_labels(), max_size=6), st.randoms())
def test_any_order_ends_alike(peers: list, labels: list[Labels], mixer: random.Random) -> None:
    cache, held = SelectorCache(), []
    steps = [("peer", one) for one in peers] + [("labels", one) for one in enumerate(labels, 256)]
    mixer.shuffle(steps)
    for kind, one in steps:
        if kind == "peer":
            held.append(cache.acquire(one))
            if mixer.random() < 0.3:
                cache.release(held.pop())
        else:
            cache.add(*one)
            if mixer.random() < 0.3:
                cache.remove(one[0])
    for selector in held:
        peer = selector.peer
        if isinstance(peer, LabelPeer):
            want = {n for n in cache.numbers() if ordinary(cache.labels(n)) and peer.selects(cache.labels(n))}
            assert selector.members == want
    for number in cache.numbers():
        assert cache.matched(number) == {one.number for one in held if number in one.members}


def test_what_a_look_up_cannot_answer_is_asked_again() -> None:
    assert filing(LabelPeer((match("in", "web"), match("exists", key="env")))).whole
    assert not filing(LabelPeer((match("in", "web"), match("absent", key="env")))).whole
    assert len(filing(LabelPeer((match("in", "a", "b"), match("in", "x", "y", key="env")))).places) == 4


@pytest.mark.parametrize(
    ("prefix", "label"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("::1", "0--1/128"),
        ("2001:db8::/32", "2001-db8--0/32"),
        ("::/3", "0--0/3"),
        ("fd00:1::2", "fd00-1--2/128"),
    ],
)
def test_labels_of_blocks_and_back(prefix: str, label: str) -> None:
    assert label_of(Prefix.parse(prefix)) == Label("cidr", label)
    assert prefix_of(Label("cidr", label)) == Prefix.parse(prefix)
    assert prefix_of(Label("k8s", label)) is None
    assert prefix_of(Label("cidr", "nonsense")) is None


def test_numbers_of_blocks_are_stable_and_not_reused_at_once() -> None:
    ten, eleven = Prefix.parse("10.0.0.0/8"), Prefix.parse("11.0.0.0/8")
    known = PrefixIdentities(dual_stack=False, restored={eleven: (1 << 24) + 7})
    first = known.acquire(ten)
    assert first is not None
    assert first.number >> 24 == 1
    assert first.labels == Labels.of(["cidr:10.0.0.0/8", "reserved:world"])
    assert known.acquire(ten) is None
    assert known.release(ten) is None
    assert known.release(ten) == first
    again = known.acquire(ten)
    assert again is not None
    assert again.number != first.number
    restored = known.acquire(eleven)
    assert restored is not None
    assert restored.number == (1 << 24) + 7
    assert known.covering(Prefix.parse("10.9.9.9")) == again
    assert known.covering(Prefix.parse("12.0.0.1")) is None


def test_the_longest_block_covers() -> None:
    known = PrefixIdentities(dual_stack=True)
    for text in ("10.0.0.0/8", "10.1.0.0/16", "::/1"):
        known.acquire(Prefix.parse(text))
    for address, block in (("10.1.2.3", "10.1.0.0/16"), ("10.2.0.0", "10.0.0.0/8"), ("2001:db8::1", "::/1")):
        assert known.covering(Prefix.parse(address)) == known.get(Prefix.parse(block))
    assert not inside(Prefix.parse("10.0.0.1"), Prefix.parse("::/1"))


def test_no_number_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefixes, "_LOCAL_MAX", 2)
    known = PrefixIdentities(dual_stack=True)
    for text in ("10.0.0.0/8", "11.0.0.0/8"):
        known.acquire(Prefix.parse(text))
    with pytest.raises(ExhaustedError, match="delete policies"):
        known.acquire(Prefix.parse("12.0.0.0/8"))


def test_whether_anybody_is_meant_needs_no_rule() -> None:
    cache = SelectorCache()
    peer = LabelPeer((match("in", "web"),))
    assert not cache.anybody(peer)
    cache.add(300, WEB)
    assert cache.anybody(peer)
    assert cache.selectors() == []
    cache.remove(300)
    assert not cache.anybody(peer)

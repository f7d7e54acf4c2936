"""Rows of policy written many at a time are the rows written one by one: the same changes to two sets of tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datapath as dp
import datapath_policy as pol
from glasshive.errors import ExhaustedError
from glasshive.maps.policy import PolicyMaps, half
from glasshive.maps.policy_table import SLOTS, SlotTable, buckets_of, buckets_of_many
from glasshive.model.policy import Direction, Verdict

pytestmark = pytest.mark.root

SIZES = {"policy_peers": 32, "policy_ports": 128, "policy_rows": 8192}
HALVES = [half(number, direction) for number in (1, 2) for direction in Direction]

_place = st.tuples(st.sampled_from(HALVES), st.integers(0, 12))
_prefix = st.sampled_from([(80, 16), (443, 16), (4096, 4), (0, 0)])
_port = st.builds(
    lambda place, protocol, prefix, verdict, rule: (*place, protocol, *prefix, verdict, rule),
    _place, st.sampled_from([6, 17]), _prefix, st.sampled_from(Verdict), st.integers(0, 3),
)  # fmt: skip
_peer = st.tuples(_place, st.sampled_from(Verdict), st.integers(0, 3), st.integers(0, 2**17 - 1)).map(
    lambda one: (*one[0], *one[1:])
)
_change = st.one_of(
    st.tuples(st.just("put_ports"), st.lists(_port, max_size=60)),
    st.tuples(st.just("put_peers"), st.lists(_peer, max_size=30)),
    st.tuples(st.just("drop_ports"), st.lists(_port.map(lambda one: one[:5]), max_size=20)),
    st.tuples(st.just("drop_peers"), st.lists(_place, max_size=10)),
)


class Stuck(SlotTable):
    """A table that is always, or never, written many at a time."""

    many = False

    def are_many(self, count: int) -> bool:
        return self.many and count > 0


class Always(Stuck):
    many = True


@pytest.fixture(scope="module")
def paths() -> Iterator[list[dp.Datapath]]:
    with ExitStack() as stack:
        yield [stack.enter_context(dp.loaded(dp.config(), SIZES)) for _ in range(2)]


def emptied(path: dp.Datapath, kind: type[Stuck]) -> PolicyMaps:
    maps = pol.maps(path)
    maps.remove_policies(maps.numbers())
    maps._peers.__class__ = maps._ports.__class__ = kind
    return maps


def done(maps: PolicyMaps, name: str, rows: list[Any]) -> Any:
    try:
        return getattr(maps, name)(rows)
    except ExhaustedError:
        return "full"


@settings(max_examples=150, deadline=None)
@given(st.lists(_change, min_size=1, max_size=8))
def test_many_at_once_are_the_same_rows(paths: list[dp.Datapath], changes: list[tuple[str, list[Any]]]) -> None:
    single, bulk = emptied(paths[0], Stuck), emptied(paths[1], Always)
    for name, rows in changes:
        assert done(single, name, rows) == done(bulk, name, rows)
        assert single.rows() == bulk.rows()
        assert sorted(single.peer_rows()) == sorted(bulk.peer_rows())
    # What the kernel's arrays hold, not only what we remember: read anew by whoever opens them next.
    again = pol.maps(paths[1])
    with_peer = {row[:3] for row in bulk.peer_rows()}
    assert again.rows() == [row for row in bulk.rows() if row[:3] in with_peer]


def test_buckets_are_those_of_the_programs() -> None:
    keys = np.random.default_rng(3).integers(1, 2**64, 1000, dtype=np.uint64)
    first, second = buckets_of_many(keys, 4095)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [buckets_of(key, 4095) for key in keys.tolist()]


def test_a_table_is_filled_as_far_at_once(paths: list[dp.Datapath]) -> None:
    """Three quarters of all slots find room, as one by one; what does not fit changes nothing."""
    maps = emptied(paths[1], Always)
    count = SIZES["policy_peers"] * SLOTS * 3 // 4
    rows = [(HALVES[0], identity, Verdict.ALLOW, 1, 0) for identity in range(count)]
    keys = np.array([HALVES[0] << 32 | identity for identity in range(count)], np.uint64)
    places = maps._peers.places(keys)
    assert places is not None
    assert len(set(places.tolist())) == count
    maps.put_peers(rows)
    assert len(maps.peer_rows()) == count
    more = [(HALVES[1], identity, Verdict.ALLOW, 1, 0) for identity in range(count)]
    assert maps._peers.places(np.array([HALVES[1] << 32 | row[1] for row in more], np.uint64)) is None
    with pytest.raises(ExhaustedError, match="policy_peers is full"):
        maps.write_policy(HALVES[1] >> 1, Direction(_direction(HALVES[1])), {row[1]: pol.peer() for row in more})
    assert [row for row in maps.peer_rows() if half(row[0], row[1]) == HALVES[1]] == []
    assert len(maps.peer_rows()) == count


def _direction(key: int) -> Direction:
    return Direction.EGRESS if key & 1 else Direction.INGRESS

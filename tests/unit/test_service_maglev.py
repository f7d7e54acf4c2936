"""Maglev tables against a plain reference that works slot by slot, and what is promised of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshive.errors import UsageError
from glasshive.model.address import parse
from glasshive.model.service import Place
from glasshive.service import maglev
from glasshive.service.settings import TABLE_SIZES, ServiceSettings, seed_of

SEED = seed_of("JLfvgnHc2kaSUFaI")
Members = list[tuple[Place, int]]


def members(count: int, weight: int = 1) -> Members:
    return [(Place(parse(f"10.1.{at >> 8}.{at & 255}"), 8080, 6), weight) for at in range(count)]


def reference(found: Members, size: int, seed: bytes = SEED) -> list[int]:
    """One look after the other, as the module's text says: the earliest to look at a free slot takes it if it may."""
    hashes = maglev._hashes([place for place, _ in found], seed)
    order = sorted(range(len(found)), key=lambda at: int(hashes[2][at]))
    total = sum(weight for _, weight in found)
    even = len({weight for _, weight in found}) == 1
    looks = []
    for turn, at in enumerate(order):
        offset, skip = int(hashes[0][at]) % size, int(hashes[1][at]) % (size - 1) + 1
        for rank in range(size):
            time = rank if even else int(maglev._ticks(size)[rank]) * total // (found[at][1] * len(found))
            looks.append((time, turn, at, (offset + rank * skip) % size))
    owner, held = [-1] * size, [0] * len(found)
    for _, _, at, slot in sorted(looks):
        if owner[slot] < 0 and held[at] < math.ceil(maglev.MOST_LOAD * size * found[at][1] / total):
            owner[slot] = at
            held[at] += 1
    return owner


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([251, 509]), st.lists(st.integers(1, 4), min_size=1, max_size=40),
    st.binary(min_size=12, max_size=12),
)  # fmt: skip
def test_the_same_as_the_reference(size: int, weights: list[int], seed: bytes) -> None:
    found = [(place, weight) for (place, _), weight in zip(members(len(weights)), weights, strict=True)]
    assert maglev.table(found, size, seed).tolist() == reference(found, size, seed)


@pytest.mark.parametrize(("count", "size"), [(1000, 65537), (100, 16381), (100, 131071)])
def test_few_slots_move_besides_those_that_must(count: int, size: int) -> None:
    found = members(count)
    before = maglev.table(found, size, SEED)
    for trial in range(3):
        gone = set(np.random.default_rng(trial).choice(count, count // 100, replace=False).tolist())
        kept = [at for at in range(count) if at not in gone]
        after = np.array(kept)[maglev.table([found[at] for at in kept], size, SEED)]
        must = np.isin(before, list(gone))
        assert ((before != after) & ~must).mean() <= 0.005


def test_loads_are_at_most_a_little_more_than_the_share() -> None:
    held = np.bincount(maglev.table(members(1000), 65537, SEED), minlength=1000)
    assert held.max() <= math.ceil(maglev.MOST_LOAD * 65537 / 1000)
    assert held.min() > 0.6 * 65537 / 1000
    assert held.std() < 0.09 * 65537 / 1000


def test_weights_are_kept() -> None:
    found = [(place, weight) for (place, _), weight in zip(members(4), (1, 2, 10, 100), strict=True)]
    held = np.bincount(maglev.table(found, 131071, SEED), minlength=4)
    assert np.allclose(held / 131071, np.array([1, 2, 10, 100]) / 113, rtol=0.1)


def test_every_node_has_the_same_table_and_a_seed_makes_another() -> None:
    found = members(20)
    first = maglev.table(found, 2039, SEED)
    turned = maglev.table(found[::-1], 2039, SEED)
    assert (first == 19 - turned).all()
    other = maglev.table(found, 2039, seed_of("AAAAAAAAAAAAAAAA"))
    assert (first != other).mean() > 0.8


def test_sizes_and_seeds_that_cannot_be() -> None:
    assert all(all(size % one for one in range(2, math.isqrt(size) + 1)) for size in TABLE_SIZES)
    with pytest.raises(UsageError, match="12 bytes"):
        seed_of("short")
    with pytest.raises(UsageError, match="maglevTableSize: 1000 is not allowed"):
        ServiceSettings(table_size=1000)
    assert ServiceSettings.from_mapping({"mode": "hybrid", "maglevTableSize": 251}).mode == "hybrid"
    for key, value in (("mode", "fast"), ("topology", 1), ("hashSeed", "x"), ("speed", 1)):
        with pytest.raises(UsageError, match=rf"services\.{key}: "):
            ServiceSettings.from_mapping({key: value})

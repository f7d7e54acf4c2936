"""Scaling in the middle of a rollout."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshive.kube.objects import Object
from glasshive.operator.proportion import scaled
from glasshive.operator.rollout import DESIRED, MAXIMUM


def deployment(replicas: int, surge: int = 0, **more: object) -> Object:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": 1}}
    return {"metadata": {"name": "web"}, "spec": {"replicas": replicas, "strategy": strategy, **more}}


def replica_set(name: str, size: int, desired: int, most: int) -> Object:
    notes = {DESIRED: str(desired), MAXIMUM: str(most)}
    return {"metadata": {"name": name, "annotations": notes}, "spec": {"replicas": size}}


@pytest.mark.parametrize(
    ("replicas", "surge", "sizes", "before", "after"),
    [
        (20, 0, (8, 2), 10, {"s0": 16, "s1": 4}),
        (5, 0, (8, 2), 10, {"s0": 4, "s1": 1}),
        (15, 3, (8, 5), 10, {"s0": 11, "s1": 7}),
        (0, 0, (8, 2), 10, {"s0": 0, "s1": 0}),
        (11, 0, (5, 5), 10, {"s0": 6, "s1": 5}),
        (10, 0, (8, 2), 10, None),
        (20, 0, (10, 0), 10, None),
    ],
)
def test_shares(replicas: int, surge: int, sizes: tuple[int, ...], before: int, after: dict[str, int] | None) -> None:
    sets = [replica_set(f"s{i}", size, before, before + surge) for i, size in enumerate(sizes)]
    assert scaled(deployment(replicas, surge), sets) == after


def test_recreate_shares_nothing() -> None:
    wish = deployment(20, strategy={"type": "Recreate"})
    assert scaled(wish, [replica_set("a", 5, 10, 10), replica_set("b", 5, 10, 10)]) is None


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.integers(0, 80), st.integers(0, 5))
def test_the_sum_is_exact_and_nobody_moves_the_wrong_way(sizes: list[int], replicas: int, surge: int) -> None:
    total = sum(sizes)
    sets = [replica_set(f"s{i}", size, total + 1000, total) for i, size in enumerate(sizes)]
    result = scaled(deployment(replicas, surge), sets)
    assert result is not None
    most = replicas + surge if replicas else 0
    assert sum(result.values()) == most
    for i, size in enumerate(sizes):
        assert result[f"s{i}"] >= 0
        assert (result[f"s{i}"] - size) * (most - total) >= 0

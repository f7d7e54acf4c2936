"""The benchmark arithmetic: rounds, ratios and goals."""

from __future__ import annotations

import pytest

from glasshive.bench.measure import Result, Sample, Series, compare, interleave


def test_every_contender_runs_once_a_round_and_the_order_turns():
    order: list[str] = []

    def contender(name: str, value: float):
        def run() -> Sample:
            order.append(name)
            return Sample(value)

        return run

    series = interleave({"a": contender("a", 1), "b": contender("b", 2), "c": contender("c", 3)}, 3)
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert [len(s.samples) for s in series] == [3, 3, 3]


def test_ratio_is_above_one_when_ours_is_better():
    ours = Series("ours", [Sample(10, 1, 10), Sample(30, 1, 30)])
    peer = Series("peer", [Sample(10, 2, 10), Sample(20, 2, 20)])
    ratio = compare(ours, peer, goal=1.4)
    assert ratio.best == pytest.approx(1.5)
    assert ratio.median == pytest.approx(1.25)
    assert ratio.per_cpu == pytest.approx(2.5)
    assert ratio.reached is True
    assert compare(ours, peer, goal=1.3, goal_on="median").reached is False


def test_lower_is_better_turns_the_ratio():
    ours = Series("ours", [Sample(1.0), Sample(2.0)], lower_is_better=True)
    peer = Series("peer", [Sample(3.0), Sample(4.0)], lower_is_better=True)
    assert compare(ours, peer).best == pytest.approx(3.0)
    assert compare(ours, peer).median == pytest.approx(2.5)


def test_contenders_with_different_rounds_cannot_be_compared():
    with pytest.raises(ValueError, match="zip"):
        compare(Series("a", [Sample(1)]), Series("b", [Sample(1), Sample(2)]))


def test_result_is_plain_data():
    series = [Series("ours", [Sample(2, 1, 4)])]
    data = Result("t", "u", series, [compare(series[0], series[0])], {"k": 1}).to_json()
    assert data["series"][0]["best_per_cpu_second"] == 4
    assert data["ratios"][0]["reached"] is None

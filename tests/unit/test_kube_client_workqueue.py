"""The work queue: one worker per key at a time, nothing lost, failures come back later."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane import eventually
from glasshive.errors import ApiError
from glasshive.kube.backoff import Backoff
from glasshive.kube.workqueue import WorkQueue


def test_a_key_added_while_busy_runs_again_and_never_twice_at_once() -> None:
    async def run() -> None:
        busy: Counter[str] = Counter()
        runs: Counter[str] = Counter()

        async def reconcile(key: str) -> None:
            busy[key] += 1
            assert busy[key] == 1
            runs[key] += 1
            await asyncio.sleep(0.02)
            busy[key] -= 1

        queue: WorkQueue[str] = WorkQueue("test", reconcile, workers=8)
        queue.start()
        for _ in range(5):
            queue.add("a")
            queue.add("b")
            await asyncio.sleep(0.005)
        await eventually(lambda: queue.idle)
        await queue.stop()
        assert 2 <= runs["a"] <= 5

    asyncio.run(run())


def test_failures_are_retried_with_growing_waits_and_then_forgotten() -> None:
    async def run() -> None:
        times: list[float] = []

        async def reconcile(_key: str) -> None:
            times.append(time.monotonic())
            if len(times) < 5:
                raise ApiError(409, "Conflict", "again")

        queue: WorkQueue[str] = WorkQueue("test", reconcile, first_delay=0.02, longest_delay=1)
        queue.add("a")
        queue.start()
        await eventually(lambda: len(times) == 5)
        await queue.stop()
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert gaps[3] > gaps[0]
        assert gaps[3] >= 0.08

    asyncio.run(run())


def test_an_unexpected_error_is_logged_and_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        done: list[str] = []

        async def reconcile(key: str) -> None:
            if key == "bad":
                raise ZeroDivisionError
            done.append(key)

        queue: WorkQueue[str] = WorkQueue("test", reconcile, workers=1)
        for key in ("bad", "good"):
            queue.add(key)
        queue.start()
        await eventually(lambda: done == ["good"])
        await queue.stop()

    asyncio.run(run())
    assert "ZeroDivisionError" in caplog.text


def test_the_wanted_wait_and_the_earliest_timer_count() -> None:
    async def run() -> None:
        runs: list[float] = []
        start = time.monotonic()

        async def reconcile(_key: str) -> float | None:
            runs.append(time.monotonic() - start)
            return 0.05 if len(runs) == 1 else None

        queue: WorkQueue[str] = WorkQueue("test", reconcile)
        queue.start()
        queue.add_after("a", 5)
        queue.add_after("a", 0.01)
        queue.add_after("a", 3)
        await eventually(lambda: len(runs) == 2, 2)
        await queue.stop()
        assert runs[0] < 0.5
        assert 0.05 <= runs[1] - runs[0] < 1

    asyncio.run(run())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 4))
def test_the_last_add_is_always_followed_by_a_run(keys: list[int], workers: int) -> None:
    async def run() -> None:
        wanted: Counter[int] = Counter()
        seen: Counter[int] = Counter()

        async def reconcile(key: int) -> None:
            value = wanted[key]
            await asyncio.sleep(0)
            seen[key] = value

        queue: WorkQueue[int] = WorkQueue("test", reconcile, workers=workers)
        queue.start()
        for i, key in enumerate(keys):
            wanted[key] += 1
            queue.add(key)
            if i % 3 == 0:
                await asyncio.sleep(0)
        await eventually(lambda: queue.idle)
        await queue.stop()
        assert seen == wanted

    asyncio.run(run())


def test_backoff_grows_to_its_limit_with_jitter() -> None:
    backoff = Backoff(0.1, 2.0)
    waits = [backoff.next() for _ in range(60)]
    assert 0.05 <= waits[0] <= 0.1
    assert all(1.0 <= w <= 2.0 for w in waits[6:])
    assert len(set(waits[6:])) > 1
    backoff.reset()
    assert backoff.next() <= 0.1

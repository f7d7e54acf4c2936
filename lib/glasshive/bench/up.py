"""`bench up`: from the shell prompt to ready pods. What is timed is the command that people type."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable

from glasshive.bench.clusters import command, deployment, manifest
from glasshive.bench.measure import Result, Sample, Series
from glasshive.errors import ProcessError

GOAL_SECONDS = 2.0


def once(name: str, nodes: int, pods: int) -> tuple[float, float, float]:
    """One cluster from nothing to nothing: seconds from prompt to ready pods, of down, and of CPU up to ready pods."""
    with manifest([deployment("bench", pods)]) as file:
        began = time.monotonic()
        try:
            command("up", name, "--nodes", str(nodes), "--apply", file, "--timeout", "280")
        except BaseException:
            with contextlib.suppress(ProcessError):  # why it did not come up is what counts; then there is nothing left
                command("down", name)
            raise
        ready = time.monotonic()
        cpu = json.loads(command("status", "--cluster", name, "-o", "json"))["cpu_seconds"]
        down = time.monotonic()
        command("down", name)
    return ready - began, time.monotonic() - down, float(cpu)


def measure(nodes: int, pods: int, rounds: int, progress: Callable[[int, int], None] | None) -> Result:
    """``rounds`` clusters one after the other."""
    series = [Series(name, lower_is_better=True) for name in ("up, pods ready", "down")]
    cpu = []
    for turn in range(rounds):
        up, down, used = once(f"bench-up-{os.getpid()}", nodes, pods)
        series[0].samples.append(Sample(up))
        series[1].samples.append(Sample(down))
        cpu.append(used)
        if progress:
            progress(turn + 1, rounds)
    result = Result(f"up: {nodes} nodes and {pods:,} ready pods, from the shell prompt and back", "s", series)
    result.facts["CPU seconds of the cluster's processes until then (least)"] = min(cpu)
    return result


def bench(*, rounds: int, quick: bool, progress: Callable[[int, int], None] | None = None) -> list[Result]:
    """Three nodes and ten pods, ``rounds`` times; then, unless quick, 100 nodes with 10 pods each, once."""
    small = measure(3, 10, rounds, progress)
    small.facts["goal: pods ready in at most 2 s"] = (
        "reached" if small.series[0].best <= GOAL_SECONDS else "NOT reached"
    )
    return [small] if quick else [small, measure(100, 1000, 1, None)]

"""Running a whole connectivity test: stage, probes side by side, report."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from types import FrameType

from glasshive.cluster import Cluster
from glasshive.connectivity.judge import judge, rows_of
from glasshive.connectivity.scenarios import plan
from glasshive.connectivity.stage import Stage
from glasshive.connectivity.values import Check, Path, Report, Row
from glasshive.errors import UsageError
from glasshive.model.check_result import Verdict

AT_ONCE = 4


@dataclass(frozen=True)
class Step:
    """Progress: ``done`` of ``total`` groups of probes; ``failed`` checks so far."""

    text: str
    done: int
    total: int
    failed: int


Follow = Callable[[Step], None]


def examine(
    cluster: Cluster, *, only: Sequence[str] = (), at_once: int = AT_ONCE, follow: Follow = lambda _: None
) -> Report:
    """Test a running cluster. ``only`` are patterns of test names such as ``pod-to-*`` or ``*/ipv6``.

    Raises UsageError if no test has such a name; a stage that cannot be set up is a ClusterError or DeadlineError.
    """
    started = time.monotonic()
    with _terminable():
        follow(Step("bringing pods and responders into place", 0, 0, 0))
        with Stage(cluster) as stage:
            rows = play(stage, only=only, at_once=at_once, follow=follow)
            follow(Step("removing pods and responders", 1, 1, sum(row.verdict is Verdict.FAIL for row in rows)))
        return Report(cluster.name, stage.namespace, tuple(rows), time.monotonic() - started)


def play(
    stage: Stage, *, only: Sequence[str] = (), at_once: int = AT_ONCE, follow: Follow = lambda _: None
) -> list[Row]:
    """Run the checks between the places of a stage."""
    made = plan(stage.places, stage.facts)
    order = [name for name in made.order if _wanted(name, only)]
    missing = {name: why for name, why in made.missing.items() if _wanted(name, only)}
    if not order and not missing:
        known = ", ".join(dict.fromkeys(map(_scenario, made.order)))
        raise UsageError(f"no test is called {', '.join(only)}", hint=f"tests are: {known}")
    rounds = [(None, made.checks), (None, made.later), *((one, one.checks) for one in made.rounds)]
    todo = [(one, _groups(c for c in checks if c.test in order)) for one, checks in rounds]
    paths: list[Path] = []
    total, done = sum(len(groups) for _, groups in todo), 0
    for policies, groups in todo:
        if not groups:
            continue
        with stage.under(policies), _pool(at_once) as pool:
            for future in as_completed([pool.submit(_probe, stage, group) for group in groups]):
                group_paths = future.result()
                paths += group_paths
                done += 1
                text = f"{_scenario(group_paths[0].test)} from {group_paths[0].source}"
                follow(Step(text, done, total, sum(bool(p.problem) for p in paths)))
    return rows_of(paths, order) + [Row(name, Verdict.SKIPPED, why) for name, why in missing.items()]


@contextmanager
def _pool(at_once: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="connectivity")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _wanted(name: str, only: Sequence[str]) -> bool:
    return not only or any(fnmatch(name, pattern) or fnmatch(name, pattern + "/*") for pattern in only)


def _scenario(test_name: str) -> str:
    """Return a test's name without kind and family."""
    return "/".join(test_name.split("/")[:-2])


def _groups(checks: Iterable[Check]) -> list[list[Check]]:
    """Return checks by source and scenario: each group is one run of the prober."""
    groups: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        groups.setdefault((check.source.name, _scenario(check.test)), []).append(check)
    return list(groups.values())


def _probe(stage: Stage, group: list[Check]) -> list[Path]:
    answers = stage.probe(group[0].source, [check.probe for check in group])
    return [judge(check, answer) for check, answer in zip(group, answers, strict=True)]


@contextmanager
def _terminable() -> Iterator[None]:
    """Make SIGTERM an exception, so that what was set up is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

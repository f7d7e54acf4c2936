"""Running checks: parents first, asked again until right or the time is over, each in a thread that can be given up.

A check is asked again while its state may still become right. It is given up early when the same wrong state has been
seen for as long as the result says (``settles_s``): a learner who did nothing need not wait ten seconds to be told so.
Checks that need nothing of each other are made side by side.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from glasshive.errors import GlasshiveError
from glasshive.lab.grading.reader import ClusterReader
from glasshive.lab.grading.score import Graded, TaskResult, void_or_not
from glasshive.lab.task import LONGEST_SECONDS, Check, Given, Look, Task
from glasshive.model.check_result import CheckResult, Verdict

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 0.4
_RETRY_PAUSE_S = 0.3

Ask = Callable[[], CheckResult]


def grade(
    reader: ClusterReader,
    task: Task,
    seed: int,
    *,
    parents: Mapping[str, TaskResult] | None = None,
    begun: bool = True,
    within_s: float | None = None,
) -> TaskResult:
    """Grade one task. ``parents``: results of the tasks it comes after. ``within_s``: wait no longer than this."""
    blocked = _blocked(task, parents or {}, begun=begun)
    given = task.given(seed)
    results: dict[str, tuple[CheckResult, float]] = {}

    def one(check: Check) -> tuple[CheckResult, float]:
        unmet = [task.check(name).title for name in check.needs if not results[name][0]]
        if blocked or unmet:
            reason = blocked or f"not assessed, because this is not so yet: {', '.join(unmet)}"
            return CheckResult(check.id, Verdict.SKIPPED, reason), 0.0
        began = time.monotonic()
        return examine(reader, check, given, within_s), time.monotonic() - began

    with ThreadPoolExecutor(max_workers=len(task.checks)) as pool:
        while waiting := [check for check in task.checks if check.id not in results]:
            now = [check for check in waiting if all(name in results for name in check.needs)]
            results |= zip((check.id for check in now), pool.map(one, now), strict=True)
    void = void_or_not([(one.id, one.needs, results[one.id][0].verdict) for one in task.checks])
    graded = [Graded(one.id, one.title, one.weight, results[one.id][0], void[one.id], results[one.id][1])
              for one in task.checks]  # fmt: skip
    return TaskResult(task.id, task.title, task.points, tuple(graded))


def _blocked(task: Task, parents: Mapping[str, TaskResult], *, begun: bool) -> str:
    """Why none of a task's checks can be made, '' if they can."""
    open_tasks = [parents[name].title for name in task.after if name in parents and not parents[name]]
    if open_tasks:
        return f"not assessed, because this task is not done yet: {', '.join(open_tasks)}"
    if task.setup is not None and not begun:
        return f'not assessed, because the task was not begun: lab.task("{task.id}")'
    return ""


def examine(reader: ClusterReader, check: Check, given: Given, within_s: float | None = None) -> CheckResult:
    """Make one check; an error or a time-out is tried once more, then it stands."""
    patience = check.within_s if within_s is None else min(within_s, LONGEST_SECONDS)
    result = CheckResult(check.id, Verdict.ERROR, "not looked at")
    for attempt in range(2):
        if attempt:
            time.sleep(_RETRY_PAUSE_S)
        result = within(lambda: poll(lambda: check.look(reader, given), patience), LONGEST_SECONDS)
        if result.verdict not in (Verdict.ERROR, Verdict.TIMEOUT):
            break
    return replace(result, name=check.id)


def look(reader: ClusterReader, wanted: Look, given: Given, within_s: float) -> CheckResult:
    """Make a look that is no check, such as a task's ``ready``."""
    return within(lambda: poll(lambda: wanted(reader, given), within_s), LONGEST_SECONDS)


def poll(ask: Ask, within_s: float) -> CheckResult:
    """Ask until the answer is right, the time is over, or it is wrong for good."""
    began = time.monotonic()
    deadline, pause = began + within_s, _FIRST_PAUSE_S
    seen, since = "", began
    while True:
        asked = time.monotonic()
        result = ask()
        now = time.monotonic()
        if result.observed != seen:
            seen, since = result.observed, asked
        settled = now - since >= result.settles_s
        if result.verdict is not Verdict.FAIL or settled or now >= deadline:
            return result
        time.sleep(min(pause, max(0.0, deadline - now)))
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)


def within(ask: Ask, most_s: float) -> CheckResult:
    """Run ``ask`` in a thread: its answer, an error if it raises, a time-out if it has not ended after ``most_s``.

    A thread cannot be ended: what hangs is left behind (every call below has a time limit of its own).
    """
    answers: list[CheckResult] = []

    def run() -> None:
        try:
            answers.append(ask())
        except GlasshiveError as trouble:
            answers.append(CheckResult("", Verdict.ERROR, str(trouble), why="the check itself could not look"))
        except Exception as trouble:  # noqa: BLE001 - a defect of a check is told as one, and voids it
            told = f"{type(trouble).__name__}: {trouble}"
            answers.append(CheckResult("", Verdict.ERROR, told, why="the check has a defect: please report it"))

    thread = threading.Thread(target=run, name="check", daemon=True)
    thread.start()
    thread.join(most_s)
    if answers:
        return answers[0]
    return CheckResult("", Verdict.TIMEOUT, f"the check did not end within {most_s:g} s")


def in_order(tasks: Sequence[Task], wanted: Sequence[str]) -> list[Task]:
    """The wanted tasks with all that come before them, in the lab's order."""
    known = {one.id: one for one in tasks}
    needed: set[str] = set()

    def add(name: str) -> None:
        if name not in needed:
            needed.add(name)
            for before in known[name].after:
                add(before)

    for name in wanted:
        add(name)
    return [one for one in tasks if one.id in needed]

"""How tasks stand right now, the text twin of the progress panel: green when right, red again when it breaks.

``look`` asks the graders once; ``changes`` compares two looks. What was reached before comes from the progress file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from glasshive.cluster import Cluster
from glasshive.cluster.embedded.paths import cluster_names
from glasshive.errors import ApiError, GlasshiveError, NotFoundError, UsageError
from glasshive.lab import clusters
from glasshive.lab.grading import marks
from glasshive.lab.grading.client import GraderClient
from glasshive.lab.grading.score import TaskResult
from glasshive.lab.manifest import LabEntry
from glasshive.lab.progress import store
from glasshive.lab.progress.standing import Standing, standings
from glasshive.lab.tasks import tasks_of

PACE_SECONDS = 2.0
_COLOURS = {"pass": "green", "fail": "red", "error": "grey", "skipped": "grey", "timeout": "grey"}


@dataclass(frozen=True)
class TaskStatus:
    """One task: its result if its lab is open on the cluster, and what was reached before."""

    lab: str
    task: str
    title: str
    points: int
    seed: int
    result: TaskResult | None
    standing: Standing
    problem: str = ""

    @property
    def light(self) -> str:
        """``green``, ``red``, ``grey`` (cannot be told now) or ``off`` (the lab is not open)."""
        if self.problem:
            return "grey"
        return "off" if self.result is None else _COLOURS[self.result.verdict.value]

    @property
    def now(self) -> str:
        """What holds it up, in a few words."""
        if self.problem:
            return self.problem
        if self.result is None:
            return "not open"
        trouble = self.result.first_trouble()
        return "done" if trouble is None else f"{trouble.title}: {trouble.result.observed}"


def look_everywhere(base: str, entries: Sequence[LabEntry]) -> list[TaskStatus]:
    """The same for labs on whichever cluster each is worked on. NotFoundError if none of these is up."""
    up = {name for entry in entries if (name := clusters.name_of(entry, base)) in cluster_names()}
    if not up:
        raise NotFoundError(f"cluster {base!r} is not up", hint="open a lab's notebook: its first cell brings it up")
    return [
        one
        for entry in entries
        for one in look(clusters.find(entry, base) if clusters.name_of(entry, base) in up else None, [entry])
    ]


def look(cluster: Cluster | None, entries: Sequence[LabEntry]) -> list[TaskStatus]:
    """Ask for every task of these labs that is open on the cluster. Nothing is waited for."""
    kept = store.current()
    past = {(one.lab, one.task, one.seed): one for one in standings(kept.events())} if kept is not None else {}
    found = []
    for entry in entries:
        tasks = tasks_of(entry.topic)
        seed = _seed(cluster, entry)
        results: dict[str, TaskResult] = {}
        problem = ""
        if cluster is not None and seed is not None and tasks:
            try:
                results = {one.task: one for one in GraderClient(cluster, entry).check(within_s=0.0).tasks}
            except GlasshiveError as trouble:
                problem = str(trouble)
        for task in tasks:
            key = entry.id, task.id, seed or 0
            standing = past.get(key, Standing(*key))
            found.append(
                TaskStatus(
                    entry.id, task.id, task.title, task.points, seed or 0, results.get(task.id), standing, problem
                )
            )
    return found


def _seed(cluster: Cluster | None, entry: LabEntry) -> int | None:
    """The seed of a lab that is open on the cluster, None if it is not."""
    if cluster is None:
        return None
    try:
        namespace = cluster.get("namespace", f"lab-{entry.id}", None)
    except ApiError as error:
        if error.code != 404:
            raise
        return None
    return marks.seed_of(namespace)


def changes(before: Sequence[TaskStatus], after: Sequence[TaskStatus]) -> list[str]:
    """What to say when a light changed, or what holds a task up: one line each."""
    known = {(one.lab, one.task): one for one in before}
    lines = []
    for one in after:
        old = known.get((one.lab, one.task))
        if old is None or (old.light, old.now) != (one.light, one.now):
            again = " again" if old and old.light == "green" and one.light == "red" else ""
            lines.append(f"{one.light}{again}: lab {one.lab} {one.title}: {one.now}")
    return lines


def watch(
    ask: Callable[[], list[TaskStatus]],
    *,
    pace_s: float = PACE_SECONDS,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[list[str]]:
    """Lines to say, as long as somebody asks for more; a look that says nothing new gives an empty list."""
    if pace_s < 0.2:
        raise UsageError(f"a look every {pace_s:g} s is too often", hint="0.2 at least")
    before: list[TaskStatus] = []
    while True:
        after = ask()
        yield changes(before, after)
        before = after
        pause(pace_s)

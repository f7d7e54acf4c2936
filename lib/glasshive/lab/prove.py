"""The matrix: every task held to its word, on a real cluster, for several seeds.

Pristine scores exactly 0; every solution 100; every mutant stays below the cut and fails the check that is meant to
catch it; grading twice gives the same; setting up twice changes nothing; a reset leaves nothing behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from glasshive.cluster import Cluster
from glasshive.errors import GlasshiveError
from glasshive.lab import pristine
from glasshive.lab.grading.desk import Desk
from glasshive.lab.grading.reader import ClusterReader
from glasshive.lab.grading.score import TaskResult
from glasshive.lab.kit import Lab
from glasshive.lab.kit.diary import Diary
from glasshive.lab.kit.work import Asked
from glasshive.lab.manifest import LabEntry
from glasshive.lab.task import CUT, Act, Mutant, Task
from glasshive.lab.tasks import task_of, tasks_of
from glasshive.model.check_result import Verdict

RESET_SECONDS = 10.0
_LOOK_S = 0.1


@dataclass(frozen=True)
class Case:
    """One cell of the matrix. ``trouble`` is '' when the task kept its word."""

    lab: str
    task: str
    seed: int
    name: str
    trouble: str
    seconds: float

    def __str__(self) -> str:
        told = self.trouble or "as it should be"
        return f"lab {self.lab} {self.task} seed {self.seed} {self.name}: {told} ({self.seconds:.1f} s)"

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


Part = tuple[int, int]
"""``(k, n)``: of each task's solutions and of its mutants every n-th, beginning with the k-th (from 0)."""
WHOLE: Part = (0, 1)


def prove(
    cluster: Cluster, entry: LabEntry, seeds: Iterable[int], *, desk: Asked | None = None, part: Part = WHOLE
) -> Iterator[Case]:
    """Work the matrix of one lab through; the cluster is left as it was found.

    ``desk``: who grades. In this process if nobody is named: what is graded is the author's own work.
    """
    grading = desk or Desk(cluster, entry)
    for seed in seeds:
        for task in tasks_of(entry.topic):
            yield from _Prover(cluster, entry, task, seed, grading).cases(part)


class _Prover:
    """One task with one seed."""

    def __init__(self, cluster: Cluster, entry: LabEntry, task: Task, seed: int, desk: Asked) -> None:
        self.cluster, self.entry, self.task, self.seed, self.desk = cluster, entry, task, seed, desk
        self.given = task.given(seed)
        self.reader = ClusterReader(cluster, f"lab-{entry.id}")
        self.empty: pristine.Inventory = {}

    def cases(self, part: Part) -> Iterator[Case]:
        """The cells of this task and seed, each from a state of its own; the last one looks at what the resets left."""
        first, step = part
        self._open(None).reset()
        self.empty = pristine.inventory(self.reader)
        yield self._case("pristine", self._pristine)
        for act in self.task.solutions[first::step]:
            yield self._case(f"solution {act.__name__}", partial(self._solved, act))
        for mutant in self.task.mutants[first::step]:
            yield self._case(f"mutant {mutant.name}", partial(self._caught, mutant))
        began = time.monotonic()
        left = self._left()
        trouble = f"resets leave behind: {'; '.join(left[:3])}" if left else ""
        yield Case(self.entry.id, self.task.id, self.seed, "reset", trouble, time.monotonic() - began)

    def _case(self, name: str, work: Callable[[Lab], str]) -> Case:
        began = time.monotonic()
        lab = self._open(self.seed)
        try:
            trouble = self._begin(lab) or work(lab)
        except GlasshiveError as failure:
            trouble = f"{type(failure).__name__}: {failure}"
        finally:
            lab.reset()
        return Case(self.entry.id, self.task.id, self.seed, name, trouble, time.monotonic() - began)

    def _open(self, seed: int | None) -> Lab:
        lab = Lab.on(self.cluster, self.entry, seed, self.desk)
        lab.diary = Diary(self.entry.id, lab.seed, keep=False)  # nobody learns here
        return lab

    def _begin(self, lab: Lab) -> str:
        """Solve what comes before, then begin; says what is wrong with that."""
        for name in self.task.after:
            before = task_of(self.entry.topic, name)
            lab.task(name)
            before.solutions[0](lab, before.given(self.seed))
            if not lab.check(name):
                return f"task {name}, which comes before, is not solved by its first solution"
        lab.task(self.task.id)
        return ""

    def _grade(self, lab: Lab) -> TaskResult:
        return lab.check(self.task.id).tasks[0]

    def _pristine(self, lab: Lab) -> str:
        result = self._grade(lab)
        if result.score != 0 or result.void:
            return f"pristine scores {_said(result)}, not exactly 0"
        if self.task.setup is not None:
            before = pristine.inventory(self.reader)
            self.task.setup(lab, self.given)
            changed = pristine.differences(before, pristine.inventory(self.reader))
            if changed:
                return f"setting up twice changes something: {'; '.join(changed[:3])}"
        return ""

    def _solved(self, act: Act, lab: Lab) -> str:
        act(lab, self.given)
        first, second = self._grade(lab), self._grade(lab)
        if first.score != 100 or first.verdict is not Verdict.PASS:
            return f"scores {_said(first)}, not 100"
        return "" if _verdicts(first) == _verdicts(second) else f"graded twice: {_said(first)}, then {_said(second)}"

    def _caught(self, mutant: Mutant, lab: Lab) -> str:
        mutant.act(lab, self.given)
        first = self._grade(lab)
        caught = first.of(mutant.caught_by).result
        if first.score is None or first.score >= CUT:
            return f"scores {_said(first)}, not below {CUT}"
        if caught.verdict is not Verdict.FAIL:
            return f"check {mutant.caught_by} says {caught.verdict}: {caught.observed}"
        if mutant is not self.task.mutants[0]:
            return ""  # what is wrong takes longest to look at, and one of them is enough to be graded twice
        second = self._grade(lab)
        return "" if _verdicts(first) == _verdicts(second) else f"graded twice: {_said(first)}, then {_said(second)}"

    def _left(self) -> list[str]:
        """What a reset has left behind, once the cluster has come to rest."""
        deadline = time.monotonic() + RESET_SECONDS
        while True:
            left = pristine.differences(self.empty, pristine.inventory(self.reader))
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(_LOOK_S)


def _verdicts(result: TaskResult) -> list[tuple[str, Verdict]]:
    return [(one.check, one.result.verdict) for one in result.checks]


def _said(result: TaskResult) -> str:
    wrong = [f"{one.check} {one.result.verdict}: {one.result.observed}" for one in result.checks if not one.result]
    score = "nothing" if result.score is None else f"{result.score:g}"
    return f"{score} ({'; '.join(wrong) or 'all pass'})"

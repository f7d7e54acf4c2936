"""A lab's graded work: begin a task, check it, ask for a hint, see how others did it; and predictions before cells."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from glasshive.errors import ClusterError, UsageError
from glasshive.lab.grading import marks
from glasshive.lab.kit.kernel import Kernel
from glasshive.lab.shown import Shown
from glasshive.lab.task import Task
from glasshive.lab.tasks import task_of

if TYPE_CHECKING:
    from glasshive.lab.grading.desk import Desk
    from glasshive.lab.kit.lab import Lab
    from glasshive.widgets import Question

TIERS = 3


class Begun(Mapping[str, Any]):
    """A task that was begun: shows what to do; ``task["pod"]`` gives what the seed decided."""

    def __init__(self, task: Task, given: Mapping[str, Any]) -> None:
        self.task = task
        self._given = dict(given)

    def __getitem__(self, name: str) -> Any:
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def __repr__(self) -> str:
        told = textwrap.fill(self.task.text.format(**self._given), 90, initial_indent="  ", subsequent_indent="  ")
        checks = [f"  - {one.title} ({one.weight} %)" for one in self.task.checks]
        return "\n".join([f"task {self.task.id}: {self.task.title} ({self.task.points} points)", told, *checks])


class Work(Kernel):
    """The part of a lab that is graded. What counts is the state that the cluster is in, whoever made it so."""

    _desk: Desk

    def task(self, name: str) -> Begun:
        """Begin a task: make what it starts from, verify that it is there, say what to do. May be run again."""
        task = task_of(self.entry.topic, name)
        given = task.given(self.seed)
        namespace = self.cluster.get("namespace", self.namespace, None)
        begun = marks.begun_in(namespace)
        if task.setup is not None and name not in begun:
            task.setup(cast("Lab", self), given)
            found = self._desk.ready(name)
            if not found:
                what = f"task {name!r} could not be set up: {found.observed}"
                raise ClusterError(what, hint=f"wanted: {found.wanted}; lab.reset() begins anew")
        if name not in begun:
            self.cluster.apply(marks.namespace_object(self.namespace, self.seed, {*begun, name}))
        return Begun(task, given)

    def check(self, *names: str, within_s: float | None = None) -> Shown:
        """Look at the real state, for the tasks named or for all; says what was seen and what was wanted.

        A state that is on its way is waited for, ``within_s`` seconds at most (each check knows how long).
        """
        result = self._desk.check(names, within_s=within_s)
        trouble = next((one for one in result.tasks if not one), None)
        return Shown(result.tasks, next_step=f'lab.hint("{trouble.task}")' if trouble else "")

    def hint(self, name: str, tier: int = 0) -> str:
        """Give a hint for what is wrong right now; each further call says more (``tier`` 1 to 3 picks one)."""
        if tier not in range(TIERS + 1):
            raise UsageError(f"there is no hint {tier}", hint=f"1 to {TIERS}")
        task = task_of(self.entry.topic, name)
        result = self._desk.check([name], within_s=0.0).of(name)
        trouble = result.first_trouble()
        if trouble is None:
            return f"{task.title}: done, no hint is needed"
        picked = [one for one in task.hints if one.check == trouble.check and one.state == trouble.result.state]
        picked += [one for one in task.hints if one.check == trouble.check and not one.state]
        if not picked:
            return f"{trouble.title}: {trouble.result.observed}"
        text = picked[0].tiers[(tier or 1) - 1].format(**task.given(self.seed))
        return f"hint {tier or 1} of {TIERS}, {trouble.title}: {text}"

    def solution(self, name: str) -> str:
        """Show how the authors solve a task, once it is solved here."""
        task = task_of(self.entry.topic, name)
        if not self._desk.check([name], within_s=0.0).of(name):
            return f'{task.title} is not done yet: lab.check("{name}") says what is missing, lab.hint("{name}") helps'
        return "\n\n".join(textwrap.dedent(inspect.getsource(act)).rstrip() for act in task.solutions)

    def predict(self, question: str, *options: str) -> Question:
        """Ask for a prediction before a cell is run."""
        from glasshive.widgets import Question

        if len(options) < 2:
            raise UsageError("a prediction needs at least two options")
        view = Question(question, options)
        self._views.append(view)
        return view

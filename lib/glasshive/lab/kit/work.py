"""A lab's graded work: begin a task, check it, ask for a hint, see how others did it; and predictions before cells."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from glasshive.errors import ClusterError, UsageError
from glasshive.lab import glossary
from glasshive.lab.explain import explain
from glasshive.lab.grading import marks
from glasshive.lab.kit.diary import Diary
from glasshive.lab.kit.kernel import Kernel
from glasshive.lab.shown import Shown
from glasshive.lab.task import Act, Hint, Task
from glasshive.lab.tasks import task_of, tasks_of

if TYPE_CHECKING:
    from glasshive.lab.grading.score import Graded, LabResult
    from glasshive.lab.kit.lab import Lab
    from glasshive.model.check_result import CheckResult
    from glasshive.widgets import Panel, Question

TIERS = 3


class Asked(Protocol):
    """Who grades: the grader's process (``GraderClient``), or a desk in this one (``Desk``)."""

    def check(self, wanted: Sequence[str] = (), *, within_s: float | None = None) -> LabResult:
        """Grade the tasks named, or all."""

    def ready(self, wanted: str) -> CheckResult:
        """Whether what a task starts from is really there."""


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

    _desk: Asked
    diary: Diary
    most_hints: int = TIERS

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
            self.diary.begun(name)
        return Begun(task, given)

    def check(self, *names: str, within_s: float | None = None) -> Shown:
        """Look at the real state, for the tasks named or for all; says what was seen and what was wanted.

        A state that is on its way is waited for, ``within_s`` seconds at most (each check knows how long).
        """
        result = self._desk.check(names, within_s=within_s)
        notes = [note for one in result.tasks if (note := self.diary.attempt(one))]
        trouble = next((one for one in result.tasks if not one), None)
        return Shown(result.tasks, next_step=f'lab.hint("{trouble.task}")' if trouble else "", notes=notes)

    def panel(self) -> Panel:
        """Show how the tasks stand, watched all the time: green when the real state is right, red when it breaks.

        It lives outside this kernel: while a cell runs, and after a restart. ``lab.reset()`` ends it.
        """
        from glasshive.lab.panel import board, client
        from glasshive.widgets import Panel

        tasks = tasks_of(self.entry.topic)
        if not tasks:
            raise UsageError(f"lab {self.entry.id} has no tasks to watch")
        server = client.start(self.cluster.name, self.entry.id)
        twin = f"glasshive lab status {self.entry.id} --watch"
        shown = board.empty(self.entry.id, self.entry.title, tasks)
        view = Panel(shown, url=server.url, token=server.token, twin=twin)
        self._views += [view, server]
        return view

    def hint(self, name: str, tier: int = 0) -> str:
        """Give a hint for what is wrong right now; each further call says more (``tier`` 1 to 3 picks one)."""
        if tier not in range(self.most_hints + 1):
            raise UsageError(f"there is no hint {tier} here", hint=f"1 to {self.most_hints}")
        task = task_of(self.entry.topic, name)
        trouble = self._desk.check([name], within_s=0.0).of(name).first_trouble()
        if trouble is None:
            return f"{task.title}: done, no hint is needed"
        found = hint_for(task, trouble)
        if found is None:
            return f"{trouble.title}: {trouble.result.observed}"
        tier = tier or min(self.diary.hints_given(name, trouble.check, found.state) + 1, self.most_hints)
        text = found.tiers[tier - 1].format(**task.given(self.seed))
        self.diary.hint(name, trouble.check, found.state, tier)
        return f"hint {tier} of {self.most_hints}, {trouble.title}: {text}"

    def solution(self, name: str) -> str:
        """Show how the authors solve a task, once it is solved here."""
        task = task_of(self.entry.topic, name)
        if not self._desk.check([name], within_s=0.0).of(name):
            return f'{task.title} is not done yet: lab.check("{name}") says what is missing, lab.hint("{name}") helps'
        self.diary.solution(name)
        return "\n\n".join(self._source(act) for act in task.solutions)

    def _source(self, act: Act) -> str:
        """What a solution looks like: the program that it writes, if it writes one, else its Python."""
        text: Callable[[Any], str] | None = getattr(act, "text", None)
        if text is None:
            return textwrap.dedent(inspect.getsource(act)).rstrip()
        return f"// {act.__doc__}\n{text(self).rstrip()}"

    def predict(self, question: str, *options: str) -> Question:
        """Ask for a prediction before a cell is run."""
        from glasshive.widgets import Question

        if len(options) < 2:
            raise UsageError("a prediction needs at least two options")
        view = Question(question, options)
        view.on_chosen(lambda chosen, answer: self.diary.prediction(question, chosen, answer))
        self._views.append(view)
        return view

    def explain(self, what: object) -> str:
        """Say what something is: a term of the field, a drop reason, a map, a row of one, or a check's result."""
        return explain(what, glossary.read(self.entry.folder))


def hint_for(task: Task, trouble: Graded) -> Hint | None:
    """The hint for what a check saw: one for that very state, else one for the check."""
    mine = [one for one in task.hints if one.check == trouble.check]
    exact = [one for one in mine if one.state == trouble.result.state]
    return next(iter([*exact, *(one for one in mine if not one.state)]), None)

"""What an author writes: tasks, their weighted checks, hints, solutions and mutants. Plain values, validated when made.

A lab's tasks are the list ``TASKS`` of ``glasshive.lab.tasks.<topic>``; ``tasks/first_pod.py`` is the worked example.
Two kinds of functions meet here, and live in two processes:

- **acts** (set-up, solutions, mutants) run in the learner's process with the ``Lab`` and do what a learner could do;
- **looks** (checks, preconditions) run in the grader with a ``ClusterReader``, which can only read and probe.

Both get ``given``, what the seed decided (``Task.draw``). ``glasshive lab prove`` holds every task to its word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from glasshive.errors import UsageError
from glasshive.lab.draw import Draw
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

Given = Mapping[str, Any]
"""What the seed decided for one task: name -> value (text or number, as it must survive JSON)."""
Act = Callable[["Lab", Given], object]
Look = Callable[["ClusterReader", Given], CheckResult]
Kind = Literal["state", "probe", "flow", "invariant", "shape"]

BEHAVIOUR: frozenset[Kind] = frozenset({"probe", "flow", "invariant", "shape"})
"""Kinds that look at what happens, and not only at what is written down."""
LEAST_BEHAVIOUR, CUT = 60, 60
"""Weight that checks of behaviour have at least; score below which a task counts as not done."""
WITHIN_SECONDS, LONGEST_SECONDS = 10.0, 30.0
_ID = re.compile(r"[a-z][a-z0-9-]{0,39}")


@dataclass(frozen=True)
class Check:
    """One question about the real state. ``needs`` names checks that must pass first, else it is skipped.

    ``negative``: it holds when something does *not* happen. Such a check would pass on a pristine cluster: give it a
    positive one to need. ``within_s``: so long may the state take to become right (at most 30 s).
    """

    id: str
    title: str
    weight: int
    kind: Kind
    look: Look
    needs: tuple[str, ...] = ()
    negative: bool = False
    within_s: float = WITHIN_SECONDS


@dataclass(frozen=True)
class Hint:
    """Three hints, each saying more, for when this check fails in this ``state`` ('': in any that has no own hint).

    ``{name}`` in them stands for what the seed decided.
    """

    check: str
    tiers: tuple[str, str, str]
    state: str = ""


@dataclass(frozen=True)
class Mutant:
    """Wrong work that ``caught_by`` must fail. The act's name is the mutant's, its docstring says what is wrong."""

    act: Act
    caught_by: str

    @property
    def name(self) -> str:
        """The act's name."""
        return self.act.__name__


def _nothing(_: Draw) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Task:
    """A graded piece of work.

    ``text`` says what to do; ``{name}`` in it stands for what the seed decided. ``setup`` makes what the task starts
    from (idempotent) and ``ready`` verifies that it is really there; both or none. ``after`` names tasks that must be
    done first. The texts of ``solutions`` are shown to who has solved it.
    """

    id: str
    title: str
    points: int
    text: str
    checks: tuple[Check, ...]
    hints: tuple[Hint, ...]
    solutions: tuple[Act, ...]
    mutants: tuple[Mutant, ...]
    draw: Callable[[Draw], dict[str, Any]] = _nothing
    setup: Act | None = None
    ready: Look | None = None
    after: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        troubles = list(_troubles(self))
        if troubles:
            raise UsageError(f"task {self.id!r}: {'; '.join(troubles)}", hint="see glasshive/lab/task.py")

    def given(self, seed: int) -> dict[str, Any]:
        """Work out what a seed decides for this task."""
        return self.draw(Draw(seed, self.id))

    def check(self, name: str) -> Check:
        """Find a check by its id."""
        return next(one for one in self.checks if one.id == name)


def _troubles(task: Task) -> list[str]:
    ids = [one.id for one in task.checks]
    found = [f"{one!r} is no id (a-z, 0-9, -)" for one in (task.id, *ids) if not _ID.fullmatch(one)]
    if len(set(ids)) < len(ids):
        found.append("two checks have one id")
    if task.points <= 0:
        found.append("points must be more than 0")
    total = sum(one.weight for one in task.checks)
    if total != 100:
        found.append(f"the checks' weights sum to {total}, not to 100")
    behaviour = sum(one.weight for one in task.checks if one.kind in BEHAVIOUR)
    if behaviour < LEAST_BEHAVIOUR:
        found.append(f"checks of behaviour weigh {behaviour}, at least {LEAST_BEHAVIOUR} is wanted")
    if not any(one.negative for one in task.checks):
        found.append("no check is negative: nothing says what must not happen")
    for at, one in enumerate(task.checks):
        found += [
            f"check {one.id} needs {name!r}, which does not stand before it" for name in {*one.needs} - {*ids[:at]}
        ]
        if not 0 < one.within_s <= LONGEST_SECONDS:
            found.append(f"check {one.id}: within_s is {one.within_s:g}, at most {LONGEST_SECONDS:g} is allowed")
    return found + _proof_troubles(task, set(ids))


def _proof_troubles(task: Task, ids: set[str]) -> list[str]:
    """What hints, solutions, mutants and set-up lack."""
    found = []
    if len(task.solutions) < 2:
        found.append(f"{len(task.solutions)} solutions, at least 2 are wanted: one is how you do it, two are the task")
    if len(task.mutants) < 3:
        found.append(f"{len(task.mutants)} mutants, at least 3 are wanted")
    strays = [one for one in task.mutants if one.caught_by not in ids]
    found += [f"mutant {one.name} is to be caught by {one.caught_by!r}, which is no check" for one in strays]
    hinted = {hint.check for hint in task.hints}
    found += [f"there is a hint for {one!r}, which is no check" for one in sorted(hinted - ids)]
    found += [f"check {one.id} has no hint" for one in task.checks if one.id not in hinted and not one.needs]
    if (task.setup is None) != (task.ready is None):
        found.append("setup and ready go together: a set-up that nobody verifies may have set nothing up")
    names = [act.__name__ for act in (*task.solutions, *(one.act for one in task.mutants))]
    if len(set(names)) < len(names):
        found.append("two solutions or mutants have one name")
    return found

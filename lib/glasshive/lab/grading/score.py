"""From results of checks to points. Pure; what an error or a skipped check is worth is decided here and nowhere else.

- A pass earns its weight, a fail earns nothing, and so does a check that was skipped because its parent failed.
- A check that could not be made (error, time-out; a child of such a one) is void: the rest is scaled up to 100, and
  the result says so. With nothing left to assess there is no score at all, which is neither 0 nor 100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from glasshive.model.check_result import CheckResult, Verdict

_VOID = {Verdict.ERROR, Verdict.TIMEOUT}


@dataclass(frozen=True, slots=True)
class Graded:
    """A check's result with its weight. ``void``: it says nothing about the work. ``seconds``: what looking took."""

    check: str
    title: str
    weight: int
    result: CheckResult
    void: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class TaskResult:
    """How far a task is done, as the real state says."""

    task: str
    title: str
    points: int
    checks: tuple[Graded, ...]

    @property
    def score(self) -> float | None:
        """0 to 100 of what could be assessed; None when nothing could."""
        total = sum(one.weight for one in self.checks if not one.void)
        earned = sum(one.weight for one in self.checks if one.result)
        return 100 * earned / total if total else None

    @property
    def earned(self) -> float:
        """Points."""
        return self.points * (self.score or 0.0) / 100

    @property
    def void(self) -> tuple[str, ...]:
        """Checks that say nothing."""
        return tuple(one.check for one in self.checks if one.void)

    @property
    def verdict(self) -> Verdict:
        """Pass: all checks pass. Fail: one says that the work is not done. Error: none does, but not all could look."""
        verdicts = [one.result.verdict for one in self.checks]
        if Verdict.FAIL in verdicts:
            return Verdict.FAIL
        if self.void:
            return Verdict.ERROR
        return Verdict.PASS if set(verdicts) == {Verdict.PASS} else Verdict.SKIPPED

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASS

    def of(self, check: str) -> Graded:
        """One check's part."""
        return next(one for one in self.checks if one.check == check)

    def first_trouble(self) -> Graded | None:
        """The first check that is not right: where to begin."""
        return next((one for one in self.checks if not one.result), None)

    def to_json(self) -> dict[str, Any]:
        """As plain values; ``from_json`` reads it back. Score, verdict and voided checks stand in it for others."""
        plain = asdict(self)
        return {**plain, "score": self.score, "verdict": self.verdict.value, "void": list(self.void)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> TaskResult:
        """Read back what ``to_json`` gave."""
        checks = [
            Graded(
                **{
                    **one,
                    "result": CheckResult(**{**one["result"], "verdict": Verdict(one["result"]["verdict"])}),
                }
            )
            for one in plain["checks"]
        ]
        return cls(str(plain["task"]), str(plain["title"]), int(plain["points"]), tuple(checks))


def void_or_not(checks: Sequence[tuple[str, tuple[str, ...], Verdict]]) -> dict[str, bool]:
    """Which checks are void: given (id, needed ids, verdict) in order, parents first."""
    found: dict[str, bool] = {}
    for name, needs, verdict in checks:
        found[name] = verdict in _VOID or (verdict is Verdict.SKIPPED and any(found.get(one, False) for one in needs))
    return found


@dataclass(frozen=True)
class LabResult:
    """All tasks of a lab."""

    lab: str
    tasks: tuple[TaskResult, ...]

    @property
    def score(self) -> float | None:
        """0 to 100, tasks weighed by their points; tasks without a score are left out."""
        assessed = [one for one in self.tasks if one.score is not None]
        total = sum(one.points for one in assessed)
        return 100 * sum(one.earned for one in assessed) / total if total else None

    def __bool__(self) -> bool:
        return bool(self.tasks) and all(self.tasks)

    def of(self, task: str) -> TaskResult:
        """One task's result."""
        return next(one for one in self.tasks if one.task == task)

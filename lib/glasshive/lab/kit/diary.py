"""What a lab writes down of its learner: every attempt, hint and prediction, before it is shown.

Progress must not stand in a lab's way: when the file cannot be written, the note that comes with the result says so,
and the lab goes on.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any

from glasshive.errors import UsageError
from glasshive.lab.grading.score import TaskResult
from glasshive.lab.progress import store
from glasshive.lab.progress.standing import of_task, standings
from glasshive.lab.progress.store import ProgressStore

_MOST_OBSERVED = 400


class Diary:
    """One lab with one seed."""

    def __init__(self, lab: str, seed: int, *, keep: bool = True) -> None:
        self.lab, self.seed = lab, seed
        self._keep = keep
        self.trouble = ""  # why nothing can be written down
        self.notice = ""  # what the store says once
        self._hints: Counter[tuple[str, str, str]] = Counter()
        """Kept here too, for when nothing is written down: a second hint says more than the first all the same."""

    def begun(self, task: str) -> None:
        """A task was begun."""
        self._record("begun", task)

    def attempt(self, result: TaskResult) -> str:
        """A task was checked. Gives what is worth a note: passed before and broken now, or that nothing was kept."""
        before = self._passed_before(result.task)
        checks = [
            {
                "id": one.check, "title": one.title, "weight": one.weight, "verdict": one.result.verdict.value,
                "observed": one.result.observed[:_MOST_OBSERVED], "state": one.result.state,
                "void": one.void, "seconds": round(one.seconds, 3),
            }
            for one in result.checks
        ]  # fmt: skip
        self._record(
            "attempt",
            result.task,
            verdict=result.verdict.value,
            score=result.score,
            points=result.earned,
            checks=checks,
        )
        if self.trouble:
            return f"this attempt was not written down: {self.trouble}"
        if self.notice:
            told, self.notice = self.notice, ""
            return told
        return "this task was passed earlier, and is broken now" if before and not result else ""

    def so_far(self) -> list[str]:
        """What was reached in this lab with this seed, a line for each task that was tried."""
        try:
            kept = self._store()
            known = standings(kept.events(self.lab)) if kept is not None else []
        except (OSError, sqlite3.Error, UsageError) as trouble:
            return [f"  progress is not kept: {trouble}"]
        return [
            f"  so far: {one.task}: best {one.best:g} of 100, {one.attempts} attempts, {one.hints} hints"
            for one in known
            if one.seed == self.seed and one.best is not None
        ]

    def hints_given(self, task: str, check: str, state: str) -> int:
        """How far hints for this have gone: the highest tier given."""
        kept = self._store()
        events = kept.events(self.lab) if kept is not None and not self.trouble else []
        tiers = [
            int(one.details.get("tier", 0))
            for one in events
            if (one.kind, one.task, one.seed) == ("hint", task, self.seed)
            and (one.details.get("check"), one.details.get("state")) == (check, state)
        ]
        return max([*tiers, self._hints[task, check, state]])

    def hint(self, task: str, check: str, state: str, tier: int) -> None:
        """A hint was given."""
        self._hints[task, check, state] = max(tier, self._hints[task, check, state])
        self._record("hint", task, check=check, state=state, tier=tier)

    def prediction(self, question: str, chosen: str, answer: str) -> None:
        """Something was predicted; ``answer`` is '' until it is revealed."""
        right = {"right": chosen == answer, "answer": answer} if answer else {}
        self._record("prediction", "", text=question, chosen=chosen, **right)

    def solution(self, task: str) -> None:
        """The authors' solutions were read."""
        self._record("solution", task)

    def reset(self) -> None:
        """The lab was reset."""
        self._hints.clear()
        self._record("reset", "")

    def _store(self) -> ProgressStore | None:
        return store.current() if self._keep else None

    def _passed_before(self, task: str) -> bool:
        try:
            kept = self._store()
            return kept is not None and bool(of_task(kept.events(self.lab), self.lab, task, self.seed).passed_at)
        except (OSError, sqlite3.Error, UsageError) as trouble:
            self.trouble = str(trouble)
            return False

    def _record(self, kind: str, task: str, **details: Any) -> None:
        try:
            kept = self._store()
            if kept is not None:
                kept.record(kind, self.lab, task, self.seed, **details)
                self.trouble = ""
                self.notice, kept.notice = self.notice or kept.notice, ""
        except (OSError, sqlite3.Error, UsageError) as trouble:
            self.trouble = str(trouble)

"""Results as people read them: text that stays the same from run to run, and HTML that says no more than the text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from glasshive.lab.grading.score import Graded, LabResult, TaskResult
from glasshive.model.check_result import CheckResult, Verdict

_SIGNS = {Verdict.PASS: "✓", Verdict.FAIL: "✗", Verdict.ERROR: "!", Verdict.TIMEOUT: "!", Verdict.SKIPPED: "-"}


class Shown:
    """Tasks' results in a notebook: true when all of them are done."""

    def __init__(self, tasks: Sequence[TaskResult], *, next_step: str = "", notes: Sequence[str] = ()) -> None:
        self.tasks = tuple(tasks)
        self.next_step = next_step
        self.notes = tuple(notes)

    @property
    def score(self) -> float | None:
        """0 to 100; None when nothing could be assessed."""
        return LabResult("", self.tasks).score

    def __bool__(self) -> bool:
        return bool(self.tasks) and all(self.tasks)

    def __repr__(self) -> str:
        lines = [line for one in self.tasks for line in task_lines(one)]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines + ([f"next: {self.next_step}"] if self.next_step else []))

    def _repr_html_(self) -> str:
        blocks = "".join(_task_html(one) for one in self.tasks)
        after = f"<p>next: <code>{escape(self.next_step)}</code></p>" if self.next_step else ""
        notes = "".join(f"<p>note: {escape(note)}</p>" for note in self.notes)
        return f'<section aria-label="check">{blocks}{notes}{after}</section>'


def headline(result: TaskResult) -> str:
    """Verdict, title and points of a task in one line."""
    if result.score is None:
        return f"{result.verdict}: {result.title} (not assessed)"
    flag = f"; could not be assessed: {', '.join(result.void)}" if result.void else ""
    return f"{result.verdict}: {result.title} ({result.earned:g} of {result.points} points{flag})"


def task_lines(result: TaskResult) -> list[str]:
    """A task's result as lines of text."""
    lines = [headline(result)]
    for one in result.checks:
        lines.append(f"  {one.result.verdict.value}: {one.title}")
        lines += [f"    {word}: {text}" for word, text in facts(one)]
    return lines


def facts(graded: Graded) -> list[tuple[str, str]]:
    """What is told of a check, in order: observed, and if it is not right, wanted, why and where to read."""
    result: CheckResult = graded.result
    if result.verdict is Verdict.SKIPPED:
        return [("because", result.observed)]
    told = [("observed", result.observed)]
    if not result:
        told += [("wanted", result.wanted), ("why", result.why), ("read", result.read)]
    return [(word, text) for word, text in told if text]


def _task_html(result: TaskResult) -> str:
    rows = "".join(_check_html(one) for one in result.checks)
    return f"<p><strong>{escape(headline(result))}</strong></p><ul style='list-style:none'>{rows}</ul>"


def _check_html(one: Graded) -> str:
    told = "".join(f"<br><small>{word}: {escape(text)}</small>" for word, text in facts(one))
    verdict = one.result.verdict
    sign = f'<span aria-hidden="true">{_SIGNS[verdict]}</span> <strong>{verdict.value}</strong>'
    return f"<li>{sign}: {escape(one.title)}{told}</li>"

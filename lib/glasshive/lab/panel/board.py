"""What the panel shows: a lab's tasks and checks as plain values. Pure; the same results give the same board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from glasshive.lab.grading.score import LabResult, TaskResult
from glasshive.lab.shown import facts
from glasshive.lab.task import Task
from glasshive.model.check_result import Verdict

_WORDS = {
    Verdict.PASS: "done",
    Verdict.FAIL: "not so yet",
    Verdict.ERROR: "cannot be told",
    Verdict.TIMEOUT: "cannot be told",
    Verdict.SKIPPED: "not assessed yet",
}

Board = dict[str, Any]


def empty(lab: str, title: str, tasks: Sequence[Task]) -> Board:
    """The board before anybody has looked."""
    rows = [
        {"id": one.id, "title": one.title, "points": one.points, "verdict": "", "word": "not looked at yet",
         "broken": False, "earned": 0, "checks": []}
        for one in tasks
    ]  # fmt: skip
    return {"lab": lab, "title": title, "tasks": rows, "problem": "", "looks": 0}


def board(lab: str, title: str, result: LabResult, before: Board | None = None) -> Board:
    """The board of a result. ``before`` tells what was done already, and so what has broken again."""
    old = {row["id"]: row for row in before["tasks"]} if before else {}
    rows = [_task(one, old.get(one.task)) for one in result.tasks]
    looks = (before["looks"] if before else 0) + 1
    return {"lab": lab, "title": title, "tasks": rows, "problem": "", "looks": looks}


def troubled(before: Board, problem: str) -> Board:
    """The last board, and why there is no newer one."""
    return {**before, "problem": problem}


def same(one: Board, other: Board) -> bool:
    """Whether two boards show the same; how often was looked is not shown."""
    return {**one, "looks": 0} == {**other, "looks": 0}


def _task(result: TaskResult, before: Mapping[str, Any] | None) -> dict[str, Any]:
    was_done = bool(before and (before["verdict"] == Verdict.PASS or before.get("broken")))
    broken = was_done and result.verdict is Verdict.FAIL
    return {
        "id": result.task,
        "title": result.title,
        "points": result.points,
        "earned": round(result.earned, 1),
        "verdict": result.verdict.value,
        "word": "broken again" if broken else _WORDS[result.verdict],
        "broken": broken,
        "checks": [
            {
                "id": one.check,
                "title": one.title,
                "weight": one.weight,
                "verdict": one.result.verdict.value,
                "facts": [list(pair) for pair in facts(one)],
            }
            for one in result.checks
        ],
    }

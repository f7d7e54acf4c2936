"""What is said between a grader and those who ask it: one line of JSON each way, on a unix socket of mode 0600.

Everything that reaches the grader is checked here, before anything looks at it: learners' input ends at this door.

``{"do": "check", "tasks": ["plug-in"], "within_s": 3.0}``  grades (no tasks: all; within_s null: each check's own)
``{"do": "ready", "tasks": ["plug-in"]}``                   whether what the task starts from is there
``{"do": "ping"}``, ``{"do": "end"}``                       a sign of life; the grader ends

Answers are ``{"ok": ...}`` or ``{"error": {"kind": "NotFoundError", "message": ..., "hint": ...}}``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from glasshive import errors
from glasshive.errors import GlasshiveError, UsageError
from glasshive.lab.task import LONGEST_SECONDS

LIMIT_BYTES = 4096
MOST_TASKS = 40
VERBS = ("check", "ready", "ping", "end")
TASK_ID = re.compile(r"[a-z][a-z0-9-]{0,39}")
LAB_ID = re.compile(r"[0-9]{2}")
_KEYS = {"do", "tasks", "within_s"}


@dataclass(frozen=True)
class Request:
    """A request that was found to be in order."""

    do: str
    tasks: tuple[str, ...] = ()
    within_s: float | None = None

    def to_line(self) -> bytes:
        """As it is sent."""
        plain = {"do": self.do, "tasks": list(self.tasks), "within_s": self.within_s}
        return json.dumps(plain).encode() + b"\n"


def read_request(line: bytes) -> Request:
    """Check a line. Raises UsageError saying what is wrong with it."""
    if len(line) > LIMIT_BYTES:
        raise UsageError(f"a request has at most {LIMIT_BYTES} bytes")
    try:
        plain = json.loads(line)
    except ValueError:
        raise UsageError("a request is one line of JSON") from None
    if not isinstance(plain, dict) or set(plain) - _KEYS or plain.get("do") not in VERBS:
        raise UsageError(f"a request has the keys {', '.join(sorted(_KEYS))}; do is one of {', '.join(VERBS)}")
    tasks = plain.get("tasks", [])
    if not isinstance(tasks, list) or len(tasks) > MOST_TASKS or not all(_is_id(one) for one in tasks):
        raise UsageError(f"tasks is a list of at most {MOST_TASKS} ids (a-z, 0-9, -)")
    within_s = plain.get("within_s")
    if within_s is not None and not (_is_number(within_s) and 0 <= within_s <= LONGEST_SECONDS):
        raise UsageError(f"within_s is a number of seconds from 0 to {LONGEST_SECONDS:g}")
    return Request(str(plain["do"]), tuple(tasks), None if within_s is None else float(within_s))


def _is_id(value: object) -> bool:
    return isinstance(value, str) and TASK_ID.fullmatch(value) is not None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def refusal(trouble: GlasshiveError) -> dict[str, Any]:
    """An error as an answer."""
    kind = type(trouble).__name__
    return {"error": {"kind": kind, "message": trouble.message, "hint": trouble.hint}}


def read_answer(line: bytes) -> Any:
    """What the grader gave; its error is raised here as the one it was there."""
    plain = json.loads(line)
    if "error" not in plain:
        return plain["ok"]
    told = plain["error"]
    kind = getattr(errors, str(told["kind"]), GlasshiveError)
    if kind not in (errors.NotFoundError, errors.UsageError, errors.ClusterError, errors.CapabilityError):
        kind = GlasshiveError  # others are made of more than a message
    raise kind(str(told["message"]), hint=str(told["hint"]))

"""The tasks of every lab: one module for each lab, named after its topic, with ``TASKS``.

What a module holds is said in ``glasshive.lab.task``; ``first_pod`` is the worked example. A lab without a module has
no tasks.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import traceback

from glasshive.errors import ManifestError, NotFoundError, UsageError
from glasshive.lab.task import Task


def tasks_of(topic: str) -> tuple[Task, ...]:
    """Give a lab's tasks in order. UsageError when they do not fit together."""
    found = _table(topic)
    ids = [one.id for one in found]
    for at, one in enumerate(found):
        if ids.count(one.id) > 1:
            raise UsageError(f"lab {topic}: two tasks have the id {one.id!r}")
        late = sorted({*one.after} - {*ids[:at]})
        if late:
            raise UsageError(f"lab {topic}: task {one.id!r} comes after {late[0]!r}, which does not stand before it")
    return found


def task_of(topic: str, wanted: str) -> Task:
    """Give one task; an unknown one lists near ones."""
    tasks = tasks_of(topic)
    for one in tasks:
        if one.id == wanted:
            return one
    known = [one.id for one in tasks]
    near = difflib.get_close_matches(wanted, known, 3, 0.4) or known
    hint = f"near it: {', '.join(near)}" if near else "this lab has no tasks"
    raise NotFoundError(f"lab {topic} has no task {wanted!r}", hint=hint)


def _table(topic: str) -> tuple[Task, ...]:
    """Import a lab's module. ManifestError with file and line for one that is broken."""
    module = f"glasshive.lab.tasks.{topic}"
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return ()
    try:
        return tuple(importlib.import_module(module).TASKS)
    except SyntaxError as trouble:
        raise ManifestError(f"{trouble.filename}:{trouble.lineno}: {trouble.msg}") from trouble
    except Exception as trouble:
        lines = [one.lineno for one in traceback.extract_tb(trouble.__traceback__) if one.filename == found.origin]
        what = f"{type(trouble).__name__}: " if not isinstance(trouble, UsageError) else ""
        raise ManifestError(f"{found.origin}:{lines[-1] if lines else 1}: {what}{trouble}") from trouble

"""Roles of cells, under one versioned schema (``schema/cell.json``). Unknown keys and roles are errors.

- ``exercise``: has a solution region; the learner's form shows a place to write in instead.
- ``check``: shows a verdict on the real state. The learner's form may not be edited.
- ``locked``: given as it is, and may not be edited either: what a later check relies on.
- ``solution``: stands in the solved notebook only, such as another way to solve the exercise before it.
- ``view``: a picture whose content differs from run to run: the only cells whose output may go uncompared.
- ``refused``: a ``%%bpf`` cell that is meant to be refused.
- ``reset``: the last one; takes away what the lab made.

A cell without a role is shown and run as it stands. ``id`` names a cell for its translations and for what it checks.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

SCHEMA = 2
UNEDITABLE = frozenset({"check", "locked", "reset"})


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads((Path(__file__).parent / "schema" / "cell.json").read_text("utf-8")))


def roles() -> list[str]:
    """The roles that there are."""
    return list(_validator().schema["properties"]["role"]["enum"])


def complaint(given: object) -> str:
    """Say what is wrong with a cell's ``glasshive`` metadata, '' if it is in order."""
    if not isinstance(given, dict):
        return f"glasshive={given!r} is not understood: keys and values are wanted"
    unknown = sorted(set(given) - set(_validator().schema["properties"]))
    if unknown:
        return f"unknown key {unknown[0]!r}; allowed: {', '.join(sorted(_validator().schema['properties']))}"
    if given.get("role", "view") not in roles():
        return f"unknown role {given['role']!r}; allowed: {', '.join(roles())}"
    if given.get("role") in {"exercise", "check"} and not given.get("id"):
        return f"a cell of role {given['role']!r} needs an id"
    if given.get("schema", SCHEMA) != SCHEMA:
        return f"schema {given['schema']!r} is not known; this is schema {SCHEMA}: make labs"
    trouble = next(iter(_validator().iter_errors(given)), None)
    return f"{trouble.json_path}: {trouble.message}" if trouble else ""


def metadata(role: str, name: str) -> dict[str, Any]:
    """Give the metadata that a notebook's cell carries: empty for a cell without role and id."""
    given: dict[str, Any] = {"schema": SCHEMA, "role": role, "id": name}
    return {key: value for key, value in given.items() if value} if role or name else {}

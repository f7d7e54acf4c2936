"""The part of JSONPath that printer columns use: fields, indexes, ``[*]`` and filters on equality."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import orjson

_STEP = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\\])+)
      | \[\s*(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\s*\]
      | \[\s*(?P<index>-?\d+)\s*\]
      | \[\s*(?P<all>\*)\s*\]
      | \[\?\(\s*@\.(?P<key>[\w.\-/]+)\s*==\s*(?P<mark>['"])(?P<value>.*?)(?P=mark)\s*\)\]
    """,
    re.VERBOSE,
)


@lru_cache(maxsize=512)
def _steps(path: str) -> tuple[re.Match[str], ...]:
    found, at = [], 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            return ()
        found.append(step)
        at = step.end()
    return tuple(found)


def values_at(obj: Any, path: str) -> list[Any]:
    """All values that the path leads to; [] for a path that cannot be read."""
    values = [obj]
    steps = _steps(path)
    if not steps:
        return []
    for step in steps:
        values = [below for value in values for below in _follow(value, step)]
    return values


def _follow(value: Any, step: re.Match[str]) -> list[Any]:
    field = step["field"]
    if field is not None or step["quoted"] is not None:
        key = re.sub(r"\\(.)", r"\1", field) if field is not None else step["quoted"]
        return [value[key]] if isinstance(value, dict) and key in value else []
    if not isinstance(value, list):
        return list(value.values()) if step["all"] and isinstance(value, dict) else []
    if step["all"]:
        return value
    if step["index"] is not None:
        index = int(step["index"])
        return [value[index]] if -len(value) <= index < len(value) else []
    return [item for item in value if [str(v) for v in values_at(item, "." + step["key"])] == [step["value"]]]


def text_at(obj: Any, path: str) -> str:
    """What a table cell shows of the path: the values, separated by commas."""
    return ",".join(_text(value) for value in values_at(obj, path))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()

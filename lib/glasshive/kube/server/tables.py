"""Tables: what ``kubectl get`` prints. The server computes the cells; ``columns`` knows them per kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .registry import Served

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what it is called, and how its cell is made from an object and the time."""

    name: str
    cell: Callable[[Object, datetime], Any]
    kind: str = "string"
    wide: bool = False
    form: str = ""

    def definition(self) -> Object:
        """The TableColumnDefinition."""
        return {
            "name": self.name,
            "type": self.kind,
            "format": self.form,
            "description": "",
            "priority": int(self.wide),
        }


def name_column() -> Column:
    """The first column of nearly every table."""
    return Column("Name", lambda obj, _: obj["metadata"]["name"], form="name")


def age_column() -> Column:
    """How long ago the object was made."""
    return Column("Age", lambda obj, now: age(obj["metadata"].get("creationTimestamp"), now))


def at(obj: Any, path: str) -> Any:
    """The value at a dotted path, None where there is nothing."""
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def age(stamp: Any, now: datetime) -> str:
    """Time since ``stamp`` (RFC 3339) in at most two units, as kubectl writes it."""
    if not isinstance(stamp, str) or not stamp:
        return "<unknown>"
    try:
        then = datetime.fromisoformat(stamp)
    except ValueError:
        return "<invalid>"
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return span(int((now - then).total_seconds()))


def span(seconds: int) -> str:
    """A length of time for people: the second unit is left out once the first one is large."""
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    steps = (
        (seconds < 120, f"{seconds}s"),
        (minutes < 10, _two(minutes, "m", seconds % 60, "s")),
        (minutes < 180, f"{minutes}m"),
        (hours < 8, _two(hours, "h", minutes % 60, "m")),
        (hours < 48, f"{hours}h"),
        (days < 8, _two(days, "d", hours % 24, "h")),
        (days < 730, f"{days}d"),
        (days < 2920, _two(days // 365, "y", days % 365, "d")),
        (True, f"{days // 365}y"),
    )
    return next(text for fits, text in steps if fits)


def _two(first: int, unit: str, second: int, lesser: str) -> str:
    return f"{first}{unit}{second}{lesser}" if second else f"{first}{unit}"


def partial(obj: Object) -> Object:
    """The object's metadata as an object of its own."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def render(served: Served, objects: Sequence[Object], metadata: Object, *, include: str, now: datetime) -> Object:
    """A ``meta.k8s.io/v1`` Table of the objects; ``include`` is Metadata, Object or None."""
    from . import columns

    definitions, cells_of = columns.of(served)
    rows = []
    for obj in objects:
        row: Object = {"cells": cells_of(obj, now)}
        if include == "Object":
            row["object"] = obj
        elif include != "None":
            row["object"] = partial(obj)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }

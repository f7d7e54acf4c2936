"""Columns of kubectl's tables, per kind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .tables import age

if TYPE_CHECKING:
    from .registry import Served

Object = dict[str, Any]
Cells = Callable[[Object, datetime], list[Any]]


def of(served: Served) -> tuple[list[Object], Cells]:
    """Column definitions of a kind and the function that fills a row."""
    definitions = [{"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
                   {"name": "Age", "type": "string", "format": "", "description": "", "priority": 0}]
    return definitions, lambda obj, now: [obj["metadata"]["name"], age(obj["metadata"].get("creationTimestamp"), now)]

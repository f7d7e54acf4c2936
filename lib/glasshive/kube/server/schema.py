"""Schemas of objects, in one form for built-ins and custom resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .call import Call

Object = dict[str, Any]


class Node:
    """One place in a schema."""


def check_fields(node: Node | None, obj: Object, call: Call) -> None:
    """Check types and unknown fields."""

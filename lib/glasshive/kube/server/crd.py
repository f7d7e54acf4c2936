"""Custom resource definitions."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def mark_terminating(obj: Object, now: str) -> None:
    """Say in the definition's status that it is going away."""

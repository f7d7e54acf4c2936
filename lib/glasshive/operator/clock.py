"""Kubernetes timestamps: RFC 3339, UTC, whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime


def now_text() -> str:
    """Return the present time as objects carry it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_since(text: str | None, now: datetime | None = None) -> float:
    """Return the age of a timestamp in seconds; 0 for none (something that only just began)."""
    if not text:
        return 0.0
    return ((now or datetime.now(UTC)) - datetime.fromisoformat(text)).total_seconds()

"""Status conditions: setting one without touching the others, and keeping the time of its last change. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from glasshive.kube.objects import Object
from glasshive.operator.clock import now_text


def with_condition(
    conditions: Iterable[Object],
    kind: str,
    status: str,
    reason: str,
    message: str,
    *,
    update_time: bool = False,
    touch: bool = False,
) -> list[Object]:
    """Return the conditions with one set; ``lastTransitionTime`` moves only when its status does.

    ``update_time`` adds ``lastUpdateTime`` (Deployment has it), which moves with any change, and with ``touch`` always.
    """
    conditions = list(conditions)
    kept = [c for c in conditions if c.get("type") != kind]
    old = next((c for c in conditions if c.get("type") == kind), {})
    entry = {"type": kind, "status": status, "reason": reason, "message": message}
    if not touch and all(old.get(field) == value for field, value in entry.items()):
        return conditions
    now = now_text()
    same = old.get("status") == status and "lastTransitionTime" in old
    entry["lastTransitionTime"] = old["lastTransitionTime"] if same else now
    if update_time:
        entry["lastUpdateTime"] = now
    return [*kept, entry]


def without_condition(conditions: Iterable[Object], kind: str) -> list[Object]:
    """Return the conditions without one type."""
    return [c for c in conditions if c.get("type") != kind]

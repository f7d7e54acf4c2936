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


def conditions_patch(before: Iterable[Object], wanted: Iterable[Object]) -> list[Object]:
    """Return the strategic merge patch of a list of conditions: only what differs, so that others' are left alone."""
    known = {one["type"]: one for one in before}
    listed = {one["type"]: one for one in wanted}
    changed = [one for kind, one in listed.items() if known.get(kind) != one]
    return changed + [{"$patch": "delete", "type": kind} for kind in known if kind not in listed]

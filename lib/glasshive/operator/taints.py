"""Taints that say how a node is, and how long pods put up with them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from glasshive.kube.objects import Object
from glasshive.operator.clock import now_text, seconds_since

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
_CONDITION_TAINTS = (NOT_READY, UNREACHABLE)
_EFFECTS = ("NoSchedule", "NoExecute")


def taints_of(node: Object) -> list[Object]:
    """Return a node's taints."""
    return list((node.get("spec") or {}).get("taints") or ())


def with_condition_taint(taints: Sequence[Object], key: str) -> list[Object]:
    """Return the taints with ``key`` ("" for none) as the only one that tells the node's condition.

    Those that are there keep their time: the clock of tolerations runs on.
    """
    kept = [t for t in taints if t.get("key") not in _CONDITION_TAINTS or t.get("key") == key]
    if not key:
        return kept
    have = {t.get("effect") for t in kept if t.get("key") == key}
    for effect in _EFFECTS:
        if effect not in have:
            added = {"key": key, "effect": effect}
            kept.append(added | ({"timeAdded": now_text()} if effect == "NoExecute" else {}))
    return kept


def seconds_tolerated(pod: Object, taints: Iterable[Object], now: datetime | None = None) -> float | None:
    """Return how many more seconds the pod stays (0: it must go now), None if it may stay for good."""
    now = now or datetime.now(UTC)
    left: float | None = None
    for taint in taints:
        if taint.get("effect") != "NoExecute":
            continue
        limits = [t.get("tolerationSeconds") for t in pod["spec"].get("tolerations") or () if covers(t, taint)]
        if not limits:
            return 0.0
        bounded = [max(0, int(limit)) for limit in limits if limit is not None]
        if bounded:  # of several tolerations the shortest counts
            rest = max(0.0, min(bounded) - seconds_since(taint.get("timeAdded"), now))
            left = rest if left is None else min(left, rest)
    return left


def covers(toleration: Object, taint: Object) -> bool:
    """Tell whether one toleration is for ``taint``."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    key = toleration.get("key") or ""
    exists = (toleration.get("operator") or "Equal") == "Exists"
    if not key:
        return exists
    return key == taint.get("key") and (exists or (toleration.get("value") or "") == (taint.get("value") or ""))

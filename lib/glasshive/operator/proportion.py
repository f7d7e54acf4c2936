"""Scaling a Deployment in the middle of a rollout: old and new ReplicaSets grow or shrink in proportion. Pure.

So a rollout that hangs on a broken image does not put all new replicas on it, nor loses all the good ones. What a
ReplicaSet was last scaled for stands in its annotations; they tell that the wish has changed since.
"""

from __future__ import annotations

from collections.abc import Sequence

from glasshive.kube.objects import Object
from glasshive.operator.rollout import DESIRED, MAXIMUM, limits_of, size_of


def scaled(deployment: Object, sets: Sequence[Object]) -> dict[str, int] | None:
    """Return the size of each active ReplicaSet after a change of ``replicas``; None if there is nothing to share out.

    Only for rolling updates with several active ReplicaSets; otherwise the rollout itself does it.
    """
    active = [s for s in sets if size_of(s)]
    limits = limits_of(deployment)
    recreate = (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"
    if len(active) < 2 or recreate or not any(_noted(s, DESIRED) not in {None, limits.replicas} for s in active):
        return None
    most = limits.most if limits.replicas else 0
    left = most - sum(map(size_of, active))
    # Larger ones first when growing, so that rounding favours what carries the load; newer ones first among equals.
    active.sort(key=lambda s: (size_of(s), s["metadata"].get("creationTimestamp") or ""), reverse=True)
    sizes = {str(s["metadata"]["name"]): size_of(s) for s in active}
    for replica_set in active:
        size = size_of(replica_set)
        share = _rounded(size * most, _noted(replica_set, MAXIMUM) or most or 1) - size
        change = max(0, min(share, left)) if left > 0 else min(0, max(share, left))
        sizes[replica_set["metadata"]["name"]] = size + change
        left -= change
    first = str(active[0]["metadata"]["name"])
    rest = max(left, -sizes[first])  # what rounding left over
    sizes[first] += rest
    left -= rest
    for name, size in sizes.items():
        cut = max(left, -size) if left < 0 else 0
        sizes[name] = size + cut
        left -= cut
    return sizes


def _rounded(number: int, by: int) -> int:
    return (2 * number + by) // (2 * by)


def _noted(replica_set: Object, annotation: str) -> int | None:
    text = (replica_set["metadata"].get("annotations") or {}).get(annotation, "")
    return int(text) if text.isdigit() else None

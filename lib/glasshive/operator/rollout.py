"""What a Deployment wants of its ReplicaSets next: sizes, revisions, status. Pure; ``deployment`` carries it out.

A step is computed from what is true now, so a rollout goes on wherever it was interrupted.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glasshive.kube.objects import Object, is_terminating, owner_reference
from glasshive.operator.clock import seconds_since
from glasshive.operator.conditions import with_condition

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = {"kubectl.kubernetes.io/last-applied-configuration", REVISION, DESIRED, MAXIMUM}
_HASH_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True)
class Limits:
    """How far a rolling update may leave the wanted size."""

    replicas: int
    surge: int
    unavailable: int

    @property
    def most(self) -> int:
        """Pods that may exist at most."""
        return self.replicas + self.surge

    @property
    def least(self) -> int:
        """Pods that must be available at least."""
        return self.replicas - self.unavailable


def limits_of(deployment: Object) -> Limits:
    """Return the limits: percentages count of the replicas, surge rounded up, unavailable down; never both 0."""
    spec = deployment["spec"]
    replicas = int(spec.get("replicas", 1))
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return Limits(replicas, 0, replicas)
    rolling = strategy.get("rollingUpdate") or {}
    surge = share(rolling.get("maxSurge", "25%"), replicas, up=True)
    unavailable = min(replicas, share(rolling.get("maxUnavailable", "25%"), replicas, up=False))
    if not surge and not unavailable:
        unavailable = min(1, replicas)
    return Limits(replicas, surge, unavailable)


def share(value: str | int, whole: int, *, up: bool) -> int:
    """Return a number, or a percentage of ``whole`` rounded up or down."""
    if isinstance(value, str) and value.endswith("%"):
        part = int(value[:-1]) * whole / 100
        return math.ceil(part) if up else math.floor(part)
    return int(value)


# -- templates and revisions


def template_hash(template: Object, collisions: int = 0) -> str:
    """Return the short name of a pod template; ``collisions`` changes it when the name is taken by something else."""
    text = json.dumps(template, sort_keys=True) + (str(collisions) if collisions else "")
    return short_name(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def short_name(number: int) -> str:
    """Return ten letters and digits for a hash, without vowels and look-alikes."""
    letters = ""
    for _ in range(10):
        number, digit = divmod(number, len(_HASH_ALPHABET))
        letters += _HASH_ALPHABET[digit]
    return letters


def same_template(deployment: Object, replica_set: Object) -> bool:
    """Tell whether a ReplicaSet was made from the Deployment's present template."""
    return _bare(deployment["spec"]["template"]) == _bare(replica_set["spec"]["template"])


def _bare(template: Object) -> Object:
    metadata = {k: v for k, v in (template.get("metadata") or {}).items() if v and k != "creationTimestamp"}
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH_LABEL}
    return {"metadata": metadata | {"labels": labels}, "spec": template["spec"]}


def current_of(deployment: Object, sets: Sequence[Object]) -> Object | None:
    """Return the ReplicaSet of the present template (the oldest, should there be several)."""
    fitting = [s for s in sets if same_template(deployment, s)]
    return min(
        fitting, key=lambda s: (s["metadata"].get("creationTimestamp") or "", s["metadata"]["name"]), default=None
    )


def revision_of(obj: Object) -> int:
    """Return the revision number of a ReplicaSet or Deployment, 0 if it has none."""
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "")
    return int(text) if text.isdigit() else 0


def new_replica_set(deployment: Object, size: int, revision: int) -> Object:
    """Return the ReplicaSet for the Deployment's present template."""
    meta, spec = deployment["metadata"], deployment["spec"]
    short = template_hash(spec["template"], int((deployment.get("status") or {}).get("collisionCount") or 0))
    template = copy.deepcopy(spec["template"])
    template.setdefault("metadata", {}).setdefault("labels", {})[HASH_LABEL] = short
    selector = copy.deepcopy(spec.get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: short}
    body: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{meta['name']}-{short}",
            "namespace": meta["namespace"],
            "labels": dict(template["metadata"]["labels"]),
            "annotations": annotations_for(deployment, revision),
            "ownerReferences": [owner_reference(deployment, "apps/v1", "Deployment")],
        },
        "spec": {"replicas": size, "selector": selector, "template": template},
    }
    if spec.get("minReadySeconds"):
        body["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return body


def annotations_for(deployment: Object, revision: int) -> dict[str, str]:
    """Return the annotations that the present ReplicaSet should have (``kubectl rollout history`` reads them)."""
    limits = limits_of(deployment)
    own = deployment["metadata"].get("annotations") or {}
    copied = {k: v for k, v in own.items() if k not in _NOT_COPIED}
    return copied | {REVISION: str(revision), DESIRED: str(limits.replicas), MAXIMUM: str(limits.most)}


# -- sizes


def size_of(replica_set: Object) -> int:
    """Return the size that a ReplicaSet is asked to have."""
    return int(replica_set["spec"].get("replicas", 1))


def _count(replica_set: Object, field: str) -> int:
    return int((replica_set.get("status") or {}).get(field) or 0)


def next_sizes(deployment: Object, current: Object | None, old: Sequence[Object]) -> dict[str, int]:
    """Return the sizes that ReplicaSets should have next, by name; only those that change.

    The present one appears under "" while it does not exist yet. Old ones may have pods that are not replaced yet.
    """
    limits = limits_of(deployment)
    spec = deployment["spec"]
    have = size_of(current) if current is not None else 0
    name = current["metadata"]["name"] if current is not None else ""
    sizes: dict[str, int] = {}
    if spec.get("paused"):
        # No rollout, but a lone ReplicaSet still follows the wanted size.
        active = [s for s in [*old, *([current] if current else [])] if size_of(s)]
        if len(active) == 1:
            sizes[active[0]["metadata"]["name"]] = limits.replicas
        elif not active and current is not None:
            sizes[name] = limits.replicas
    elif (spec.get("strategy") or {}).get("type") == "Recreate":
        sizes |= {s["metadata"]["name"]: 0 for s in old}
        if not any(size_of(s) or _count(s, "replicas") for s in old):
            sizes[name] = limits.replicas
    else:
        total = have + sum(map(size_of, old))
        wanted = min(limits.replicas, have + max(0, limits.most - total))
        sizes[name] = limits.replicas if have > limits.replicas else wanted
        sizes |= _shrink(limits, current, old)
    before = {s["metadata"]["name"]: size_of(s) for s in old} | {name: have if current is not None else -1}
    return {n: size for n, size in sizes.items() if before.get(n) != size}


def _shrink(limits: Limits, current: Object | None, old: Sequence[Object]) -> dict[str, int]:
    """Return smaller sizes for old ReplicaSets, such that enough pods stay available.

    Pods that are not available anyway go first: they hold nothing up.
    """
    everything = [*old, *([current] if current is not None else [])]
    size = sum(map(size_of, everything))
    waiting = max(0, size_of(current) - _count(current, "availableReplicas")) if current is not None else 0
    spare = max(0, size - limits.least - waiting)
    sizes: dict[str, int] = {}
    ordered = sorted(old, key=lambda s: s["metadata"].get("creationTimestamp") or "")
    for replica_set in ordered:  # unavailable ones
        unhealthy = max(0, size_of(replica_set) - _count(replica_set, "availableReplicas"))
        cut = min(unhealthy, spare)
        spare -= cut
        sizes[replica_set["metadata"]["name"]] = size_of(replica_set) - cut
    available = sum(_count(s, "availableReplicas") for s in everything)
    spare = min(spare, max(0, available - limits.least))
    for replica_set in ordered:
        name = replica_set["metadata"]["name"]
        cut = min(sizes[name], spare)
        spare -= cut
        sizes[name] -= cut
    return sizes


def outdated(deployment: Object, old: Sequence[Object]) -> list[Object]:
    """Return empty old ReplicaSets beyond ``revisionHistoryLimit``, oldest revision first."""
    limit = deployment["spec"].get("revisionHistoryLimit")
    limit = 10 if limit is None else int(limit)
    empty = [s for s in old if not size_of(s) and not _count(s, "replicas") and not is_terminating(s)]
    empty.sort(key=revision_of)
    return empty[: max(0, len(empty) - limit)]


# -- status


def status_of(deployment: Object, current: Object | None, old: Sequence[Object]) -> tuple[dict[str, Any], float | None]:
    """Return the status, and the seconds until the progress deadline has to be looked at again."""
    limits = limits_of(deployment)
    everything = [*old, *([current] if current is not None else [])]
    replicas, available = (sum(_count(s, f) for s in everything) for f in ("replicas", "availableReplicas"))
    updated = _count(current, "replicas") if current is not None else 0
    before: dict[str, Any] = deployment.get("status") or {}
    status: dict[str, Any] = {"observedGeneration": deployment["metadata"].get("generation", 0)}
    counts = {
        "replicas": replicas,
        "updatedReplicas": updated,
        "readyReplicas": sum(_count(s, "readyReplicas") for s in everything),
        "availableReplicas": available,
        "unavailableReplicas": max(0, max(limits.replicas, sum(map(size_of, everything))) - available),
    }
    status |= {name: count for name, count in counts.items() if count}
    if before.get("collisionCount"):
        status["collisionCount"] = before["collisionCount"]
    conditions = before.get("conditions") or []
    if available >= limits.least:
        conditions = with_condition(
            conditions, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.",
            update_time=True,
        )  # fmt: skip
    else:
        conditions = with_condition(
            conditions, "Available", "False", "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.", update_time=True,
        )  # fmt: skip
    complete = updated == limits.replicas == replicas == available
    conditions, wait = _progressing(deployment, current, conditions, before, status, complete=complete)
    status["conditions"] = conditions
    return status, wait


def _progressing(
    deployment: Object,
    current: Object | None,
    conditions: list[Object],
    before: dict[str, Any],
    status: dict[str, Any],
    *,
    complete: bool,
) -> tuple[list[Object], float | None]:
    deadline = int(deployment["spec"].get("progressDeadlineSeconds") or 600)
    subject = f'ReplicaSet "{current["metadata"]["name"]}"' if current is not None else "Deployment"
    known = next((c for c in conditions if c.get("type") == "Progressing"), None)

    def say(state: str, reason: str, text: str, *, touch: bool = False) -> list[Object]:
        return with_condition(conditions, "Progressing", state, reason, text, update_time=True, touch=touch)

    if complete:
        return say("True", "NewReplicaSetAvailable", f"{subject} has successfully progressed."), None
    if deployment["spec"].get("paused"):
        return say("Unknown", "DeploymentPaused", "Deployment is paused"), None
    counted = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    moved = any(before.get(f, 0) != status.get(f, 0) for f in counted)
    new_wish = before.get("observedGeneration") != status["observedGeneration"]
    finished = known is not None and known.get("reason") == "NewReplicaSetAvailable"
    if known is None or known.get("status") == "Unknown" or moved or new_wish or finished:
        # Progress renews the deadline even where the text stays the same.
        return say("True", "ReplicaSetUpdated", f"{subject} is progressing.", touch=moved), float(deadline)
    left = deadline - seconds_since(known.get("lastUpdateTime"))
    if left > 0:
        return conditions, left
    return say("False", "ProgressDeadlineExceeded", f"{subject} has timed out progressing."), None

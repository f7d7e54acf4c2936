"""What a StatefulSet wants next: pods by ordinal, one after the other or all at once. Pure; ``stateful_set`` acts.

A pod keeps its name for life, so there is never a second pod of an ordinal before the first is really gone. With
``OrderedReady`` nothing happens to the next ordinal before this one is available; updates go from the highest ordinal
down in both modes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from glasshive.kube.objects import Object, is_terminating, labels_of
from glasshive.operator.pods import from_template, is_finished, is_ready, seconds_until_available
from glasshive.operator.revisions import HASH_LABEL, name_of
from glasshive.operator.rollout import share

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"


@dataclass
class Plan:
    """Ordinals to make with the name of their revision, and pods to delete."""

    create: list[tuple[int, str]] = field(default_factory=list)
    remove: list[Object] = field(default_factory=list)
    wait: float | None = None
    """Seconds after which a pod becomes available if it stays ready."""


def ordinal_of(stateful_set: Object, pod: Object) -> int | None:
    """Return the ordinal in the pod's name, None if it is not a name that this set gives."""
    head, dash, number = str(pod["metadata"]["name"]).rpartition("-")
    good = dash and head == stateful_set["metadata"]["name"] and number.isdigit() and str(int(number)) == number
    return int(number) if good else None


def ordinals(stateful_set: Object) -> range:
    """Return the ordinals that should exist."""
    spec = stateful_set["spec"]
    start = int((spec.get("ordinals") or {}).get("start") or 0)
    return range(start, start + int(spec.get("replicas", 1)))


def plan(stateful_set: Object, pods: Sequence[Object], current: str, update: str, now: datetime | None = None) -> Plan:
    """Compare a StatefulSet with its pods; ``current`` and ``update`` are names of revisions."""
    now = now or datetime.now(UTC)
    spec, wanted, todo = stateful_set["spec"], ordinals(stateful_set), Plan()
    in_order = spec.get("podManagementPolicy") != "Parallel"
    by_ordinal = {n: pod for pod in pods if (n := ordinal_of(stateful_set, pod)) is not None}
    settled = True
    for number in wanted:
        pod = by_ordinal.get(number)
        if pod is not None and is_finished(pod) and not is_terminating(pod):
            todo.remove.append(pod)  # the name is free when it is gone
        elif pod is None:
            todo.create.append((number, _revision_for(spec, number, current, update)))
        if pod is None or not _available(todo, spec, pod, now):
            settled = False
            if in_order:
                return todo
    condemned = [by_ordinal[n] for n in sorted(by_ordinal.keys() - set(wanted), reverse=True)]
    leaving = [pod for pod in condemned if not is_terminating(pod)]
    if in_order and condemned:
        # One at a time: the next one when this one is gone.
        todo.remove += [] if is_terminating(condemned[0]) else condemned[:1]
        return todo
    todo.remove += leaving
    if settled or not in_order:
        todo.remove += _outdated(stateful_set, by_ordinal, update, todo, now)
    return todo


def _available(todo: Plan, spec: Object, pod: Object, now: datetime) -> bool:
    """Tell whether the pod counts as there; note when it will if only time is missing."""
    left = seconds_until_available(pod, int(spec.get("minReadySeconds") or 0), now)
    if left:
        todo.wait = left if todo.wait is None else min(todo.wait, left)
    return left == 0 and not is_terminating(pod) and not is_finished(pod)


def _revision_for(spec: Object, number: int, current: str, update: str) -> str:
    """Return the revision that a new pod gets: below the partition the one that is being left."""
    return current if number < _partition(spec) else update


def _partition(spec: Object) -> int:
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return 0
    return int((strategy.get("rollingUpdate") or {}).get("partition") or 0)


def _outdated(
    stateful_set: Object, by_ordinal: dict[int, Object], update: str, todo: Plan, now: datetime
) -> list[Object]:
    """Return the pods that a rolling update replaces now: from the highest ordinal, as many as may be missing."""
    spec = stateful_set["spec"]
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    wanted = ordinals(stateful_set)
    allowed = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1)
    room = max(1, share(allowed, len(wanted), up=True))
    chosen: list[Object] = []
    for number in reversed(wanted):
        pod = by_ordinal.get(number)
        if room <= 0 or number < _partition(spec):
            break
        if pod is None:
            room -= 1
        elif pod in todo.remove or not _available(todo, spec, pod, now):
            room -= 1
            if revision_of(pod) != update and not is_terminating(pod) and pod not in todo.remove:
                chosen.append(pod)
        elif revision_of(pod) != update:
            room -= 1
            chosen.append(pod)
    return chosen


def revision_of(pod: Object) -> str:
    """Return the name of the revision that a pod was made from."""
    return labels_of(pod).get(HASH_LABEL, "")


def pod_for(stateful_set: Object, template: Object, number: int, revision: str) -> Object:
    """Return the pod of an ordinal."""
    pod = from_template(stateful_set, "apps/v1", "StatefulSet", template)
    name = f"{stateful_set['metadata']['name']}-{number}"
    del pod["metadata"]["generateName"]
    pod["metadata"]["name"] = name
    pod["metadata"]["labels"] |= {POD_NAME: name, POD_INDEX: str(number), HASH_LABEL: revision}
    pod["spec"]["hostname"] = name
    if stateful_set["spec"].get("serviceName"):
        pod["spec"]["subdomain"] = stateful_set["spec"]["serviceName"]
    claims = stateful_set["spec"].get("volumeClaimTemplates") or ()
    if claims:
        own = {claim["metadata"]["name"] for claim in claims}
        kept = [v for v in pod["spec"].get("volumes") or () if v["name"] not in own]
        mounted = [{"name": c, "persistentVolumeClaim": {"claimName": claim_name(c, pod)}} for c in sorted(own)]
        pod["spec"]["volumes"] = kept + mounted
    return pod


def claim_name(claim: str, pod: Object) -> str:
    """Return the name of a pod's PersistentVolumeClaim made from a template."""
    return f"{claim}-{pod['metadata']['name']}"


def claims_for(stateful_set: Object, pod: Object) -> list[Object]:
    """Return the PersistentVolumeClaims that a pod mounts; they outlive it."""
    claims = []
    for given in stateful_set["spec"].get("volumeClaimTemplates") or ():
        claim = copy.deepcopy(given)
        claim |= {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        claim.pop("status", None)
        meta = given["metadata"]
        labels = (meta.get("labels") or {}) | (stateful_set["spec"]["selector"].get("matchLabels") or {})
        claim["metadata"] = {
            "name": claim_name(meta["name"], pod),
            "namespace": stateful_set["metadata"]["namespace"],
            "labels": labels,
            "annotations": dict(meta.get("annotations") or {}),
        }
        claims.append(claim)
    return claims


def status_of(stateful_set: Object, pods: Sequence[Object], update: str) -> dict[str, Any]:
    """Return the status; a finished update makes its revision the current one."""
    spec = stateful_set["spec"]
    before: dict[str, Any] = stateful_set.get("status") or {}
    wanted = ordinals(stateful_set)
    there = [p for p in pods if not is_finished(p)]
    live = [p for p in there if not is_terminating(p)]
    ready = [p for p in live if is_ready(p)]
    updated = [p for p in live if revision_of(p) == update and ordinal_of(stateful_set, p) in wanted]
    current = before.get("currentRevision") or update
    if len(updated) == len(wanted) == len(there) and all(is_ready(p) for p in updated):
        current = update
    status: dict[str, Any] = {
        "observedGeneration": stateful_set["metadata"].get("generation", 0),
        "replicas": len(there),
        "availableReplicas": sum(seconds_until_available(p, int(spec.get("minReadySeconds") or 0)) == 0 for p in live),
        "currentRevision": current,
        "updateRevision": update,
    }
    counts = {
        "readyReplicas": len(ready),
        "currentReplicas": sum(revision_of(p) == current for p in live),
        "updatedReplicas": len(updated),
    }
    status |= {name: count for name, count in counts.items() if count}
    if before.get("collisionCount"):
        status["collisionCount"] = before["collisionCount"]
    return status


def first_revision(stateful_set: Object, update: Object) -> str:
    """Return the name of the revision that is being left; the newest one if the set is new."""
    status = stateful_set.get("status") or {}
    return str(status.get("currentRevision") or name_of(stateful_set, labels_of(update)[HASH_LABEL]))

"""Pods as controllers see them: ready, available, finished; made from a template; which to remove first. Pure."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime

from glasshive.kube.objects import Object, is_terminating, owner_reference, uid_of
from glasshive.operator.clock import seconds_since

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # no vowels and no look-alikes, so that no words and no misreadings arise


def phase(pod: Object) -> str:
    """Return Pending, Running, Succeeded, Failed or Unknown."""
    return (pod.get("status") or {}).get("phase") or "Pending"


def is_finished(pod: Object) -> bool:
    """Tell whether all containers ended for good."""
    return phase(pod) in {"Succeeded", "Failed"}


def is_active(pod: Object) -> bool:
    """Tell whether the pod counts as a replica: neither finished nor on its way out."""
    return not is_finished(pod) and not is_terminating(pod)


def condition(obj: Object, kind: str) -> Object | None:
    """Return the status condition of that type."""
    for entry in (obj.get("status") or {}).get("conditions") or ():
        if entry.get("type") == kind:
            return entry  # type: ignore[no-any-return]
    return None


def is_ready(pod: Object) -> bool:
    """Tell whether the pod's Ready condition is true."""
    entry = condition(pod, "Ready")
    return entry is not None and entry.get("status") == "True"


def seconds_until_available(pod: Object, min_ready_seconds: int, now: datetime | None = None) -> float | None:
    """Return 0 if the pod is available, the seconds until it will be if it stays ready, None if it is not ready."""
    entry = condition(pod, "Ready")
    if entry is None or entry.get("status") != "True":
        return None
    if not min_ready_seconds:
        return 0.0
    return max(0.0, min_ready_seconds - seconds_since(entry.get("lastTransitionTime"), now))


def random_name(prefix: str, limit: int = 63) -> str:
    """Return ``prefix`` with a random ending; the prefix is shortened so that the name fits."""
    return prefix[: limit - 5] + "".join(secrets.choice(_SUFFIX) for _ in range(5))


def from_template(owner: Object, api_version: str, kind: str, template: Object) -> Object:
    """Return a pod as ``owner`` (a ReplicaSet, DaemonSet, Job) asks for."""
    given = template.get("metadata") or {}
    metadata: Object = {
        "generateName": owner["metadata"]["name"] + "-",
        "name": random_name(owner["metadata"]["name"] + "-"),
        "namespace": owner["metadata"]["namespace"],
        "labels": dict(given.get("labels") or {}),
        "ownerReferences": [owner_reference(owner, api_version, kind)],
    }
    for field in ("annotations", "finalizers"):
        if given.get(field):
            metadata[field] = copy.deepcopy(given[field])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}


def removal_order(pods: Iterable[Object]) -> list[Object]:
    """Return pods in the order in which a scale-down removes them.

    First what is least useful: unassigned, pending, not ready, low deletion cost; then from nodes with most siblings;
    then the youngest.
    """
    candidates = list(pods)
    siblings: dict[str, int] = {}
    for pod in candidates:
        node = pod["spec"].get("nodeName") or ""
        siblings[node] = siblings.get(node, 0) + 1

    def rank(pod: Object) -> tuple[object, ...]:
        node = pod["spec"].get("nodeName") or ""
        annotations = pod["metadata"].get("annotations") or {}
        cost = annotations.get("controller.kubernetes.io/pod-deletion-cost", "0")
        born = pod["metadata"].get("creationTimestamp") or datetime.now(UTC).isoformat()
        return (
            bool(node),
            phase(pod) != "Pending",
            is_ready(pod),
            int(cost) if cost.lstrip("-").isdigit() else 0,
            -siblings[node],
            -datetime.fromisoformat(born).timestamp(),
            uid_of(pod),
        )

    return sorted(candidates, key=rank)

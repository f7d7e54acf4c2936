"""Kubernetes objects -> the short values that status lines, tables and pictures show. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from glasshive.model.cluster import NodeStatus, PodStatus

Object = dict[str, Any]


def condition(obj: Object, kind: str) -> Object | None:
    """Return the object's status condition of that type."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == kind), None)


def is_true(obj: Object, kind: str) -> bool:
    """Whether the condition of that type is there and True."""
    found = condition(obj, kind)
    return found is not None and found.get("status") == "True"


def pod_status(pod: Object) -> PodStatus:
    """One pod in short."""
    status = pod.get("status") or {}
    containers = status.get("containerStatuses") or ()
    addresses = [one["ip"] for one in status.get("podIPs") or ()] or ([status["podIP"]] if status.get("podIP") else [])
    return PodStatus(
        name=pod["metadata"]["name"],
        namespace=pod["metadata"].get("namespace", ""),
        node=(pod.get("spec") or {}).get("nodeName", ""),
        state=_pod_state(pod),
        ready=is_true(pod, "Ready"),
        addresses=tuple(addresses),
        restarts=sum(int(one.get("restartCount", 0)) for one in containers),
        labels=dict(pod["metadata"].get("labels") or {}),
    )


def _pod_state(pod: Object) -> str:
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = pod.get("status") or {}
    for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in {"ContainerCreating", "PodInitializing"}:
            return str(waiting["reason"])
    return str(status.get("reason") or status.get("phase") or "Unknown")


def node_status(node: Object, pods: Iterable[PodStatus]) -> NodeStatus:
    """One node in short, with the number of its pods."""
    ready = condition(node, "Ready") or {}
    name = node["metadata"]["name"]
    spec = node.get("spec") or {}
    cidrs = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    addresses = (node.get("status") or {}).get("addresses") or ()
    is_ready = ready.get("status") == "True"
    return NodeStatus(
        name=name,
        ready=is_ready,
        reason="" if is_ready else str(ready.get("message") or ready.get("reason") or "not reported yet"),
        addresses=tuple(one["address"] for one in addresses if one.get("type") == "InternalIP"),
        pod_cidrs=tuple(cidrs),
        pods=sum(1 for pod in pods if pod.node == name),
    )


def natural_order(node: NodeStatus) -> tuple[str, int]:
    """Sort key that puts node10 after node9."""
    stem = node.name.rstrip("0123456789")
    return stem, int(node.name[len(stem) :] or 0)


def deployment_ready(obj: Object) -> bool:
    """Whether the newest generation has all its replicas, ready (Deployment, ReplicaSet, StatefulSet)."""
    wanted = int((obj.get("spec") or {}).get("replicas", 1))
    status = obj.get("status") or {}
    return _observed(obj) and int(status.get("readyReplicas") or 0) >= wanted


def daemon_set_ready(obj: Object) -> bool:
    """Whether a DaemonSet has a ready pod on every node it wants one on."""
    status = obj.get("status") or {}
    wanted = int(status.get("desiredNumberScheduled") or 0)
    return _observed(obj) and wanted > 0 and int(status.get("numberReady") or 0) >= wanted


def pod_ready(obj: Object) -> bool:
    """Whether a pod is ready or has done its work."""
    return is_true(obj, "Ready") or (obj.get("status") or {}).get("phase") == "Succeeded"


def job_done(obj: Object) -> bool:
    """Whether a Job is complete."""
    return is_true(obj, "Complete")


def _observed(obj: Object) -> bool:
    status = obj.get("status") or {}
    return int(status.get("observedGeneration") or 0) >= int(obj["metadata"].get("generation") or 0)


WORKLOAD_READY: dict[str, Callable[[Object], bool]] = {
    "Deployment": deployment_ready,
    "ReplicaSet": deployment_ready,
    "StatefulSet": deployment_ready,
    "DaemonSet": daemon_set_ready,
    "Pod": pod_ready,
    "Job": job_done,
}
"""Kinds that ``up --apply`` waits for."""

"""What creators and updaters of a kind cannot say for themselves."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]


def _pod(obj: Object) -> None:
    obj["status"] = {"phase": "Pending"}
    qos = qos_class(obj.get("spec") or {})
    obj["status"]["qosClass"] = qos


def qos_class(spec: Object) -> str:
    """BestEffort, Burstable or Guaranteed, from the containers' cpu and memory requests and limits."""
    containers = [c for c in (spec.get("containers") or []) + (spec.get("initContainers") or []) if isinstance(c, dict)]
    said, complete = False, bool(containers)
    for container in containers:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            said = said or name in requests or name in limits
            complete = complete and name in limits and requests.get(name, limits[name]) == limits[name]
    if not said:
        return "BestEffort"
    return "Guaranteed" if complete else "Burstable"


def _namespace(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    finalizers = spec.get("finalizers") or []
    spec["finalizers"] = finalizers if "kubernetes" in finalizers else [*finalizers, "kubernetes"]
    obj["status"] = {"phase": "Active"}
    # Selectors find a namespace by name through this label.
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")


def _namespace_kept(obj: Object, old: Object) -> None:
    # Only the finalize subresource changes spec.finalizers.
    obj.setdefault("spec", {})["finalizers"] = (old.get("spec") or {}).get("finalizers") or []
    obj["metadata"].setdefault("labels", {}).setdefault("kubernetes.io/metadata.name", obj["metadata"]["name"])


def _secret(obj: Object) -> None:
    texts = obj.pop("stringData", None)
    if isinstance(texts, dict) and texts:
        data = obj["data"] if isinstance(obj.get("data"), dict) else {}
        obj["data"] = data | {k: base64.b64encode(str(v).encode()).decode() for k, v in texts.items()}


def _no_status(obj: Object) -> None:
    obj.pop("status", None)


def _empty_status(obj: Object) -> None:
    obj["status"] = {}


def _service(obj: Object) -> None:
    obj["status"] = {"loadBalancer": {}}


def _service_kept(obj: Object, old: Object) -> None:
    """Drop what only made sense for the type that the Service had: a change of type need not name it."""
    spec, before = obj.get("spec"), old.get("spec") or {}
    if not isinstance(spec, dict) or spec.get("type") == before.get("type"):
        return
    gone = [] if spec.get("type") == "LoadBalancer" else ["allocateLoadBalancerNodePorts", "loadBalancerClass"]
    if spec.get("type") not in {"NodePort", "LoadBalancer"}:
        gone.append("externalTrafficPolicy")
    for name in gone:
        if name in spec and spec[name] == before.get(name):
            del spec[name]


CREATE: dict[str, Callable[[Object], None]] = {
    "pods": _pod,
    "namespaces": _namespace,
    "secrets": _secret,
    "services": _service,
    "persistentvolumeclaims": lambda obj: obj.update(status={"phase": "Pending"}),
    "persistentvolumes": lambda obj: obj.update(status={"phase": "Available"}),
    "replicationcontrollers": lambda obj: obj.update(status={"replicas": 0}),
    "replicasets.apps": lambda obj: obj.update(status={"replicas": 0}),
    "deployments.apps": _empty_status,
    "statefulsets.apps": lambda obj: obj.update(status={"replicas": 0, "availableReplicas": 0}),
    "daemonsets.apps": lambda obj: obj.update(
        status={"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0}
    ),
    "jobs.batch": _empty_status,
    "cronjobs.batch": _empty_status,
    "ingresses.networking.k8s.io": lambda obj: obj.update(status={"loadBalancer": {}}),
    "poddisruptionbudgets.policy": lambda obj: obj.update(
        status={"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}
    ),
    "horizontalpodautoscalers.autoscaling": _no_status,
    "resourcequotas": _empty_status,
}

UPDATE: dict[str, Callable[[Object, Object], None]] = {
    "namespaces": _namespace_kept,
    "secrets": lambda obj, _: _secret(obj),
    "services": _service_kept,
}

"""Which fields of built-in kinds a field selector may ask for, beside ``metadata.name`` and ``metadata.namespace``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
Extract = Callable[[Object], dict[str, str]]


def _text(value: Any) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    return "" if value is None else str(value)


def by_paths(*paths: str) -> Extract:
    """A function that reads these dotted paths of an object as text ("" where there is nothing)."""
    split = [(path, path.split(".")) for path in paths]

    def extract(obj: Object) -> dict[str, str]:
        found = {}
        for path, parts in split:
            value: Any = obj
            for part in parts:
                value = value.get(part) if isinstance(value, dict) else None
            found[path] = _text(value)
        return found

    return extract


_EVENT_OBJECT = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def _event(obj: Object) -> dict[str, str]:
    about = obj.get("involvedObject") or {}
    found = {f"involvedObject.{name}": _text(about.get(name)) for name in _EVENT_OBJECT}
    found |= {f"regarding.{name}": found[f"involvedObject.{name}"] for name in _EVENT_OBJECT}
    controller = _text(obj.get("reportingComponent"))
    found["source"] = _text((obj.get("source") or {}).get("component")) or controller
    found["reportingComponent"] = found["reportingController"] = controller
    found["reason"], found["type"] = _text(obj.get("reason")), _text(obj.get("type"))
    return found


def _pod(obj: Object) -> dict[str, str]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return {
        "spec.nodeName": spec.get("nodeName") or "",
        "spec.restartPolicy": spec.get("restartPolicy") or "",
        "spec.schedulerName": spec.get("schedulerName") or "",
        "spec.serviceAccountName": spec.get("serviceAccountName") or "",
        "spec.hostNetwork": _text(bool(spec.get("hostNetwork"))),
        "status.phase": status.get("phase") or "",
        "status.podIP": status.get("podIP") or "",
        "status.nominatedNodeName": status.get("nominatedNodeName") or "",
    }


def _node(obj: Object) -> dict[str, str]:
    return {"spec.unschedulable": _text(bool((obj.get("spec") or {}).get("unschedulable")))}


_EXTRACT: dict[str, Extract] = {
    "pods": _pod,
    "nodes": _node,
    "events": _event,
    "events.events.k8s.io": _event,
    "namespaces": by_paths("status.phase"),
    "secrets": by_paths("type"),
    "services": by_paths("spec.clusterIP", "spec.type"),
    "replicationcontrollers": by_paths("status.replicas"),
    "replicasets.apps": by_paths("status.replicas"),
    "jobs.batch": by_paths("status.successful"),
}

#: Per resource: the function that reads the selectable fields, and their names.
FIELDS: dict[str, tuple[Extract, frozenset[str]]] = {
    name: (extract, frozenset(extract({}))) for name, extract in _EXTRACT.items()
}

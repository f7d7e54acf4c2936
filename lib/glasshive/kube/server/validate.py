"""Validation per kind: faults that name the field, in the words of `status`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from . import crd, validate_net, validate_pod, validate_workload
from .status import FieldError, bad_value, forbidden_field
from .validate_workload import not_negative

Object = dict[str, Any]
Validator = Callable[[Object, Object | None], list[FieldError]]
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


def _data(obj: Object, old: Object | None) -> list[FieldError]:
    """Faults of a ConfigMap or Secret: keys, and what an immutable one may not change."""
    found = []
    for field in ("data", "binaryData"):
        for key in obj.get(field) or {}:
            if not _DATA_KEY.fullmatch(key) or key in {".", ".."}:
                text = "a key consists of letters, digits, '-', '_' or '.'"
                found.append(bad_value(f"{field}[{key}]", key, text))
    if old is not None and old.get("immutable"):
        if not obj.get("immutable"):
            found.append(forbidden_field("immutable", "field is immutable when `immutable` is set"))
        found += [
            forbidden_field(field, "field is immutable when `immutable` is set")
            for field in ("data", "binaryData")
            if (obj.get(field) or {}) != (old.get(field) or {})
        ]
    return found


def _secret(obj: Object, old: Object | None) -> list[FieldError]:
    found = _data(obj, old)
    if old is not None and obj.get("type") != old.get("type"):
        found.append(bad_value("type", obj.get("type"), "field is immutable"))
    return found


def _binding(obj: Object, old: Object | None) -> list[FieldError]:
    if old is not None and obj.get("roleRef") != old.get("roleRef"):
        return [bad_value("roleRef", obj.get("roleRef"), "cannot change roleRef")]
    return []


def _node(obj: Object, old: Object | None) -> list[FieldError]:
    before = ((old or {}).get("spec") or {}).get("podCIDRs")
    now = (obj.get("spec") or {}).get("podCIDRs")
    if before and now != before:
        return [forbidden_field("spec.podCIDRs", "may not be changed once it is set")]
    return []


VALIDATORS: dict[str, Validator] = {
    "pods": validate_pod.errors,
    "nodes": _node,
    "services": validate_net.service,
    "endpoints": validate_net.endpoints,
    "endpointslices.discovery.k8s.io": validate_net.endpoint_slice,
    "networkpolicies.networking.k8s.io": validate_net.network_policy,
    "ingresses.networking.k8s.io": validate_net.ingress,
    "configmaps": _data,
    "secrets": _secret,
    "replicationcontrollers": lambda obj, _: not_negative(obj.get("spec") or {}, "replicas"),
    "deployments.apps": validate_workload.deployment,
    "replicasets.apps": validate_workload.replica_set,
    "daemonsets.apps": validate_workload.daemon_set,
    "statefulsets.apps": validate_workload.stateful_set,
    "jobs.batch": validate_workload.job,
    "cronjobs.batch": validate_workload.cron_job,
    "rolebindings.rbac.authorization.k8s.io": _binding,
    "clusterrolebindings.rbac.authorization.k8s.io": _binding,
    "customresourcedefinitions.apiextensions.k8s.io": crd.errors,
}

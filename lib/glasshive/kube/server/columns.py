"""Columns of kubectl's tables, per kind: names as upstream prints them, cells from the object alone.

A kind's entry is a list of `Column`; ``priority`` 1 is shown with ``-o wide`` only. Pods and events have a module and a
function of their own, because their cells take several fields together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from glasshive.api.selectors import of_label_selector, to_text

from .columns_net import ENDPOINT_SLICE, ENDPOINTS, INGRESS, SERVICE
from .columns_pod import POD
from .jsonpath import text_at
from .tables import Column, age, age_column, at, name_column, span

if TYPE_CHECKING:
    from .registry import Served

Object = dict[str, Any]
Cells = Callable[[Object, datetime], list[Any]]

_NONE = "<none>"


def _count(obj: Object, field: str) -> int:
    return len(obj.get(field) or {})


def _selector(obj: Object, _: datetime) -> str:
    selector = at(obj, "spec.selector")
    return to_text(of_label_selector(selector)) or _NONE


def _plain_selector(obj: Object, _: datetime) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted((at(obj, "spec.selector") or {}).items())) or _NONE


def _containers(path: str = "spec.template.spec.containers") -> list[Column]:
    def of(field: str) -> Callable[[Object, datetime], str]:
        return lambda obj, _: ",".join(c.get(field, "") for c in at(obj, path) or [])

    return [Column("Containers", of("name"), wide=True), Column("Images", of("image"), wide=True)]


def _number(name: str, path: str) -> Column:
    return Column(name, lambda obj, _: at(obj, path) or 0, kind="integer")


def _text(name: str, path: str, default: str = _NONE, *, wide: bool = False) -> Column:
    def cell(obj: Object, _: datetime) -> str:
        value = at(obj, path)
        if isinstance(value, bool):
            return str(value)
        return default if value in (None, "") else str(value)

    return Column(name, cell, wide=wide)


def _ready_of(wanted: str) -> Column:
    return Column("Ready", lambda obj, _: f"{at(obj, 'status.readyReplicas') or 0}/{at(obj, wanted) or 0}")


_TEMPLATE = [*_containers(), Column("Selector", _selector, wide=True)]
_CREATED = Column("Created At", lambda obj, _: obj["metadata"].get("creationTimestamp", ""), form="date")


def _node_status(obj: Object, _: datetime) -> str:
    words = [
        ("" if c.get("status") == "True" else "Not") + "Ready"
        for c in at(obj, "status.conditions") or []
        if c.get("type") == "Ready"
    ] or ["Unknown"]
    if at(obj, "spec.unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(obj: Object, _: datetime) -> str:
    labels = obj["metadata"].get("labels") or {}
    prefix = "node-role.kubernetes.io/"
    roles = {key.removeprefix(prefix) for key in labels if key.startswith(prefix)}
    return ",".join(sorted(roles - {""})) or _NONE


def _node_address(kind: str) -> Callable[[Object, datetime], str]:
    def cell(obj: Object, _: datetime) -> str:
        return next((a["address"] for a in at(obj, "status.addresses") or [] if a.get("type") == kind), _NONE)

    return cell


def _job_status(obj: Object, _: datetime) -> str:
    for condition in at(obj, "status.conditions") or []:
        if condition.get("status") == "True" and condition.get("type") in {"Complete", "Failed", "Suspended"}:
            return str(condition["type"])
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else "Running"


def _completions(obj: Object, _: datetime) -> str:
    done, wanted, parallel = (at(obj, p) or 0 for p in ("status.succeeded", "spec.completions", "spec.parallelism"))
    if at(obj, "spec.completions") is None:
        return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"
    return f"{done}/{wanted}"


def _duration(obj: Object, now: datetime) -> str:
    start, end = at(obj, "status.startTime"), at(obj, "status.completionTime")
    if not start:
        return ""
    last = datetime.fromisoformat(end) if end else now
    return span(int((last - datetime.fromisoformat(start)).total_seconds()))


def _last_schedule(obj: Object, now: datetime) -> str:
    when = at(obj, "status.lastScheduleTime")
    return age(when, now) if when else _NONE


def _controller(obj: Object, _: datetime) -> str:
    owners = [o for o in at(obj, "metadata.ownerReferences") or [] if o.get("controller")]
    return f"{owners[0]['kind'].lower()}/{owners[0]['name']}" if owners else _NONE


def _node_selector(obj: Object, _: datetime) -> str:
    selector = at(obj, "spec.template.spec.nodeSelector") or {}
    return ",".join(f"{k}={v}" for k, v in sorted(selector.items())) or _NONE


def _event_object(obj: Object, _: datetime) -> str:
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _event_seen(*paths: str) -> Callable[[Object, datetime], str]:
    def cell(obj: Object, now: datetime) -> str:
        return age(next((value for path in paths if (value := at(obj, path))), None), now)

    return cell


def _event_source(obj: Object, _: datetime) -> str:
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    controller = obj.get("reportingComponent") or obj.get("reportingController") or ""
    return ", ".join(part for part in (source.get("component") or controller, source.get("host")) if part)


def _first(*paths: str, default: Any = "") -> Callable[[Object, datetime], Any]:
    return lambda obj, _: next((value for path in paths if (value := at(obj, path)) not in (None, "")), default)


_LAST = ("series.lastObservedTime", "lastTimestamp", "deprecatedLastTimestamp", "eventTime")
_EVENT = [
    Column("Last Seen", _event_seen(*_LAST, "firstTimestamp", "metadata.creationTimestamp")),
    Column("Type", _first("type")),
    Column("Reason", _first("reason")),
    Column("Object", _event_object),
    Column("Subobject", _first("involvedObject.fieldPath", "regarding.fieldPath"), wide=True),
    Column("Source", _event_source, wide=True),
    Column("Message", lambda obj, _: str(obj.get("message") or obj.get("note") or "").strip()),
    Column("First Seen", _event_seen("firstTimestamp", "deprecatedFirstTimestamp", "eventTime"), wide=True),
    Column("Count", _first("series.count", "count", "deprecatedCount", default=1), kind="integer", wide=True),
    Column("Name", lambda obj, _: obj["metadata"]["name"], wide=True, form="name"),
]


def _subjects(kind: str) -> Callable[[Object, datetime], str]:
    def cell(obj: Object, _: datetime) -> str:
        chosen = [s for s in obj.get("subjects") or [] if s.get("kind") == kind]
        return ", ".join(f"{s['namespace']}/{s['name']}" if s.get("namespace") else s["name"] for s in chosen)

    return cell


_BINDING = [
    name_column(), Column("Role", lambda obj, _: f"{at(obj, 'roleRef.kind')}/{at(obj, 'roleRef.name')}"), age_column(),
    Column("Users", _subjects("User"), wide=True), Column("Groups", _subjects("Group"), wide=True),
    Column("ServiceAccounts", _subjects("ServiceAccount"), wide=True),
]  # fmt: skip


def _policy_selector(obj: Object, _: datetime) -> str:
    return to_text(of_label_selector(at(obj, "spec.podSelector"))) or _NONE


def _autoscaler_reference(obj: Object, _: datetime) -> str:
    return f"{at(obj, 'spec.scaleTargetRef.kind')}/{at(obj, 'spec.scaleTargetRef.name')}"


_COLUMNS: dict[str, list[Column]] = {
    "pods": POD,
    "services": SERVICE,
    "endpoints": ENDPOINTS,
    "endpointslices.discovery.k8s.io": ENDPOINT_SLICE,
    "ingresses.networking.k8s.io": INGRESS,
    "events": _EVENT,
    "events.events.k8s.io": _EVENT,
    "namespaces": [name_column(), _text("Status", "status.phase", ""), age_column()],
    "configmaps": [
        name_column(),
        Column("Data", lambda obj, _: _count(obj, "data") + _count(obj, "binaryData"), kind="integer"), age_column(),
    ],
    "secrets": [
        name_column(), _text("Type", "type", ""), Column("Data", lambda obj, _: _count(obj, "data"), kind="integer"),
        age_column(),
    ],
    "serviceaccounts": [
        name_column(), Column("Secrets", lambda obj, _: _count(obj, "secrets"), kind="integer"), age_column(),
    ],
    "nodes": [
        name_column(), Column("Status", _node_status), Column("Roles", _node_roles), age_column(),
        _text("Version", "status.nodeInfo.kubeletVersion", ""),
        Column("Internal-IP", _node_address("InternalIP"), wide=True),
        Column("External-IP", _node_address("ExternalIP"), wide=True),
        _text("OS-Image", "status.nodeInfo.osImage", "<unknown>", wide=True),
        _text("Kernel-Version", "status.nodeInfo.kernelVersion", "<unknown>", wide=True),
        _text("Container-Runtime", "status.nodeInfo.containerRuntimeVersion", "<unknown>", wide=True),
    ],
    "deployments.apps": [
        name_column(), _ready_of("spec.replicas"), _number("Up-to-date", "status.updatedReplicas"),
        _number("Available", "status.availableReplicas"), age_column(), *_TEMPLATE,
    ],
    "replicasets.apps": [
        name_column(), _number("Desired", "spec.replicas"), _number("Current", "status.replicas"),
        _number("Ready", "status.readyReplicas"), age_column(), *_TEMPLATE,
    ],
    "replicationcontrollers": [
        name_column(), _number("Desired", "spec.replicas"), _number("Current", "status.replicas"),
        _number("Ready", "status.readyReplicas"), age_column(), *_containers(),
        Column("Selector", _plain_selector, wide=True),
    ],
    "daemonsets.apps": [
        name_column(), _number("Desired", "status.desiredNumberScheduled"),
        _number("Current", "status.currentNumberScheduled"), _number("Ready", "status.numberReady"),
        _number("Up-to-date", "status.updatedNumberScheduled"), _number("Available", "status.numberAvailable"),
        Column("Node Selector", _node_selector),
        age_column(), *_TEMPLATE,
    ],
    "statefulsets.apps": [name_column(), _ready_of("spec.replicas"), age_column(), *_containers()],
    "jobs.batch": [
        name_column(), Column("Status", _job_status), Column("Completions", _completions),
        Column("Duration", _duration), age_column(), *_TEMPLATE,
    ],
    "cronjobs.batch": [
        name_column(), _text("Schedule", "spec.schedule", ""), _text("Timezone", "spec.timeZone"),
        _text("Suspend", "spec.suspend", "False"),
        Column("Active", lambda obj, _: len(at(obj, "status.active") or []), kind="integer"),
        Column("Last Schedule", _last_schedule),
        age_column(), *_containers("spec.jobTemplate.spec.template.spec.containers"),
    ],
    "controllerrevisions.apps": [
        name_column(),
        Column("Controller", _controller),
        _number("Revision", "revision"), age_column(),
    ],
    "ingressclasses.networking.k8s.io": [
        name_column(), _text("Controller", "spec.controller", ""), _text("Parameters", "spec.parameters.name"),
        age_column(),
    ],
    "networkpolicies.networking.k8s.io": [name_column(), Column("Pod-Selector", _policy_selector), age_column()],
    "poddisruptionbudgets.policy": [
        name_column(), _text("Min Available", "spec.minAvailable", "N/A"),
        _text("Max Unavailable", "spec.maxUnavailable", "N/A"),
        _number("Allowed Disruptions", "status.disruptionsAllowed"), age_column(),
    ],
    "horizontalpodautoscalers.autoscaling": [
        name_column(), Column("Reference", _autoscaler_reference), _number("MinPods", "spec.minReplicas"),
        _number("MaxPods", "spec.maxReplicas"), _number("Replicas", "status.currentReplicas"), age_column(),
    ],
    "persistentvolumeclaims": [
        name_column(), _text("Status", "status.phase", ""), _text("Volume", "spec.volumeName", ""),
        _text("Capacity", "status.capacity.storage", ""),
        Column("Access Modes", lambda obj, _: ",".join(at(obj, "status.accessModes") or [])),
        _text("StorageClass", "spec.storageClassName", ""), age_column(),
        _text("VolumeMode", "spec.volumeMode", "", wide=True),
    ],
    "persistentvolumes": [
        name_column(), _text("Capacity", "spec.capacity.storage", ""),
        Column("Access Modes", lambda obj, _: ",".join(at(obj, "spec.accessModes") or [])),
        _text("Reclaim Policy", "spec.persistentVolumeReclaimPolicy", ""), _text("Status", "status.phase", ""),
        _text("StorageClass", "spec.storageClassName", ""), age_column(),
    ],
    "roles.rbac.authorization.k8s.io": [name_column(), _CREATED],
    "clusterroles.rbac.authorization.k8s.io": [name_column(), _CREATED],
    "rolebindings.rbac.authorization.k8s.io": _BINDING,
    "clusterrolebindings.rbac.authorization.k8s.io": _BINDING,
    "leases.coordination.k8s.io": [name_column(), _text("Holder", "spec.holderIdentity", ""), age_column()],
    "priorityclasses.scheduling.k8s.io": [
        name_column(), _number("Value", "value"), _text("Global-Default", "globalDefault", "False"), age_column(),
        _text("PreemptionPolicy", "preemptionPolicy", ""),
    ],
    "runtimeclasses.node.k8s.io": [name_column(), _text("Handler", "handler", ""), age_column()],
    "storageclasses.storage.k8s.io": [
        name_column(), _text("Provisioner", "provisioner", ""), _text("ReclaimPolicy", "reclaimPolicy", ""),
        _text("VolumeBindingMode", "volumeBindingMode", ""),
        _text("AllowVolumeExpansion", "allowVolumeExpansion", "False"), age_column(),
    ],
    "customresourcedefinitions.apiextensions.k8s.io": [name_column(), _CREATED],
}  # fmt: skip
_OTHER = [name_column(), age_column()]


@dataclass(frozen=True, slots=True)
class _CustomColumn:
    """A column that a custom resource definition asks for."""

    path: str
    kind: str

    def cell(self, obj: Object, now: datetime) -> Any:
        value = text_at(obj, self.path)
        if self.kind == "date":
            return age(value, now) if value else _NONE
        if value and self.kind == "integer" and value.lstrip("-").isdigit():
            return int(value)
        if value and self.kind == "boolean":
            return value == "true"
        return value


def _custom(columns: list[Object]) -> list[Column]:
    found = [name_column()]
    for column in columns:
        own = _CustomColumn(column["jsonPath"], column["type"])
        found.append(Column(column["name"], own.cell, kind=column["type"], wide=bool(column.get("priority")),
                            form=column.get("format", "")))  # fmt: skip
    return found if columns else _OTHER


def of(served: Served) -> tuple[list[Object], Cells]:
    """Column definitions of a kind and the function that fills a row."""
    if served.custom is not None:
        columns = _custom(served.custom.columns)
    else:
        columns = _COLUMNS.get(served.resource.group_resource, _OTHER)
    return [column.definition() for column in columns], lambda obj, now: [c.cell(obj, now) for c in columns]

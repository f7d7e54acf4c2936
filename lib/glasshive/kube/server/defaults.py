"""Values that clients expect to find although nobody wrote them, per kind.

Source: the defaults documented in the Kubernetes API reference. Every function fills in only what is absent, so that
defaulting twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
Rule = Callable[[Object], None]


def _objects(value: Any) -> list[Object]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _set(obj: Object, field: str, value: Any) -> None:
    if obj.get(field) is None:
        obj[field] = value


def _probe(probe: Any) -> None:
    if not isinstance(probe, dict):
        return
    defaults = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    for field, value in defaults.items():
        _set(probe, field, value)
    _http_get(probe.get("httpGet"))
    grpc = probe.get("grpc")
    if isinstance(grpc, dict):
        _set(grpc, "service", "")


def _http_get(action: Any) -> None:
    if isinstance(action, dict):
        _set(action, "path", "/")
        _set(action, "scheme", "HTTP")


def _pull_policy(image: str) -> str:
    last = image.rsplit("/", 1)[-1]
    tag = last.split("@")[0].partition(":")[2]
    return "Always" if "@" not in last and tag in {"", "latest"} else "IfNotPresent"


def _container(container: Object) -> None:
    if isinstance(container.get("image"), str) and container["image"]:
        _set(container, "imagePullPolicy", _pull_policy(container["image"]))
    _set(container, "terminationMessagePath", "/dev/termination-log")
    _set(container, "terminationMessagePolicy", "File")
    _set(container, "resources", {})
    for port in _objects(container.get("ports")):
        _set(port, "protocol", "TCP")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        _probe(container.get(probe))
    lifecycle = container.get("lifecycle")
    if isinstance(lifecycle, dict):
        for hook in ("postStart", "preStop"):
            _http_get((lifecycle.get(hook) or {}).get("httpGet"))
    for env in _objects(container.get("env")):
        source = (env.get("valueFrom") or {}).get("fieldRef")
        if isinstance(source, dict):
            _set(source, "apiVersion", "v1")
    resources = container["resources"]
    limits = resources.get("limits") if isinstance(resources, dict) else None
    if isinstance(limits, dict) and limits:
        requests = resources.get("requests")
        resources["requests"] = {**limits, **(requests if isinstance(requests, dict) else {})}


_MODE = 0o644


def _volume(volume: Object) -> None:
    if not [key for key in volume if key != "name"]:
        volume["emptyDir"] = {}
    for kind in ("secret", "configMap", "downwardAPI", "projected"):
        source = volume.get(kind)
        if not isinstance(source, dict):
            continue
        _set(source, "defaultMode", _MODE)
        for part in _objects(source.get("sources")):
            if isinstance(part.get("serviceAccountToken"), dict):
                _set(part["serviceAccountToken"], "expirationSeconds", 3600)
            _field_items(part.get("downwardAPI"))
        if kind == "downwardAPI":
            _field_items(source)
    if isinstance(volume.get("hostPath"), dict):
        _set(volume["hostPath"], "type", "")


def _field_items(source: Any) -> None:
    for item in _objects((source or {}).get("items")) if isinstance(source, dict) else ():
        if isinstance(item.get("fieldRef"), dict):
            _set(item["fieldRef"], "apiVersion", "v1")


def pod_spec(spec: Any, *, template: bool = False) -> None:
    """Defaults of a pod's spec; a template's spec does not get what only a pod has."""
    if not isinstance(spec, dict):
        return
    for field, value in (
        ("restartPolicy", "Always"),
        ("terminationGracePeriodSeconds", 30),
        ("dnsPolicy", "ClusterFirst"),
        ("securityContext", {}),
        ("schedulerName", "default-scheduler"),
    ):
        _set(spec, field, value)
    if spec.get("serviceAccountName") or spec.get("serviceAccount"):
        _set(spec, "serviceAccountName", spec.get("serviceAccount"))
        spec["serviceAccount"] = spec["serviceAccountName"]
    for group in ("containers", "initContainers", "ephemeralContainers"):
        for container in _objects(spec.get(group)):
            _container(container)
            if spec.get("hostNetwork"):
                for port in _objects(container.get("ports")):
                    _set(port, "hostPort", port.get("containerPort"))
    for volume in _objects(spec.get("volumes")):
        _volume(volume)
    if not template:
        _set(spec, "enableServiceLinks", True)
        _set(spec, "preemptionPolicy", "PreemptLowerPriority")
        _set(spec, "priority", 0)


_NOT_READY_SECONDS = 300


def _pod(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    if not isinstance(spec, dict):
        return
    _set(spec, "serviceAccountName", spec.get("serviceAccount") or "default")
    pod_spec(spec)
    tolerations = spec.get("tolerations")
    if tolerations is None:
        tolerations = spec["tolerations"] = []
    known = {(t.get("key"), t.get("effect")) for t in _objects(tolerations)}
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if isinstance(tolerations, list) and not {(key, "NoExecute"), (key, None), (None, None)} & known:
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _NOT_READY_SECONDS}
            )


def _template(spec: Object) -> Object:
    template = spec.get("template")
    if not isinstance(template, dict):
        return {}
    pod_spec(template.get("spec"), template=True)
    return template


def _spec(obj: Object) -> Object:
    spec = obj.get("spec")
    if spec is None:
        spec = obj["spec"] = {}
    return spec if isinstance(spec, dict) else {}


def _pod_template(obj: Object) -> None:
    _template(obj)


def _deployment(obj: Object) -> None:
    spec = _spec(obj)
    _template(spec)
    for field, value in (("replicas", 1), ("revisionHistoryLimit", 10), ("progressDeadlineSeconds", 600)):
        _set(spec, field, value)
    _set(spec, "strategy", {})
    strategy = spec["strategy"]
    if isinstance(strategy, dict):
        _set(strategy, "type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            _set(strategy, "rollingUpdate", {})
            if isinstance(strategy["rollingUpdate"], dict):
                _set(strategy["rollingUpdate"], "maxUnavailable", "25%")
                _set(strategy["rollingUpdate"], "maxSurge", "25%")


def _replica_set(obj: Object) -> None:
    spec = _spec(obj)
    _template(spec)
    _set(spec, "replicas", 1)


def _replication_controller(obj: Object) -> None:
    spec = _spec(obj)
    labels = (_template(spec).get("metadata") or {}).get("labels")
    _set(spec, "replicas", 1)
    if labels:
        _set(spec, "selector", dict(labels))


def _daemon_set(obj: Object) -> None:
    spec = _spec(obj)
    _template(spec)
    _set(spec, "revisionHistoryLimit", 10)
    _set(spec, "updateStrategy", {})
    strategy = spec["updateStrategy"]
    _set(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(strategy, "rollingUpdate", {})
        _set(strategy["rollingUpdate"], "maxUnavailable", 1)
        _set(strategy["rollingUpdate"], "maxSurge", 0)


def _stateful_set(obj: Object) -> None:
    spec = _spec(obj)
    _template(spec)
    for field, value in (("replicas", 1), ("revisionHistoryLimit", 10), ("podManagementPolicy", "OrderedReady")):
        _set(spec, field, value)
    _set(spec, "serviceName", "")
    _set(spec, "updateStrategy", {"type": "RollingUpdate"})
    strategy = spec["updateStrategy"]
    _set(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(strategy, "rollingUpdate", {})
        _set(strategy["rollingUpdate"], "partition", 0)
    _set(spec, "persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"})


def _job_spec(spec: Any) -> None:
    if not isinstance(spec, dict):
        return
    _template(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    for field, value in (("parallelism", 1), ("backoffLimit", 6), ("completionMode", "NonIndexed"), ("suspend", False)):
        _set(spec, field, value)
    _set(spec, "podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")


def _job(obj: Object) -> None:
    """A Job's defaults, and the selector and labels that tie its pods to it."""
    spec = _spec(obj)
    _job_spec(spec)
    template = spec.get("template")
    metadata = obj.get("metadata") or {}
    uid, name = metadata.get("uid"), metadata.get("name")
    if spec.get("manualSelector") or spec.get("selector") or not isinstance(template, dict) or not uid or not name:
        return
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels |= {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    _set(spec, "manualSelector", False)
    del spec["manualSelector"]


def _cron_job(obj: Object) -> None:
    spec = _spec(obj)
    _job_template = spec.get("jobTemplate")
    if isinstance(_job_template, dict) and isinstance(_job_template.get("spec"), dict):
        _template(_job_template["spec"])
    for field, value in (
        ("concurrencyPolicy", "Allow"),
        ("suspend", False),
        ("successfulJobsHistoryLimit", 3),
        ("failedJobsHistoryLimit", 1),
    ):
        _set(spec, field, value)


_AFFINITY_SECONDS = 10800


def _service(obj: Object) -> None:
    spec = _spec(obj)
    _set(spec, "type", "ClusterIP")
    _set(spec, "sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        _set(spec, "sessionAffinityConfig", {"clientIP": {"timeoutSeconds": _AFFINITY_SECONDS}})
    else:
        spec.pop("sessionAffinityConfig", None)
    for port in _objects(spec.get("ports")):
        _set(port, "protocol", "TCP")
        if port.get("targetPort") in {None, "", 0}:
            port["targetPort"] = port.get("port")
    if spec["type"] in {"NodePort", "LoadBalancer"}:
        _set(spec, "externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        _set(spec, "allocateLoadBalancerNodePorts", True)
    if spec["type"] != "ExternalName":
        _set(spec, "internalTrafficPolicy", "Cluster")


def _endpoints(obj: Object) -> None:
    for subset in _objects(obj.get("subsets")):
        for port in _objects(subset.get("ports")):
            _set(port, "protocol", "TCP")


def _endpoint_slice(obj: Object) -> None:
    for port in _objects(obj.get("ports")):
        _set(port, "name", "")
        _set(port, "protocol", "TCP")


def _network_policy(obj: Object) -> None:
    spec = _spec(obj)
    _set(spec, "podSelector", {})
    for direction in ("ingress", "egress"):
        for rule in _objects(spec.get(direction)):
            for port in _objects(rule.get("ports")):
                _set(port, "protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _rbac_api_group(obj: Object) -> None:
    role = obj.get("roleRef")
    if isinstance(role, dict):
        _set(role, "apiGroup", "rbac.authorization.k8s.io")
    for subject in _objects(obj.get("subjects")):
        if subject.get("kind") in {"User", "Group"}:
            _set(subject, "apiGroup", "rbac.authorization.k8s.io")


def _crd(obj: Object) -> None:
    spec = _spec(obj)
    names = spec.get("names")
    if isinstance(names, dict) and isinstance(names.get("kind"), str):
        _set(names, "singular", names["kind"].lower())
        _set(names, "listKind", names["kind"] + "List")
    _set(spec, "conversion", {"strategy": "None"})


def _claim(obj: Object) -> None:
    _set(_spec(obj), "volumeMode", "Filesystem")


def _persistent_volume(obj: Object) -> None:
    spec = _spec(obj)
    _set(spec, "volumeMode", "Filesystem")
    _set(spec, "persistentVolumeReclaimPolicy", "Retain")


def _storage_class(obj: Object) -> None:
    _set(obj, "reclaimPolicy", "Delete")
    _set(obj, "volumeBindingMode", "Immediate")


def _autoscaler(obj: Object) -> None:
    _set(_spec(obj), "minReplicas", 1)


DEFAULTS: dict[str, Rule] = {
    "pods": _pod,
    "secrets": lambda obj: _set(obj, "type", "Opaque"),
    "services": _service,
    "endpoints": _endpoints,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _persistent_volume,
    "replicationcontrollers": _replication_controller,
    "podtemplates": _pod_template,
    "deployments.apps": _deployment,
    "replicasets.apps": _replica_set,
    "daemonsets.apps": _daemon_set,
    "statefulsets.apps": _stateful_set,
    "jobs.batch": _job,
    "cronjobs.batch": _cron_job,
    "horizontalpodautoscalers.autoscaling": _autoscaler,
    "endpointslices.discovery.k8s.io": _endpoint_slice,
    "networkpolicies.networking.k8s.io": _network_policy,
    "rolebindings.rbac.authorization.k8s.io": _rbac_api_group,
    "clusterrolebindings.rbac.authorization.k8s.io": _rbac_api_group,
    "storageclasses.storage.k8s.io": _storage_class,
    "priorityclasses.scheduling.k8s.io": lambda obj: _set(obj, "preemptionPolicy", "PreemptLowerPriority"),
    "customresourcedefinitions.apiextensions.k8s.io": _crd,
}

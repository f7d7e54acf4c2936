"""Validation of pods and of pod templates."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

from . import meta
from .status import FieldError, bad_value, duplicate, forbidden_field, not_found_field, required, unsupported

Object = dict[str, Any]

_PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?")
_ENV_NAME = re.compile(r"[^=\x00-\x1f\x7f]+")
_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_PULL = ("Always", "IfNotPresent", "Never")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def label_name(field: str, value: str) -> list[FieldError]:
    """Faults of a name that must be one DNS label."""
    if meta.DNS_LABEL.fullmatch(value) and len(value) <= 63:
        return []
    text = "must be lower case letters, digits and '-', at most 63, starting and ending with a letter or digit"
    return [bad_value(field, value, text)]


def port_number(field: str, value: Any) -> list[FieldError]:
    """Faults of a port number."""
    if isinstance(value, int) and not 1 <= value <= 65535:
        return [bad_value(field, value, "must be between 1 and 65535, inclusive")]
    return []


def port_name(field: str, value: str) -> list[FieldError]:
    """Faults of a port's name."""
    if _PORT_NAME.fullmatch(value):
        return []
    text = "must be at most 15 lower case letters, digits and '-', with at least one letter"
    return [bad_value(field, value, text)]


def one_of(field: str, value: Any, words: tuple[str, ...]) -> list[FieldError]:
    """Faults of a value that must be one of some words; nothing said is no fault."""
    return [] if value is None or value in words else [unsupported(field, value, words)]


def _probe(probe: Any, place: str) -> list[FieldError]:
    if not isinstance(probe, dict):
        return []
    handlers = [name for name in ("exec", "httpGet", "tcpSocket", "grpc") if name in probe]
    found = []
    if not handlers:
        found.append(required(place, "must specify a handler type"))
    if len(handlers) > 1:
        found.append(forbidden_field(f"{place}.{handlers[1]}", "may not specify more than 1 handler type"))
    for name in ("httpGet", "tcpSocket", "grpc"):
        if name in probe:
            found += port_number(f"{place}.{name}.port", probe[name].get("port"))
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        if probe.get(name, 0) < 0:
            found.append(bad_value(f"{place}.{name}", probe[name], "must be greater than or equal to 0"))
    return found


def _ports(container: Object, place: str) -> list[FieldError]:
    found: list[FieldError] = []
    names: set[str] = set()
    for at, port in enumerate(container.get("ports") or []):
        here = f"{place}.ports[{at}]"
        found += port_number(f"{here}.containerPort", port.get("containerPort"))
        found += port_number(f"{here}.hostPort", port.get("hostPort") or None)
        found += one_of(f"{here}.protocol", port.get("protocol"), _PROTOCOLS)
        if port.get("name"):
            found += port_name(f"{here}.name", port["name"])
            if port["name"] in names:
                found.append(duplicate(f"{here}.name", port["name"]))
            names.add(port["name"])
    return found


def _container(container: Object, place: str, volumes: set[str], *, init: bool) -> list[FieldError]:
    found = label_name(f"{place}.name", container.get("name", ""))
    image = container.get("image", "")
    if not image:
        found.append(required(f"{place}.image"))
    elif image != image.strip():
        found.append(bad_value(f"{place}.image", image, "must not have leading or trailing whitespace"))
    found += one_of(f"{place}.imagePullPolicy", container.get("imagePullPolicy"), _PULL)
    found += _ports(container, place)
    for at, env in enumerate(container.get("env") or []):
        if not _ENV_NAME.fullmatch(env.get("name", "")):
            found.append(bad_value(f"{place}.env[{at}].name", env.get("name", ""), "must not be empty or contain '='"))
        if env.get("value") and env.get("valueFrom"):
            text = "may not be specified when `value` is not empty"
            found.append(bad_value(f"{place}.env[{at}].valueFrom", "", text))
    paths: set[str] = set()
    for at, mount in enumerate(container.get("volumeMounts") or []):
        here = f"{place}.volumeMounts[{at}]"
        if mount["name"] not in volumes:
            found.append(not_found_field(f"{here}.name", mount["name"]))
        if mount["mountPath"] in paths:
            found.append(bad_value(f"{here}.mountPath", mount["mountPath"], "must be unique"))
        paths.add(mount["mountPath"])
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name) is not None and init and container.get("restartPolicy") != "Always":
            found.append(forbidden_field(f"{place}.{name}", "may not be set for init containers that do not stay"))
        found += _probe(container.get(name), f"{place}.{name}")
    return found


def spec_errors(spec: Object, place: str = "spec") -> list[FieldError]:
    """Faults of a pod's spec."""
    found: list[FieldError] = []
    volumes: set[str] = set()
    for at, volume in enumerate(spec.get("volumes") or []):
        found += label_name(f"{place}.volumes[{at}].name", volume.get("name", ""))
        if volume.get("name") in volumes:
            found.append(duplicate(f"{place}.volumes[{at}].name", volume["name"]))
        volumes.add(volume.get("name", ""))
        if len(volume) > 2:
            found.append(forbidden_field(f"{place}.volumes[{at}]", "may not specify more than 1 volume type"))
    if not spec.get("containers"):
        found.append(required(f"{place}.containers"))
    names: set[str] = set()
    for group in ("initContainers", "containers"):
        for at, container in enumerate(spec.get(group) or []):
            here = f"{place}.{group}[{at}]"
            found += _container(container, here, volumes, init=group == "initContainers")
            if container.get("name") in names:
                found.append(duplicate(f"{here}.name", container["name"]))
            names.add(container.get("name", ""))
    found += one_of(f"{place}.restartPolicy", spec.get("restartPolicy"), _RESTART)
    found += one_of(f"{place}.dnsPolicy", spec.get("dnsPolicy"), _DNS)
    if spec.get("dnsPolicy") == "None" and not (spec.get("dnsConfig") or {}).get("nameservers"):
        found.append(required(f"{place}.dnsConfig.nameservers", "must provide at least one nameserver"))
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        value = spec["terminationGracePeriodSeconds"]
        found.append(bad_value(f"{place}.terminationGracePeriodSeconds", value, "must be greater than or equal to 0"))
    found += meta.label_errors(spec.get("nodeSelector") or {}, f"{place}.nodeSelector")
    for at, toleration in enumerate(spec.get("tolerations") or []):
        here = f"{place}.tolerations[{at}]"
        found += one_of(f"{here}.effect", toleration.get("effect") or None, _EFFECTS)
        found += one_of(f"{here}.operator", toleration.get("operator") or None, ("Equal", "Exists", "Lt", "Gt"))
    if spec.get("hostname"):
        found += label_name(f"{place}.hostname", spec["hostname"])
    return found


def errors(pod: Object, old: Object | None) -> list[FieldError]:
    """Faults of a pod; the spec of an existing one may change in few places only."""
    found = spec_errors(pod.get("spec") or {})
    if old is not None and not found:
        found = _changes(pod["spec"], old["spec"])
    return found


def _changes(spec: Object, before: Object) -> list[FieldError]:
    """Changes that a living pod's spec does not allow."""
    allowed = deepcopy(spec)
    for group in ("containers", "initContainers"):
        for now, then in zip(allowed.get(group) or [], before.get(group) or [], strict=False):
            now["image"] = then.get("image")
    for field in ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "schedulingGates"):
        if field in before:
            allowed[field] = before[field]
        else:
            allowed.pop(field, None)
    tolerations = before.get("tolerations") or []
    if all(toleration in (spec.get("tolerations") or []) for toleration in tolerations):
        allowed["tolerations"] = tolerations
        if "tolerations" not in before:
            del allowed["tolerations"]
    if allowed == before:
        return []
    fields = sorted(f for f in allowed.keys() | before.keys() if allowed.get(f) != before.get(f))
    text = (
        "pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, "
        "`spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to existing tolerations), "
        f"`spec.terminationGracePeriodSeconds` (changed: {', '.join(fields)})"
    )
    return [forbidden_field("spec", text)]

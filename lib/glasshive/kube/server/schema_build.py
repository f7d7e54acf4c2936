"""Writes ``schema.json``: the fields and types of all built-in kinds, read from the official Python client's models.

Run ``python -m glasshive.kube.server.schema_build`` after the `kubernetes` package was updated. The client is heavy to
import, so the server never does; it reads the small file made here.

Form of the file: ``kinds`` maps ``apiVersion/Kind`` to a type name; ``types`` maps a type name to its fields, each a
type code: ``str int bool float time bytes any intstr quantity``, ``[X`` list of X, ``{X`` map of text to X, or a type
name. A code that ends in ``!`` is required.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from glasshive.api.resources import BUILTIN

OUTPUT = Path(__file__).with_name("schema.json")

_SCALARS = {"str": "str", "int": "int", "bool": "bool", "float": "float", "datetime": "time", "bytes": "bytes",
            "object": "any"}  # fmt: skip
#: Models whose names do not follow from kind and version.
_NAMED = {
    "v1/Event": "CoreV1Event",
    "events.k8s.io/v1/Event": "EventsV1Event",
    "authentication.k8s.io/v1/TokenRequest": "AuthenticationV1TokenRequest",
}
_EXTRA_KINDS = ("autoscaling/v1/Scale", "policy/v1/Eviction", "authentication.k8s.io/v1/TokenRequest",
                "v1/DeleteOptions", "v1/Status")  # fmt: skip
#: Fields that hold a number or a text; the client's models call them any object (or a text).
_INT_OR_STRING = frozenset({
    "V1ServicePort.targetPort", "V1HTTPGetAction.port", "V1TCPSocketAction.port", "V1NetworkPolicyPort.port",
    "V1RollingUpdateDeployment.maxSurge", "V1RollingUpdateDeployment.maxUnavailable",
    "V1RollingUpdateDaemonSet.maxSurge", "V1RollingUpdateDaemonSet.maxUnavailable",
    "V1RollingUpdateStatefulSetStrategy.maxUnavailable", "V1PodDisruptionBudgetSpec.minAvailable",
    "V1PodDisruptionBudgetSpec.maxUnavailable",
})  # fmt: skip
#: Fields that hold a quantity such as 100m or 1Gi, or maps of quantities.
_QUANTITIES = frozenset({
    "capacity", "allocatable", "limits", "requests", "hard", "used", "overhead", "allocatedResources", "default",
    "defaultRequest", "max", "min", "maxLimitRequestRatio", "sizeLimit", "divisor", "averageValue", "podFixed",
    "resources", "value",
})  # fmt: skip
_QUANTITY_TYPES = re.compile(
    r"V1(ResourceRequirements|VolumeResourceRequirements|NodeStatus|ContainerStatus|ResourceQuota(Spec|Status)|LimitRangeItem"
    r"|EmptyDirVolumeSource|ResourceFieldSelector|PersistentVolume(Claim)?(Spec|Status)|PodSpec|Overhead)|V2Metric(Target|ValueStatus)"
)


def _code(owner: str, field: str, text: str, wanted: set[str]) -> str:
    listed = re.fullmatch(r"[Ll]ist\[(.*)\]", text)
    if listed:
        return "[" + _code(owner, field, listed[1], wanted)
    mapped = re.fullmatch(r"[Dd]ict\[str, (.*)\]", text)
    if mapped:
        return "{" + _code(owner, field, mapped[1], wanted)
    if f"{owner}.{field}" in _INT_OR_STRING:
        return "intstr"
    if text == "str" and field in _QUANTITIES and _QUANTITY_TYPES.fullmatch(owner):
        return "quantity"
    if text in _SCALARS:
        return _SCALARS[text]
    wanted.add(text)
    return text


def build() -> dict[str, Any]:
    """The content of the file."""
    from kubernetes.client import models

    names = [f"{r.api_version}/{r.kind}" for r in BUILTIN] + list(_EXTRA_KINDS)
    kinds = {}
    for name in names:
        api_version, kind = name.rsplit("/", 1)
        version = api_version.rsplit("/", 1)[-1]
        kinds[name] = _NAMED.get(name, version.capitalize() + kind)
    wanted, types = set(kinds.values()), dict[str, dict[str, str]]()
    while wanted:
        name = wanted.pop()
        if name in types:
            continue
        model = getattr(models, name)
        types[name] = {}
        needs: set[str] = set()
        required = {f.serialization_alias or n for n, f in model.model_fields.items() if f.is_required()}
        for attribute, text in model.openapi_types.items():
            field = model.attribute_map[attribute]
            code = _code(name, field, text, needs)
            types[name][field] = code + ("!" if field in required else "")
        wanted |= needs - types.keys()
    return {"kinds": kinds, "types": dict(sorted(types.items()))}


if __name__ == "__main__":
    OUTPUT.write_text(json.dumps(build(), indent=None, separators=(",", ":")) + "\n")
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes")

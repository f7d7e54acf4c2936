"""CiliumCIDRGroup (cilium.io/v2 and v2alpha1): blocks of addresses that policies name by reference."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from glasshive.api.crd import STRING, Schema, array, column, definition
from glasshive.api.policy_cidrs import read_prefix
from glasshive.api.policy_reading import CidrGroupFacts, Reading
from glasshive.api.policy_schema import said, schema_of, structure
from glasshive.api.resources import Resource
from glasshive.model.policy import DefaultDeny, ObjectRef, Rule

Object = dict[str, Any]
CILIUM_CIDR_GROUP = Resource(
    "cilium.io", "v2", "ciliumcidrgroups", "CiliumCIDRGroup", False, ("ccg",), categories=("cilium",)
)
CILIUM_CIDR_GROUP_V2ALPHA1 = Resource(
    "cilium.io", "v2alpha1", "ciliumcidrgroups", "CiliumCIDRGroup", False, ("ccg",), categories=("cilium",)
)
_SPEC = structure(
    "The group.",
    ("externalCIDRs",),
    externalCIDRs=said("Blocks of addresses outside of the cluster, such as 10.48.0.0/24.", array(STRING)),
)
SCHEMA: Schema = {"type": "object", "required": ["spec"], "properties": {"spec": _SPEC}}


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition, with both versions."""
    found = definition(
        CILIUM_CIDR_GROUP, schema_of(SCHEMA["properties"]), [column("Age", ".metadata.creationTimestamp", "date")],
        "Blocks of addresses outside of the cluster under one name, which fromCIDRSet and toCIDRSet refer to.",
    )  # fmt: skip
    (newest,) = found["spec"]["versions"]
    older = {**deepcopy(newest), "name": CILIUM_CIDR_GROUP_V2ALPHA1.version, "storage": False, "deprecated": True}
    found["spec"]["versions"].append(older)
    return found


def read(obj: Object, reading: Reading) -> tuple[list[Rule], list[DefaultDeny]]:
    """Check a group that fits ``SCHEMA``; it has no rules of its own."""
    for at, text in enumerate(obj["spec"]["externalCIDRs"]):
        read_prefix(text, f"spec.externalCIDRs[{at}]", reading)
    return [], []


def facts(obj: Object) -> CidrGroupFacts:
    """What policies need of a group, whatever its shape; blocks that are none are left out (its findings say so)."""
    reading = Reading(ObjectRef(CILIUM_CIDR_GROUP.kind, "", ""))
    spec, metadata = obj.get("spec"), obj.get("metadata")
    texts = spec.get("externalCIDRs") if isinstance(spec, dict) else None
    prefixes = [
        read_prefix(text, "", reading) for text in (texts if isinstance(texts, list) else ()) if isinstance(text, str)
    ]
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    known = {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}
    return CidrGroupFacts(known, tuple(one for one in prefixes if one is not None))

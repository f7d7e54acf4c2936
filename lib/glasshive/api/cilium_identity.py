"""CiliumIdentity (cilium.io/v2, cluster-scoped): its name is the number, ``security-labels`` what it stands for."""

from __future__ import annotations

from typing import Any

from glasshive.api.crd import STRING_MAP, column, definition
from glasshive.api.resources import Resource
from glasshive.model.identity import Identity
from glasshive.model.labels import Labels

CILIUM_IDENTITY = Resource(
    "cilium.io", "v2", "ciliumidentities", "CiliumIdentity", False, ("ciliumid",), categories=("cilium",)
)

HEARTBEAT = "io.cilium.heartbeat"
"""Annotation of an identity that nobody uses: when the operator noticed. It deletes the object an interval later."""


def marked(obj: dict[str, Any]) -> str:
    """When the operator marked an identity for deletion; "" when it has not."""
    return str((obj["metadata"].get("annotations") or {}).get(HEARTBEAT) or "")


def to_object(identity: Identity) -> dict[str, Any]:
    """The object that announces an identity. Its labels repeat the pods' own, so that ``kubectl get -l`` finds it."""
    mapping = identity.labels.to_mapping()
    return {
        "apiVersion": CILIUM_IDENTITY.api_version,
        "kind": CILIUM_IDENTITY.kind,
        "metadata": {
            "name": str(identity.number),
            "labels": {label.key: label.value for label in identity.labels if len(label.key) <= 63},
        },
        "security-labels": mapping,
    }


def from_object(obj: dict[str, Any]) -> Identity:
    """Identity of an object; ValueError when its name is no number or its labels are no mapping of texts."""
    name = obj["metadata"]["name"]
    labels = obj.get("security-labels")
    if not isinstance(labels, dict):
        raise ValueError(f"CiliumIdentity {name} has no security-labels")  # noqa: TRY004 - a fault of the object
    return Identity(int(name), Labels.from_mapping(labels))


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition."""
    labels = {**STRING_MAP, "description": "The labels that pods of this identity have, with their sources."}
    columns = [
        column("Namespace", ".metadata.labels.io\\.kubernetes\\.pod\\.namespace"),
        column("Age", ".metadata.creationTimestamp", "date"),
    ]
    told = "Labels that decide what a pod may do, and the number that stands for them on every node: its name."
    found = definition(CILIUM_IDENTITY, {"security-labels": labels}, columns, told)
    found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["required"].append("security-labels")
    return found

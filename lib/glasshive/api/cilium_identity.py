"""CiliumIdentity (cilium.io/v2, cluster-scoped): its name is the number, ``security-labels`` what it stands for."""

from __future__ import annotations

from typing import Any

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
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{CILIUM_IDENTITY.plural}.{CILIUM_IDENTITY.group}"},
        "spec": {
            "group": CILIUM_IDENTITY.group,
            "scope": "Cluster",
            "names": {
                "kind": CILIUM_IDENTITY.kind,
                "listKind": CILIUM_IDENTITY.list_kind,
                "plural": CILIUM_IDENTITY.plural,
                "singular": CILIUM_IDENTITY.singular,
                "shortNames": list(CILIUM_IDENTITY.short_names),
                "categories": list(CILIUM_IDENTITY.categories),
            },
            "versions": [
                {
                    "name": CILIUM_IDENTITY.version,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [
                        {
                            "name": "Namespace",
                            "type": "string",
                            "jsonPath": ".metadata.labels.io\\.kubernetes\\.pod\\.namespace",
                            "description": "The namespace of the pods",
                        },
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "required": ["metadata", "security-labels"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "security-labels": {
                                    "type": "object",
                                    "additionalProperties": {"type": "string"},
                                    "description": "The labels that pods of this identity have, with their sources.",
                                },
                            },
                        }
                    },
                }
            ],
        },
    }

"""Putting a CustomResourceDefinition together from a ``Resource`` and the schema of its body."""

from __future__ import annotations

from typing import Any

from glasshive.api.resources import CUSTOM_RESOURCE_DEFINITION, Resource

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
STRINGS: Schema = {"type": "array", "items": STRING}
STRING_MAP: Schema = {"type": "object", "additionalProperties": STRING}
ANYTHING: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

CONDITIONS: Schema = {
    "type": "array",
    "description": "What Glasshive says of the object.",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    "items": {
        "type": "object",
        "required": ["type", "status"],
        "properties": {
            "type": {**STRING, "description": "What the condition is about."},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it is so."},
            "lastTransitionTime": {"type": "string", "format": "date-time", "description": "When status changed last."},
            "reason": {**STRING, "description": "One word for programs."},
            "message": {**STRING, "description": "What is the matter, and what to do."},
            "observedGeneration": {"type": "integer", "description": "The generation that was looked at."},
        },
    },
}


def record(**fields: Schema) -> Schema:
    """Schema of an object with these fields; ``_`` in a name stands for ``-``."""
    return {"type": "object", "properties": {name.replace("_", "-"): schema for name, schema in fields.items()}}


def array(items: Schema) -> Schema:
    """Schema of a list."""
    return {"type": "array", "items": items}


def column(name: str, path: str, kind: str = "string", *, priority: int = 0) -> Schema:
    """A column of ``kubectl get``; ``priority`` 1 means only with ``-o wide``."""
    return {"name": name, "type": kind, "jsonPath": path, "priority": priority}


_TOP: dict[str, Schema] = {
    "apiVersion": {**STRING, "description": "Group and version that the object is written in."},
    "kind": {**STRING, "description": "What the object is."},
    "metadata": {"type": "object", "description": "Its name, its place and what is noted about it."},
}


def definition(
    resource: Resource, body: dict[str, Schema], columns: list[Schema], description: str = ""
) -> dict[str, Any]:
    """Return the CustomResourceDefinition; ``body`` holds the schemas of the top-level fields.

    ``description`` is what ``kubectl explain`` says of the kind.
    """
    schema: Schema = {"type": "object", "properties": {**_TOP, **body}, "required": ["metadata"]}
    if description:
        schema["description"] = description
    version: dict[str, Any] = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": columns,
    }
    if resource.subresource("status"):
        version["subresources"] = {"status": {}}
    # Kubernetes asks of definitions in its own domain where they were approved.
    approved = {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/network-policy-api/pull/30"}
    return CUSTOM_RESOURCE_DEFINITION.object(
        f"{resource.plural}.{resource.group}",
        metadata={"annotations": approved} if resource.group.endswith(".k8s.io") else {},
        spec={
            "group": resource.group,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": {
                "kind": resource.kind,
                "listKind": resource.list_kind,
                "plural": resource.plural,
                "singular": resource.singular,
                "shortNames": list(resource.short_names),
                "categories": list(resource.categories),
            },
            "versions": [version],
        },
    )

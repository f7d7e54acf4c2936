"""Structural schemas of custom resources: nodes for pruning and merging, defaults, and what one version offers.

Source: the OpenAPI v3 subset that the Kubernetes API reference calls structural. CEL rules
(``x-kubernetes-validations``) are kept and served but not evaluated, but for the one that makes a field immutable.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from . import json_schema, schema
from .fields import Extract, by_paths
from .schema import ANY, Node
from .status import FieldError, bad_value

Object = dict[str, Any]
_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}


def node_of(spec: Object) -> Node:
    """The node of a JSON schema."""
    keep = bool(spec.get("x-kubernetes-preserve-unknown-fields"))
    atomic = spec.get("x-kubernetes-map-type") == "atomic"
    kind = spec.get("type")
    if spec.get("x-kubernetes-int-or-string"):
        return Node("intstr")
    if kind == "array":
        keys: tuple[str, ...] = ()
        if spec.get("x-kubernetes-list-type") == "map":
            keys = tuple(spec.get("x-kubernetes-list-map-keys") or ())
        elif spec.get("x-kubernetes-list-type") == "set":
            keys = ("",)
        return Node("list", item=node_of(spec.get("items") or {}), keys=keys)
    if kind == "object" or "properties" in spec:
        return _object_node(spec, keep=keep, atomic=atomic)
    return Node(_SCALARS[kind]) if kind in _SCALARS else ANY


def _object_node(spec: Object, *, keep: bool, atomic: bool) -> Node:
    more = spec.get("additionalProperties")
    if more and "properties" not in spec:
        return Node("map", item=node_of(more) if isinstance(more, dict) else ANY, atomic=atomic)
    fields = {name: node_of(below) for name, below in (spec.get("properties") or {}).items()}
    if spec.get("x-kubernetes-embedded-resource"):
        fields = {"apiVersion": Node("str"), "kind": Node("str"), "metadata": schema.metadata(), **fields}
    return Node("object", fields=fields, keep_unknown=keep, atomic=atomic)


def prune(node: Node, value: Any, path: str = "") -> Iterator[str]:
    """Drop unknown fields of ``value``, in place; yields their paths. Wrong types are left to validation."""
    if node.kind == "object" and isinstance(value, dict):
        for key in list(value):
            place = f"{path}.{key}" if path else key
            below = node.fields.get(key)
            if below is not None:
                yield from prune(below, value[key], place)
            elif not node.keep_unknown:
                del value[key]
                yield place
    elif node.kind == "list" and isinstance(value, list) and node.item is not None:
        for at, item in enumerate(value):
            yield from prune(node.item, item, f"{path}[{at}]")
    elif node.kind == "map" and isinstance(value, dict) and node.item is not None:
        for key, item in value.items():
            yield from prune(node.item, item, f"{path}.{key}")


def fill(spec: Object, value: Any) -> None:
    """Apply the defaults of a schema to ``value``, in place."""
    if isinstance(value, dict):
        properties = spec.get("properties") or {}
        for name, below in properties.items():
            if name in value and value[name] is None and not below.get("nullable") and "default" in below:
                del value[name]
            if name not in value and "default" in below:
                value[name] = deepcopy(below["default"])
            if name in value:
                fill(below, value[name])
        more = spec.get("additionalProperties")
        if isinstance(more, dict):
            for name, item in value.items():
                if name not in properties:
                    fill(more, item)
    elif isinstance(value, list) and isinstance(spec.get("items"), dict):
        for item in value:
            fill(spec["items"], item)


IMMUTABLE = "self == oldSelf"


def changed(spec: Object, value: Any, old: Any, path: str = "") -> Iterator[FieldError]:
    """Fields that a rule makes immutable and that are other than they were. Lists' items have no old value."""
    for rule in spec.get("x-kubernetes-validations") or ():
        if " ".join(str(rule.get("rule")).split()) == IMMUTABLE and value != old:
            yield bad_value(path, _kind(value), rule.get("message") or f"failed rule: {IMMUTABLE}")
    if isinstance(value, dict) and isinstance(old, dict):
        for name, below in (spec.get("properties") or {}).items():
            if name in value and name in old:
                yield from changed(below, value[name], old[name], f"{path}.{name}" if path else name)


def _kind(value: Any) -> Any:
    """What a message shows of a value: of an object or a list, that it is one."""
    return "object" if isinstance(value, dict) else "array" if isinstance(value, list) else value


class CustomVersion:
    """One served version of a custom resource: its schema in every form that handlers need."""

    def __init__(self, version: Object) -> None:
        self.name: str = version["name"]
        self.schema: Object = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        self.columns: list[Object] = version.get("additionalPrinterColumns") or []
        self.scale: Object = (version.get("subresources") or {}).get("scale") or {}
        self.terminating = False
        self.selectable = [field["jsonPath"].lstrip(".") for field in version.get("selectableFields") or []]
        self.fields: Extract = by_paths(*self.selectable)
        top = _object_node(
            self.schema, keep=bool(self.schema.get("x-kubernetes-preserve-unknown-fields")), atomic=False
        )
        named = dict(top.fields) if top.kind == "object" else {}
        named |= {"apiVersion": Node("str"), "kind": Node("str"), "metadata": schema.metadata()}
        self.node = Node("object", fields=named, keep_unknown=top.keep_unknown or top.kind == "map")

    def fill(self, obj: Object) -> None:
        """Apply the schema's defaults (metadata has none)."""
        for name, below in (self.schema.get("properties") or {}).items():
            if name not in {"metadata", "apiVersion", "kind"}:
                fill({"properties": {name: below}}, obj)

    def faults(self, obj: Object, old: Object | None) -> list[FieldError]:
        """Faults that the schema finds in ``obj``."""
        body = {key: value for key, value in obj.items() if key not in {"metadata", "apiVersion", "kind"}}
        spec = dict(self.schema)
        spec["properties"] = {
            key: below for key, below in (spec.get("properties") or {}).items()
            if key not in {"metadata", "apiVersion", "kind"}
        }  # fmt: skip
        spec["required"] = [r for r in spec.get("required") or [] if r not in {"metadata", "apiVersion", "kind"}]
        return json_schema.faults(spec, body) + list(changed(spec, body, old) if old is not None else ())

"""OpenAPI documents, written from the same schemas that the server checks objects with.

Version 3 (one document per group version) is what current kubectl asks for: to learn that the server validates fields
itself, to build strategic merge patches, and for ``explain``. Version 2 is one document with everything, for old
clients. Descriptions are our own, for the fields looked up most (``descriptions``).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from .descriptions import DESCRIPTIONS
from .respond import json_bytes
from .schema import Node
from .status import StatusError, no_such_path

if TYPE_CHECKING:
    from .registry import Served
    from .server import Api

Object = dict[str, Any]
_INFO = {"title": "Kubernetes", "version": "v1.37.0"}
_META = ("V1ObjectMeta", "V1ListMeta", "V1OwnerReference", "V1ManagedFieldsEntry", "V1LabelSelector", "V1Status",
         "V1StatusDetails", "V1StatusCause", "V1DeleteOptions", "V1Preconditions", "V1LabelSelectorRequirement",
         "V1Condition")  # fmt: skip
_SAID = orjson.dumps(DESCRIPTIONS)
_FORMATS: dict[str, Object] = {
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "int": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "double"},
    "time": {"type": "string", "format": "date-time"},
    "bytes": {"type": "string", "format": "byte"},
    "quantity": {"type": "string"},
    "any": {"type": "object"},
    "intstr": {"type": "string", "format": "int-or-string"},
}
_PROTOBUF = "application/com.github.proto-openapi.spec.v2@"


def _field(number: int, content: bytes) -> bytes:
    """A protobuf field with content shorter than 128 bytes."""
    return bytes((number << 3 | 2, len(content))) + content


# gnostic's openapi.v2.Document: swagger = 1, info = 2 {title = 1, version = 2}, paths = 8.
_INFO_FIELDS = _field(1, _INFO["title"].encode()) + _field(2, _INFO["version"].encode())
_EMPTY_DOCUMENT = _field(1, b"2.0") + _field(2, _INFO_FIELDS) + _field(8, b"")


class Writer:
    """Collects the definitions that a document needs. ``prefix`` is where references point."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.definitions: dict[str, Object] = {}

    def _name(self, name: str) -> str:
        if name in _META:
            return "io.k8s.apimachinery.pkg.apis.meta.v1." + name.removeprefix("V1")
        # A model's name is VERSION + type, or GROUP + VERSION + type where two groups share a name.
        for version in ("V1alpha3", "V1", "V2"):
            group, found, kind = name.partition(version)
            if found and kind[:1].isupper():
                return f"io.k8s.api.{group.lower() or 'types'}.{version.lower()}.{kind}"
        return "io.k8s.api.types." + name

    def reference(self, node: Node) -> Object:
        """A reference to an object's definition, which is written if it is new."""
        name = self._name(node.name)
        if name not in self.definitions:
            definition: Object = {"type": "object"}
            self.definitions[name] = definition
            told = DESCRIPTIONS.get(node.name, {})
            if "" in told:
                definition["description"] = told[""]
            definition["properties"] = {
                field: _described(self.write(below, field), told.get(field)) for field, below in node.fields.items()
            }
            if node.required:
                definition["required"] = list(node.required)
            if node.atomic:
                definition["x-kubernetes-map-type"] = "atomic"
        return {"$ref": self._prefix + name}

    def write(self, node: Node, field: str = "") -> Object:
        """The schema of a node."""
        if node.kind == "object" and node.name:
            # Siblings of $ref are ignored, so that marks need allOf around it.
            marked = {"x-kubernetes-patch-strategy": "retainKeys"} if field == "strategy" else {}
            return {"allOf": [self.reference(node)], **marked} if marked else self.reference(node)
        if node.kind == "list":
            return self._list(node)
        if node.kind == "map" and node.item is not None:
            return {"type": "object", "additionalProperties": self.write(node.item),
                    **({"x-kubernetes-map-type": "atomic"} if node.atomic else {})}  # fmt: skip
        return dict(_FORMATS.get(node.kind, {"type": "object"}))

    def _list(self, node: Node) -> Object:
        assert node.item is not None
        told: Object = {"type": "array", "items": self.write(node.item)}
        if node.keys == ("",):
            told["x-kubernetes-list-type"] = "set"
        elif node.keys:
            told |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(node.keys)}
        else:
            told["x-kubernetes-list-type"] = "atomic"
        if node.merge_key is not None:
            told["x-kubernetes-patch-strategy"] = "merge"
            if node.merge_key:
                told["x-kubernetes-patch-merge-key"] = node.merge_key
        return told

    def kind(self, served: Served) -> str:
        """Write the definition of a served kind; returns its name."""
        resource = served.resource
        told_kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        if served.custom is not None:
            name = ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])
            spec = dict(served.custom.schema)
            metadata = self.reference(served.custom.node.child("metadata"))
            spec["properties"] = {"apiVersion": {"type": "string"}, "kind": {"type": "string"},
                                  **(spec.get("properties") or {}), "metadata": metadata}  # fmt: skip
            self.definitions[name] = spec
        elif served.node is not None:
            self.reference(served.node)
            name = self._name(served.node.name)
        else:
            raise no_such_path()
        self.definitions[name]["x-kubernetes-group-version-kind"] = [told_kind]
        return name


def _described(schema: Object, text: str | None) -> Object:
    """The schema with a description, which must not stand beside a ``$ref``."""
    if text is None:
        return schema
    return {"description": text, **({"allOf": [schema]} if "$ref" in schema else schema)}


def _served(api: Api, group: str, version: str) -> list[Served]:
    return [s for s in api.registry if (s.resource.group, s.resource.version) == (group, version)]


def _query(*names: str) -> list[Object]:
    return [{"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for name in names]


_PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
            "application/apply-patch+yaml")  # fmt: skip


def _operations(served: Served, name: str) -> dict[str, Object]:
    """Paths of a resource with the operations that clients look for."""
    resource = served.resource
    gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/" + name}}}
    responses = {"200": {"description": "OK", "content": content}}

    def operation(action: str, *queries: str, body: tuple[str, ...] = ()) -> Object:
        told: Object = {
            "operationId": f"{action}{resource.version.capitalize()}{resource.kind}",
            "parameters": _query(*queries), "responses": responses, "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
        }  # fmt: skip
        if body:
            told["requestBody"] = {"content": {media: {"schema": {"type": "object"}} for media in body}}
        return told

    writing = ("dryRun", "fieldManager", "fieldValidation")
    patches = _PATCHES if served.custom is None else tuple(p for p in _PATCHES if "strategic" not in p)
    base = resource.path("{namespace}" if resource.namespaced else None).replace("%7B", "{").replace("%7D", "}")
    return {
        base: {
            "get": operation("list", "labelSelector", "fieldSelector", "limit", "continue", "watch"),
            "post": operation("post", *writing, body=("application/json",)),
        },
        base + "/{name}": {
            "get": operation("get"),
            "put": operation("put", *writing, body=("application/json",)),
            "patch": operation("patch", *writing, "force", body=patches),
            "delete": operation("delete", "dryRun", "gracePeriodSeconds", "propagationPolicy"),
        },
    }


def _document(api: Api, group: str, version: str) -> bytes:
    writer, paths = Writer("#/components/schemas/"), dict[str, Object]()
    for served in _served(api, group, version):
        if served.node is not None or served.custom is not None:
            paths |= _operations(served, writer.kind(served))
    return orjson.dumps(
        {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": writer.definitions}}
    )


def _key(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


async def index(api: Api, request: web.BaseRequest) -> web.Response:
    """Where the document of each group version is; the hash lets clients keep it."""
    paths = {}
    for group, versions in api.registry.groups().items():
        for version in versions:
            name = _key(group, version)
            told = orjson.dumps(
                sorted(str(s.custom.schema) for s in _served(api, group, version) if s.custom is not None)
            )
            mark = hashlib.sha256(told + _INFO["version"].encode() + _SAID).hexdigest()[:32].upper()
            paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={mark}"}
    return await json_bytes(request, orjson.dumps({"paths": paths}))


async def version_3(api: Api, request: web.BaseRequest, where: list[str]) -> web.Response:
    """The document of one group version."""
    match where:
        case ["api", version]:
            group = ""
        case ["apis", group, version]:
            pass
        case _:
            raise no_such_path()
    if not _served(api, group, version):
        raise no_such_path()
    return await json_bytes(request, _document(api, group, version))


async def version_2(api: Api, request: web.BaseRequest) -> web.Response:
    """Everything in one document of the older form; to who reads only protobuf, a document without definitions.

    kubectl asks for the latter when no version 3 document knows a manifest's kind, and then says that there is no such
    kind; refused, it would complain of this server instead.
    """
    accept = request.headers.get("Accept", "*/*")
    if accept.startswith(_PROTOBUF):
        return web.Response(body=_EMPTY_DOCUMENT, content_type=_PROTOBUF.replace("@", ".") + "v1.0+protobuf")
    if not any(kind in accept for kind in ("json", "*/*", "application/*")):
        text = "only the following media types are accepted: application/json"
        raise StatusError(406, "NotAcceptable", text)
    writer = Writer("#/definitions/")
    for served in api.registry:
        if served.node is not None or served.custom is not None:
            writer.kind(served)
    body: Object = {"swagger": "2.0", "info": _INFO, "paths": {}, "definitions": writer.definitions}
    return await json_bytes(request, orjson.dumps(body))

"""Writing: create, replace and patch, through one pipeline, ending in the store.

Between reading the newest version and queueing the new one nothing awaits, so no other writer can come in between and a
patch never has to be tried twice.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from . import admission, meta, rules
from .log import Key
from .respond import json_bytes
from .schema import check_fields
from .status import (
    StatusError,
    already_exists,
    bad_request,
    bad_value,
    conflict,
    invalid,
    not_found,
    required,
)
from .store import Record

if TYPE_CHECKING:
    from .call import Call
    from .registry import Served
    from .server import Api

Object = dict[str, Any]
_NAME_TRIES = 8


def read_object(api: Api, call: Call, body: Any) -> Object:
    """The body as an object of the addressed kind in stored form, pruned and type-checked. May add warnings."""
    if not isinstance(body, dict):
        raise bad_request("the body must be a JSON object")
    resource = call.served.resource
    kind, version = body.get("kind") or resource.kind, body.get("apiVersion") or resource.api_version
    if kind != resource.kind:
        raise bad_request(f"the kind in the data ({kind}) does not match the expected kind ({resource.kind})")
    if version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({resource.api_version})"
        )
    body["kind"], body["apiVersion"] = kind, version
    meta.check_shape(body)
    check_fields(api.schema(call.served), body, call)
    return body if call.served.stored is None else call.served.stored(body)


def check_namespace(call: Call, obj: Object) -> None:
    """The namespace in the object and in the address must agree."""
    metadata = obj["metadata"]
    given = metadata.get("namespace")
    if call.served.resource.namespaced and given and given != call.namespace:
        raise bad_request(
            f"the namespace of the provided object does not match the namespace sent on the request ({given}, "
            f"{call.namespace})"
        )


def check_name(call: Call, obj: Object) -> None:
    """The name in the object and in the address must agree."""
    given = obj["metadata"].setdefault("name", call.name or "")
    if given != call.name:
        raise bad_request(f"the name of the object ({given}) does not match the name on the URL ({call.name})")


def new_object(api: Api, call: Call, obj: Object) -> tuple[Key, Object]:
    """Make a read body a new object: metadata, preparation, defaults, admission, validation. Nothing is stored."""
    served, resource = call.served, call.served.resource
    name_of = resource.group_resource
    metadata = obj["metadata"]
    check_namespace(call, obj)
    if metadata.get("resourceVersion") not in (None, "", "0"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    namespace = call.namespace if resource.namespaced else ""
    if served.custom is not None and served.custom.terminating:
        text = "create not allowed while custom resource definition is terminating"
        raise StatusError(405, "MethodNotAllowed", text)
    if resource.namespaced:
        admission.namespace_open(api, call, metadata.get("name", ""))
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = _free_name(api, served, namespace or "", metadata["generateName"])
    name = metadata.get("name") or ""
    meta.fill_new(obj, namespace, api.stamp(), generation=served.counts_generation)
    if served.custom is not None:
        if served.has_status:
            obj.pop("status", None)
    else:
        rules.prepare_new(name_of, obj)
        rules.default(name_of, obj)
    api.defaults(served, obj)
    missing = [required("metadata.name", "name or generateName is required")]
    faults = meta.name_errors(resource, name) if name else missing
    faults += meta.errors(obj, None)
    key = (namespace or "", name)
    if not faults and api.store.newest(served.table, key) is not None:
        raise already_exists(resource, name)
    faults += api.faults(served, obj, None)
    if faults:
        raise invalid(resource, name or "", faults)
    admission.admit(api, call, obj, None)
    return key, obj


def _free_name(api: Api, served: Served, namespace: str, prefix: str) -> str:
    for _ in range(_NAME_TRIES):
        name = meta.generated_name(prefix)
        if api.store.newest(served.table, (namespace, name)) is None:
            return name
    raise already_exists(served.resource, prefix)


def changed_object(api: Api, call: Call, obj: Object, record: Record, old: Object) -> Object:
    """Make a read body the next version of ``old``: what cannot change is kept, defaults and rules apply."""
    served, resource = call.served, call.served.resource
    metadata, before = obj["metadata"], old["metadata"]
    name_of = resource.group_resource
    asked = metadata.get("resourceVersion") or "0"
    if asked not in {"0", str(record.rev)}:
        raise conflict(resource, before["name"])
    if metadata.get("uid", before["uid"]) != before["uid"]:
        why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {before['uid']}"
        raise conflict(resource, before["name"], why)
    meta.keep_old(obj, old)
    if call.subresource == "status":
        obj = _status_of(served, obj, old)
    else:
        if served.has_status and name_of != "nodes":
            _keep(obj, old, "status")
        if served.custom is None:
            rules.prepare_change(name_of, obj, old)
    if served.custom is None:
        rules.default(name_of, obj)
    api.defaults(served, obj)
    faults = meta.errors(obj, old) + api.faults(served, obj, old)
    if faults:
        raise invalid(resource, before["name"], faults)
    if call.subresource != "status":
        admission.admit(api, call, obj, old)
        if served.counts_generation and _spec_changed(obj, old):
            obj["metadata"]["generation"] = before.get("generation", 0) + 1
    return obj


def _keep(obj: Object, old: Object, field: str) -> None:
    if field in old:
        obj[field] = old[field]
    else:
        obj.pop(field, None)


def _status_of(served: Served, obj: Object, old: Object) -> Object:
    """``old`` with the status of ``obj``; for built-ins also its labels, annotations and finalizers."""
    changed = dict(old)
    _keep(changed, obj, "status")
    changed["metadata"] = dict(old["metadata"])
    if served.custom is None:
        for field in ("labels", "annotations", "finalizers"):
            _keep(changed["metadata"], obj["metadata"], field)
    if "managedFields" in obj["metadata"]:
        changed["metadata"]["managedFields"] = obj["metadata"]["managedFields"]
    return changed


def _spec_changed(obj: Object, old: Object) -> bool:
    skipped = {"metadata", "status", "kind", "apiVersion"}
    return {k: v for k, v in obj.items() if k not in skipped} != {k: v for k, v in old.items() if k not in skipped}


def same(obj: Object, old: Object) -> bool:
    """Whether an update would change nothing (the resourceVersion apart)."""
    left, right = obj["metadata"], old["metadata"]
    left["resourceVersion"] = right.get("resourceVersion")
    return obj == old


def store_change(api: Api, call: Call, obj: Object, record: Record, old: Object) -> Awaitable[Record]:
    """Queue the new version; an object that was only waiting for its finalizers goes away instead."""
    served, key = call.served, record.key
    metadata = obj["metadata"]
    if same(obj, old):
        return ready(record)
    if call.dry_run:
        api.give_back(served, obj, old)
        return ready(unstored(served, key, record.rev, obj))
    if metadata.get("deletionTimestamp") and finished(served, obj):
        return api.remove(served, key, obj)
    return api.put(served, key, obj, old)


def finished(served: Served, obj: Object) -> bool:
    """Whether nothing holds back an object that is being deleted."""
    metadata = obj["metadata"]
    if metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds"):
        return False
    return not (served.resource.group_resource == "namespaces" and (obj.get("spec") or {}).get("finalizers"))


def unstored(served: Served, key: Key, rev: int, obj: Object) -> Record:
    """A record of what would have been stored."""
    return Record(key, rev, orjson.dumps(obj), served.table.selectable)


async def ready(record: Record) -> Record:
    """The record, as an awaitable like those of the store."""
    return record


async def answer(call: Call, record: Record, code: int = 200) -> web.Response:
    """The stored object as the response."""
    from .forms import plain

    return await json_bytes(call.request, plain(call.served, record), code, call.warnings)


async def create(api: Api, call: Call) -> web.Response:
    """POST to a collection."""
    obj = read_object(api, call, await call.body())
    return await answer(call, await create_object(api, call, obj), 201)


def create_object(api: Api, call: Call, obj: Object) -> Awaitable[Record]:
    """Create from a read body; the part of `create` after reading."""
    metadata = obj["metadata"]
    metadata.pop("managedFields", None)
    key, obj = new_object(api, call, obj)
    return store_new(api, call, key, obj)


def store_new(api: Api, call: Call, key: Key, obj: Object) -> Awaitable[Record]:
    """Queue a new object."""
    if call.dry_run:
        api.give_back(call.served, obj, None)
        return ready(unstored(call.served, key, 0, obj))
    return api.put(call.served, key, obj, None)


async def update(api: Api, call: Call) -> web.Response:
    """PUT of an object, or of its status."""
    body = read_object(api, call, await call.body())
    check_namespace(call, body)
    check_name(call, body)
    served = call.served
    key = (call.namespace or "", call.name or "")
    record = api.store.newest(served.table, key)
    if record is None:
        raise not_found(served.resource, key[1])
    if served.custom is not None and not body["metadata"].get("resourceVersion"):
        fault = bad_value("metadata.resourceVersion", 0, "must be specified for an update")
        raise invalid(served.resource, key[1], [fault])
    old = record.parse()
    obj = changed_object(api, call, body, record, old)
    api.managed_update(call, obj, old)
    return await answer(call, await store_change(api, call, obj, record, old))

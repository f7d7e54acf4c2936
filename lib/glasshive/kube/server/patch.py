"""PATCH: the four kinds of patch, applied to the newest version and sent through the pipeline of an update."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .apply import Wish, first, merged
from .call import PATCH_TYPES, media_type, parse_body, read_body
from .patch_json import json_patch, merge_patch
from .patch_strategic import strategic_patch
from .schema import ANY
from .status import bad_request, conflict, not_found, unsupported_media_type
from .write import (
    answer,
    changed_object,
    check_name,
    check_namespace,
    new_object,
    read_object,
    store_change,
    store_new,
)

if TYPE_CHECKING:
    from .call import Call
    from .server import Api

Object = dict[str, Any]


async def patch(api: Api, call: Call) -> web.Response:
    """PATCH of an object, or of its status."""
    kind = PATCH_TYPES.get(media_type(call.request))
    if kind is None:
        raise unsupported_media_type(media_type(call.request), PATCH_TYPES)
    body = parse_body(await read_body(call.request), yaml=kind == "apply")
    if kind == "apply":
        return await _apply(api, call, body)
    if "force" in call.query:
        raise bad_request("force may not be specified for a patch that is not an apply")
    served, key = call.served, (call.namespace or "", call.name or "")
    record = api.store.newest(served.table, key)
    if record is None:
        raise not_found(served.resource, key[1])
    old = record.parse()
    base = old if served.shown is None else served.shown(record.parse())
    obj = read_object(api, call, patched(api, call, kind, base, body))
    check_namespace(call, obj)
    check_name(call, obj)
    obj = changed_object(api, call, obj, record, old)
    api.managed_update(call, obj, old)
    return await answer(call, await store_change(api, call, obj, record, old))


def patched(api: Api, call: Call, kind: str, base: Object, body: Any) -> Any:
    """``base`` with the patch applied; ``base`` itself is not changed."""
    if kind == "json":
        return json_patch(base, body)
    if not isinstance(body, dict):
        raise bad_request("the patch must be a JSON object")
    if kind == "merge":
        return merge_patch(base, body)
    node = api.schema(call.served)
    if call.served.custom is not None or node is None:
        raise unsupported_media_type(media_type(call.request), [t for t, k in PATCH_TYPES.items() if k != "strategic"])
    return strategic_patch(node, base, body)


async def _apply(api: Api, call: Call, body: Any) -> web.Response:
    """A server-side apply: creates the object if there is none."""
    if not call.query.get("fieldManager"):
        raise bad_request("fieldManager is required for apply patch")
    if not isinstance(body, dict) or not body.get("apiVersion") or not body.get("kind"):
        raise bad_request("an apply patch needs apiVersion and kind")
    if isinstance(body.get("metadata"), dict) and body["metadata"].get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    applied = read_object(api, call, body)
    check_namespace(call, applied)
    check_name(call, applied)
    served, now = call.served, api.stamp()
    who = (call.manager, "Apply", call.subresource)
    wish = Wish(api.schema(served) or ANY, applied, who, served.resource.api_version, now, call.flag("force"),
                served.has_status)  # fmt: skip
    record = api.store.newest(served.table, (call.namespace or "", call.name or ""))
    if record is None:
        if call.subresource:
            raise not_found(served.resource, call.name or "")
        if applied["metadata"].get("uid"):
            raise conflict(served.resource, call.name or "", "uid mismatch: the provided object specified a uid")
        managers = first(wish)
        applied["metadata"].pop("managedFields", None)
        key, obj = new_object(api, call, deepcopy(applied))
        managers.write(obj["metadata"])
        return await answer(call, await store_new(api, call, key, obj), 201)
    old = record.parse()
    base = old if served.shown is None else served.shown(record.parse())
    asked = applied["metadata"].get("resourceVersion")
    obj, managers = merged(wish, base)
    obj["metadata"]["resourceVersion"] = asked or str(record.rev)
    obj = changed_object(api, call, obj, record, old)
    managers.write(obj["metadata"])
    return await answer(call, await store_change(api, call, obj, record, old))

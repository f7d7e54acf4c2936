"""PATCH: the four kinds of patch, applied to the newest version and sent through the pipeline of an update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from .call import PATCH_TYPES, media_type, parse_body, read_body
from .patch_json import json_patch, merge_patch
from .patch_strategic import strategic_patch
from .status import StatusError, bad_request, not_found, unsupported_media_type
from .write import answer, changed_object, check_name, check_namespace, read_object, store_change

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
        raise StatusError(501, "NotImplemented", "server-side apply")
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

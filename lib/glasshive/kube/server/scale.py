"""The scale subresource: replicas of any workload through one small object, autoscaling/v1 Scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from glasshive.api.selectors import of_label_selector, to_text

from . import write
from .call import PATCH_TYPES, media_type, parse_body, read_body
from .patch_json import json_patch, merge_patch
from .respond import json_object
from .status import bad_request, bad_value, conflict, invalid, not_found, unsupported_media_type

if TYPE_CHECKING:
    from .call import Call
    from .server import Api
    from .store import Record

Object = dict[str, Any]


def _at(obj: Object, path: str) -> Any:
    value: Any = obj
    for part in path.strip(".").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _paths(call: Call) -> tuple[str, str, str]:
    """Where replicas are wanted, where they are counted, and where the selector is, as dotted paths."""
    custom = call.served.custom
    if custom is None:
        return "spec.replicas", "status.replicas", "spec.selector"
    scale = custom.scale
    return scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", "")


def _scale_of(call: Call, obj: Object) -> Object:
    wanted, counted, selector_path = _paths(call)
    selector = _at(obj, selector_path) if selector_path else None
    if isinstance(selector, dict):
        plain = call.served.resource.kind == "ReplicationController"
        selector = to_text(of_label_selector({"matchLabels": selector} if plain else selector))
    metadata = {k: v for k, v in obj["metadata"].items()
                if k in {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"}}  # fmt: skip
    status: Object = {"replicas": _at(obj, counted) or 0}
    if selector:
        status["selector"] = selector
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
            "spec": {"replicas": _at(obj, wanted) or 0}, "status": status}  # fmt: skip


def _record(api: Api, call: Call) -> Record:
    record = api.store.newest(call.served.table, (call.namespace or "", call.name or ""))
    if record is None:
        raise not_found(call.served.resource, call.name or "")
    return record


async def get(api: Api, call: Call) -> web.Response:
    """GET of the Scale."""
    record = call.served.table.records.get((call.namespace or "", call.name or ""))
    if record is None:
        raise not_found(call.served.resource, call.name or "")
    del api
    return await json_object(call.request, _scale_of(call, record.parse()))


async def update(api: Api, call: Call) -> web.Response:
    """PUT of a Scale."""
    return await _change(api, call, _record(api, call), await call.body())


async def patch(api: Api, call: Call) -> web.Response:
    """PATCH of a Scale; its fields are plain, so a strategic patch is a merge patch."""
    kind = PATCH_TYPES.get(media_type(call.request))
    if kind is None:
        raise unsupported_media_type(media_type(call.request), PATCH_TYPES)
    body = parse_body(await read_body(call.request), yaml=kind == "apply")
    record = _record(api, call)
    now = _scale_of(call, record.parse())
    return await _change(api, call, record, json_patch(now, body) if kind == "json" else merge_patch(now, body))


async def _change(api: Api, call: Call, record: Record, body: Any) -> web.Response:
    spec = body.get("spec") if isinstance(body, dict) else None
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request("a Scale needs spec.replicas, a whole number")
    resource = call.served.resource
    if replicas < 0:
        fault = bad_value("spec.replicas", replicas, "must be greater than or equal to 0")
        raise invalid(resource, call.name or "", [fault])
    # The record may have been read before the body was: look again, so that nothing comes in between.
    record = api.store.newest(call.served.table, record.key) or record
    metadata = body.get("metadata")
    asked = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if asked and asked not in ("0", str(record.rev)):  # a tuple: what was asked may be of any type
        raise conflict(resource, call.name or "")
    obj, old = record.parse(), record.parse()
    *parents, last = _paths(call)[0].strip(".").split(".")
    place: Any = obj
    for part in parents:
        place = place.setdefault(part, {})
    place[last] = replicas
    obj = write.changed_object(api, call, obj, record, old)
    api.managed_update(call, obj, old)
    changed = await write.store_change(api, call, obj, record, old)
    return await json_object(call.request, _scale_of(call, changed.parse()))

"""Parts of objects with addresses of their own: status, scale, binding, eviction, finalize.

``proxy`` has logs, ``tunnel`` exec, attach and port-forward.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from glasshive.api.resources import POD

from . import eviction, patch, proxy, read, scale, tunnel, write
from .respond import json_object
from .status import bad_request, conflict, method_not_allowed, not_found, not_served_yet, success

if TYPE_CHECKING:
    from .call import Call
    from .server import Api
    from .store import Record

Object = dict[str, Any]
Handler = Callable[["Api", "Call"], Awaitable[web.StreamResponse]]


async def handle(api: Api, call: Call) -> web.StreamResponse:
    """Find the handler of a subresource."""
    handler = _HANDLERS.get((call.subresource, call.request.method))
    if handler is None:
        raise method_not_allowed(call.served.resource)
    return await handler(api, call)


def _newest(api: Api, call: Call) -> Record:
    record = api.store.newest(call.served.table, (call.namespace or "", call.name or ""))
    if record is None:
        raise not_found(call.served.resource, call.name or "")
    return record


async def bind(api: Api, call: Call) -> web.Response:
    """POST of a Binding: give a pod its node, once."""
    body = await call.body()
    target = body.get("target") if isinstance(body, dict) else None
    node = target.get("name") if isinstance(target, dict) else None
    if not isinstance(node, str) or not node:
        raise bad_request("a Binding needs target.name, the node's name")
    metadata = body.get("metadata") if isinstance(body.get("metadata"), dict) else {}
    if call.name is None:
        call.name = str(metadata.get("name") or "")
        call.served = api.registry.builtin(POD)
    record = _newest(api, call)
    obj, old = record.parse(), record.parse()
    conditions_before = (obj.get("status") or {}).get("conditions") or []
    if obj["metadata"].get("deletionTimestamp"):
        raise conflict(POD, call.name, f"pod {call.name} is being deleted, cannot be assigned to a host")
    if obj["spec"].get("nodeName"):
        raise conflict(POD, call.name, f'pod {call.name} is already assigned to node "{obj["spec"]["nodeName"]}"')
    obj["spec"]["nodeName"] = node
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict) and annotations and all(isinstance(v, str) for v in annotations.values()):
        obj["metadata"]["annotations"] = {**(obj["metadata"].get("annotations") or {}), **annotations}
    conditions = [c for c in conditions_before if c.get("type") != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": api.stamp()}
    obj.setdefault("status", {})["conditions"] = [*conditions, scheduled]
    if not call.dry_run:
        await api.put(call.served, record.key, obj, old)
    return await json_object(call.request, success(), 201)


async def finalize(api: Api, call: Call) -> web.Response:
    """PUT of a Namespace's ``spec.finalizers``; the namespace goes when the last is gone and it is being deleted."""
    body = write.read_object(api, call, await call.body())
    write.check_name(call, body)
    record = _newest(api, call)
    asked = body["metadata"].get("resourceVersion")
    if asked and asked != str(record.rev):
        raise conflict(call.served.resource, call.name or "")
    obj, old = record.parse(), record.parse()
    obj.setdefault("spec", {})["finalizers"] = (body.get("spec") or {}).get("finalizers") or []
    return await write.answer(call, await write.store_change(api, call, obj, record, old))


async def _not_yet(_: Api, call: Call) -> web.Response:
    raise not_served_yet(f"{call.served.resource.plural}/{call.subresource} is not offered by this server")


_HANDLERS: dict[tuple[str, str], Handler] = {
    ("status", "GET"): read.get,
    ("status", "PUT"): write.update,
    ("status", "PATCH"): patch.patch,
    ("scale", "GET"): scale.get,
    ("scale", "PUT"): scale.update,
    ("scale", "PATCH"): scale.patch,
    ("binding", "POST"): bind,
    ("eviction", "POST"): eviction.evict,
    ("finalize", "PUT"): finalize,
    ("log", "GET"): proxy.log,
    ("exec", "GET"): tunnel.exec_,
    ("exec", "POST"): tunnel.exec_,
    ("attach", "GET"): tunnel.attach,
    ("attach", "POST"): tunnel.attach,
    ("portforward", "GET"): tunnel.port_forward,
    ("portforward", "POST"): tunnel.port_forward,
    ("ephemeralcontainers", "GET"): read.get,
    ("ephemeralcontainers", "PUT"): _not_yet,
    ("ephemeralcontainers", "PATCH"): _not_yet,
    ("token", "POST"): _not_yet,
}

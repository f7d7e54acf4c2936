"""Deleting: preconditions, grace, finalizers and propagation; one object or a selected collection.

What holds an object back (finalizers, a pod's grace, a namespace's content) turns the deletion into a mark,
``metadata.deletionTimestamp``; the last one to let go removes it through an update or, for pods, a deletion with grace
0. Dependents are the garbage collector's business; here the wish is only written down as a finalizer.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from . import crd, forms
from .respond import json_bytes, json_object, wanted_form
from .status import bad_request, bad_value, conflict, invalid, not_found, success
from .write import finished, ready, unstored

if TYPE_CHECKING:
    from .call import Call
    from .log import Key
    from .registry import Served
    from .server import Api
    from .store import Record

Object = dict[str, Any]
_POLICIES = {"Orphan": "orphan", "Foreground": "foregroundDeletion", "Background": ""}
_DEFAULT_POD_GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Wish:
    """How to delete: seconds of grace (None: the object's own), propagation policy, preconditions."""

    grace_seconds: int | None
    policy: str
    uid: str
    revision: str
    dry_run: bool


async def read_wish(call: Call) -> Wish:
    """DeleteOptions from the body and the query; the body wins."""
    return wish_of(call, await call.body())


def wish_of(call: Call, body: Any) -> Wish:
    """The part of `read_wish` after reading."""
    if not isinstance(body, dict):
        raise bad_request("the body of a deletion must be a DeleteOptions object")
    grace = body.get("gracePeriodSeconds")
    if grace is None:
        grace = call.number("gracePeriodSeconds")
    policy = body.get("propagationPolicy") or call.query.get("propagationPolicy", "")
    orphan = body.get("orphanDependents")
    if orphan is None and "orphanDependents" in call.query:
        orphan = call.flag("orphanDependents")
    if orphan is not None:
        policy = "Orphan" if orphan else "Background"
    if not isinstance(policy, str) or policy not in {*_POLICIES, ""}:
        raise bad_request(f'propagationPolicy: Unsupported value: "{policy}"; use Foreground, Background or Orphan')
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool)):
        raise bad_request("gracePeriodSeconds must be a whole number")
    dry = body.get("dryRun") or []
    conditions = body.get("preconditions") or {}
    if not isinstance(conditions, dict) or not isinstance(dry, list):
        raise bad_request("preconditions must be an object, dryRun a list")
    uid, revision = conditions.get("uid") or "", conditions.get("resourceVersion") or ""
    return Wish(grace, str(policy), str(uid), str(revision), call.dry_run or "All" in dry)


async def delete(api: Api, call: Call) -> web.Response:
    """DELETE of one object."""
    wish = await read_wish(call)
    served, key = call.served, (call.namespace or "", call.name or "")
    record = api.store.newest(served.table, key)
    if record is None:
        raise not_found(served.resource, key[1])
    gone, pending = delete_record(api, served, key, record, wish)
    record = await pending
    if gone and served.resource.group_resource not in _RETURN_OBJECT:
        about = {"name": key[1], "group": served.resource.group, "kind": served.resource.plural,
                 "uid": record.parse()["metadata"]["uid"]}  # fmt: skip
        return await json_object(call.request, success({k: v for k, v in about.items() if v}))
    return await json_bytes(call.request, forms.plain(served, record), warnings=call.warnings)


#: Kinds whose deletion answers with the object even when it is gone at once.
_RETURN_OBJECT = frozenset({
    "pods", "services", "serviceaccounts", "persistentvolumeclaims", "persistentvolumes", "podtemplates",
    "resourcequotas",
})  # fmt: skip


def delete_record(api: Api, served: Served, key: Key, record: Record, wish: Wish) -> tuple[bool, Awaitable[Record]]:
    """Remove or mark one object; says whether it is gone, and gives its last state once that is durable."""
    obj = record.parse()
    metadata = obj["metadata"]
    if wish.uid and wish.uid != metadata["uid"]:
        why = f"Precondition failed: UID in precondition: {wish.uid}, UID in object meta: {metadata['uid']}"
        raise conflict(served.resource, key[1], why)
    if wish.revision and wish.revision != str(record.rev):
        why = f"Precondition failed: ResourceVersion in precondition: {wish.revision}, in object meta: {record.rev}"
        raise conflict(served.resource, key[1], why)
    before = orjson.dumps(obj)
    _set_policy(metadata, wish.policy)
    _mark(api, served, obj, _grace(served, obj, wish))
    gone = finished(served, obj)
    if wish.dry_run:
        return gone, ready(unstored(served, key, record.rev, obj))
    if gone:
        return True, api.remove(served, key, obj)
    if orjson.dumps(obj) == before:
        return False, ready(record)
    return False, api.put(served, key, obj, record.parse())


def _set_policy(metadata: Object, policy: str) -> None:
    if not policy or metadata.get("deletionTimestamp"):
        return
    finalizers = [f for f in metadata.get("finalizers") or [] if f not in {"orphan", "foregroundDeletion"}]
    if _POLICIES[policy]:
        finalizers.append(_POLICIES[policy])
    metadata["finalizers"] = finalizers
    if not finalizers:
        del metadata["finalizers"]


def _grace(served: Served, obj: Object, wish: Wish) -> int:
    """Seconds between the mark and the end; only pods are given any."""
    if wish.grace_seconds is not None and wish.grace_seconds < 0:
        fault = bad_value("gracePeriodSeconds", wish.grace_seconds, "must be greater than or equal to 0")
        raise invalid(served.resource, obj["metadata"]["name"], [fault])
    if served.resource.group_resource != "pods":
        return 0
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in {"Succeeded", "Failed"}:
        return 0
    if wish.grace_seconds is not None:
        return wish.grace_seconds
    own = spec.get("terminationGracePeriodSeconds")
    return own if isinstance(own, int) else _DEFAULT_POD_GRACE_SECONDS


def _mark(api: Api, served: Served, obj: Object, grace: int) -> None:
    metadata = obj["metadata"]
    already = metadata.get("deletionTimestamp")
    if already:
        if grace < metadata.get("deletionGracePeriodSeconds", 0):
            metadata["deletionTimestamp"] = api.stamp(timedelta(seconds=grace))
            metadata["deletionGracePeriodSeconds"] = grace
        return
    metadata["deletionTimestamp"] = api.stamp(timedelta(seconds=grace))
    metadata["deletionGracePeriodSeconds"] = grace
    if served.counts_generation:
        metadata["generation"] = metadata.get("generation", 0) + 1
    name = served.resource.group_resource
    if name == "namespaces":
        obj.setdefault("status", {})["phase"] = "Terminating"
    if name == "customresourcedefinitions.apiextensions.k8s.io":
        crd.mark_terminating(obj, api.stamp())


async def delete_collection(api: Api, call: Call) -> web.Response:
    """DELETE of all selected objects; the answer lists them."""
    wish = await read_wish(call)
    scope, served = call.scope(), call.served
    chosen = [r for r in api.store.newest_in(served.table, scope.namespace) if scope.has(r)]
    limit = call.number("limit")
    waiting = [delete_record(api, served, r.key, r, wish)[1] for r in chosen[: limit or None]]
    last = [await pending for pending in waiting]
    body = forms.listing(api, call, last, api.store.revision, token="", left=None, form=wanted_form(call.request))
    return await json_bytes(call.request, body)

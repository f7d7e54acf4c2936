"""Waiting for objects: what a condition means, and following objects by watch until it holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from glasshive.api.resources import Resource
from glasshive.cluster import views
from glasshive.cluster.api_client import ApiClient
from glasshive.errors import ApiError, DeadlineError, UsageError

Object = dict[str, Any]
Condition = str | Callable[[Object], bool]
_RETRY_SECONDS = 0.2


def predicate(condition: Condition) -> Callable[[Object], bool]:
    """Turn a condition into a test of one object.

    ``"Ready"``, ``"Available"``, ``"Complete"``...: that status condition is True. ``"phase=Running"``: the status
    field has that value. ``"exists"``: it is there. A function is used as it is. For ``"deleted"`` see :func:`wait`.
    """
    if callable(condition):
        return condition
    if condition == "exists":
        return lambda _: True
    field, equals, value = condition.partition("=")
    if equals:
        return lambda obj: str((obj.get("status") or {}).get(field)) == value
    if not condition or not condition[0].isupper():
        raise UsageError(
            f"condition {condition!r} is unknown; allowed: Ready (or another type), exists, deleted, phase=..."
        )
    return lambda obj: views.is_true(obj, condition)


def wait(
    client: ApiClient,
    resource: Resource,
    *,
    name: str,
    namespace: str | None,
    selector: str,
    condition: Condition,
    timeout: float,
    count: int = 1,
) -> list[Object]:
    """Wait until at least ``count`` objects match and the condition holds for all of them; returns them.

    ``name`` "" means all objects of the kind that ``selector`` picks. ``condition`` "deleted": none is left.
    Raises DeadlineError, which says what was seen last.
    """
    deleted = condition == "deleted"
    holds = (lambda _: False) if deleted else predicate(condition)
    deadline = time.monotonic() + timeout
    seen: dict[str, Object] = {}

    def done() -> bool:
        return not seen if deleted else len(seen) >= count and all(holds(obj) for obj in seen.values())

    while True:
        try:
            items, version = client.list(resource, namespace, selector=selector)
            seen = {_key(obj): obj for obj in items if name in ("", obj["metadata"]["name"])}
            if done():
                return list(seen.values())
            left = deadline - time.monotonic()
            if left > 0:
                for kind, obj in client.watch(resource, namespace, version, selector=selector, timeout=left):
                    if name in ("", obj["metadata"].get("name")) and kind != "BOOKMARK":
                        seen.pop(_key(obj), None)
                        if kind != "DELETED":
                            seen[_key(obj)] = obj
                    if done():
                        return list(seen.values())
                    if time.monotonic() > deadline:
                        break
        except ApiError as error:
            if error.code not in {410, 503, 504} or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)  # the control plane is being restarted; the deadline ends this
        if time.monotonic() >= deadline:
            what = (
                f"after {timeout:g} s {resource.singular} {name}" if name else f"after {timeout:g} s {resource.plural}"
            )
            shown = condition if isinstance(condition, str) else getattr(condition, "__name__", "as asked")
            raise DeadlineError(_explain(what, shown, [o for o in seen.values() if not holds(o)], len(seen)))


def _key(obj: Object) -> str:
    return f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"


def _explain(what: str, shown: str, missing: list[Object], total: int) -> str:
    if not total:
        return f"{what}: not {shown}: there is none"
    text = f"{what}: {len(missing)} of {total} not {shown}"
    return f"{text}; {missing[0]['metadata']['name']}: {last_word(missing[0])}" if missing else text


def last_word(obj: Object) -> str:
    """Return why an object is not there yet, as well as its status tells."""
    status = obj.get("status") or {}
    for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("message") or waiting.get("reason"):
            return f"{waiting.get('reason', '')} {waiting.get('message', '')}".strip()
    for one in status.get("conditions") or ():
        if one.get("status") != "True" and one.get("message"):
            return f"{one.get('reason', one['type'])}: {one['message']}"
    return str(status.get("message") or status.get("phase") or "no status yet")

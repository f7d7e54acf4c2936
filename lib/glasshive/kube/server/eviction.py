"""Eviction of a pod: a deletion that respects disruption budgets; ``operator.disruption`` keeps their accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from glasshive.api.resources import POD_DISRUPTION_BUDGET
from glasshive.api.selectors import matches, of_label_selector

from . import delete
from .respond import json_object
from .status import StatusError, internal, not_found, success

if TYPE_CHECKING:
    from .call import Call
    from .server import Api

Object = dict[str, Any]


async def evict(api: Api, call: Call) -> web.Response:
    """POST of an Eviction: a deletion that respects disruption budgets."""
    body = await call.body()
    record = api.store.newest(call.served.table, (call.namespace or "", call.name or ""))
    if record is None:
        raise not_found(call.served.resource, call.name or "")
    pod = record.parse()
    # What has ended, is going, or has not begun disrupts nobody by going.
    free = {"Succeeded", "Failed", "Pending", ""}
    if not (pod["metadata"].get("deletionTimestamp") or ((pod.get("status") or {}).get("phase") or "") in free):
        await _spend_budget(api, call, pod)
    wish = delete.wish_of(call, (body.get("deleteOptions") if isinstance(body, dict) else None) or {})
    _, pending = delete.delete_record(api, call.served, record.key, record, wish)
    await pending
    return await json_object(call.request, success(), 201)


async def _spend_budget(api: Api, call: Call, pod: Object) -> None:
    """Take one from what the pod's disruption budget allows; StatusError 429 if there is nothing left."""
    budgets = api.registry.builtin(POD_DISRUPTION_BUDGET)
    labels = pod["metadata"].get("labels") or {}
    found = []
    for record in api.store.newest_in(budgets.table, call.namespace):
        selector = (record.parse().get("spec") or {}).get("selector")
        if selector is not None and matches(of_label_selector(selector), labels):
            found.append(record)
    if len(found) > 1:
        raise internal("this pod has more than one PodDisruptionBudget, which an eviction cannot respect all at once")
    if not found:
        return
    budget, old = found[0].parse(), found[0].parse()
    status = budget.setdefault("status", {})
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in pod["status"].get("conditions") or ())
    if not ready and _may_go_unready(budget):
        return
    _refuse_overspending(budget)
    if not call.dry_run:
        status["disruptionsAllowed"] -= 1
        status.setdefault("disruptedPods", {})[call.name or ""] = api.stamp()
        await api.put(budgets, found[0].key, budget, old)


def _may_go_unready(budget: Object) -> bool:
    """Whether the budget lets a pod go that is of no use anyway."""
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    desired, current = (int(budget["status"].get(name, 0)) for name in ("desiredHealthy", "currentHealthy"))
    return current >= desired > 0


def _refuse_overspending(budget: Object) -> None:
    name, status = budget["metadata"]["name"], budget["status"]
    current, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        told = f"The disruption budget {name} is still being processed by the server."
    elif status.get("disruptionsAllowed", 0) <= 0:
        told = f"The disruption budget {name} needs {desired} healthy pods and has {current} currently"
    else:
        return
    text = "Cannot evict pod as it would violate the pod's disruption budget."
    cause = {"reason": "DisruptionBudget", "message": told}
    raise StatusError(429, "TooManyRequests", text, {"causes": [cause], "retryAfterSeconds": 10})

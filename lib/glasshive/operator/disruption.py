"""PodDisruptionBudget: how many of a budget's pods may be evicted now. The API server's eviction obeys the status.

An eviction takes one from ``disruptionsAllowed`` and notes the pod in ``disruptedPods``, so that several at once cannot
all spend the same allowance; here the note is forgotten when the pod is on its way out, or after a while if it is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from glasshive.api.resources import DEPLOYMENT, POD, POD_DISRUPTION_BUDGET, REPLICA_SET, STATEFUL_SET
from glasshive.api.selectors import matches, of_label_selector
from glasshive.errors import ApiError
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, controller_of, is_terminating, key_of, labels_of, uid_of
from glasshive.operator.clock import seconds_since
from glasshive.operator.conditions import with_condition
from glasshive.operator.controller import Context, Controller
from glasshive.operator.pods import is_finished, is_ready
from glasshive.operator.rollout import share

FORGET_SECONDS = 120.0
"""An eviction that has not led to a deletion after this time counts no more."""
_RETRY_SECONDS = 0.2


class DisruptionController(Controller):
    """Keeps the status of disruption budgets."""

    name: ClassVar[str] = "disruption"
    workers: ClassVar[int] = 1

    def __init__(self, context: Context) -> None:
        self._budgets = context.caches.of(POD_DISRUPTION_BUDGET)
        self._pods = context.caches.of(POD)
        self._scaled = {
            resource.kind: context.caches.of(resource) for resource in (REPLICA_SET, STATEFUL_SET, DEPLOYMENT)
        }
        super().__init__(context, [self._budgets, self._pods, *self._scaled.values()])
        self._budgets.on_event(self.enqueue)
        self._pods.on_event(self._on_pod)
        for collection in self._scaled.values():
            collection.on_event(self._on_scale)

    def _on_pod(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        for pod in filter(None, (old, new)):
            for budget in self._budgets.informer.by_index("namespace", key_of(pod)[0]):
                if covers(budget, pod):
                    self.queue.add(key_of(budget))

    def _on_scale(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and old["spec"].get("replicas") == new["spec"].get("replicas"):
            return
        for budget in self._budgets.informer.by_index("namespace", key_of(new or old or {})[0]):
            self.queue.add(key_of(budget))

    async def reconcile(self, key: Key) -> float | None:
        """Bring one budget's status up to date."""
        budget = self._budgets.get(key[1], key[0])
        if budget is None or is_terminating(budget):
            return None
        pods = [p for p in self._pods.informer.by_index("namespace", key[0]) if covers(budget, p)]
        status = status_of(budget, [p for p in pods if not is_finished(p)], self._expected(pods))
        before = budget.get("status") or {}
        if before != status:
            gone = dict.fromkeys(before.get("disruptedPods", {}).keys() - status["disruptedPods"].keys())
            version = {"resourceVersion": budget["metadata"]["resourceVersion"]}
            body = {"metadata": version, "status": {**status, "disruptedPods": {**status["disruptedPods"], **gone}}}
            try:
                await self._budgets.patch(budget, body, subresource="status")
            except ApiError as error:
                if error.code == 409:  # an eviction came between: look again when the cache has it
                    return _RETRY_SECONDS
                if error.code != 404:
                    raise
        return FORGET_SECONDS if status["disruptedPods"] else None

    def _expected(self, pods: Iterable[Object]) -> int:
        """How many pods the owners of these pods want; a pod without such an owner counts for itself."""
        wanted: dict[str, int] = {}
        alone = 0
        for pod in pods:
            owner = self._owner(pod)
            if owner is None:
                alone += not is_finished(pod)
            else:
                wanted[uid_of(owner)] = int(owner["spec"].get("replicas", 1))
        return alone + sum(wanted.values())

    def _owner(self, obj: Object) -> Object | None:
        """The topmost of those owners that have a number of replicas."""
        reference = controller_of(obj)
        collection = self._scaled.get(reference["kind"]) if reference is not None else None
        owner = collection.get(reference["name"], key_of(obj)[0]) if collection is not None and reference else None
        if owner is None or reference is None or uid_of(owner) != reference["uid"]:
            return None
        return self._owner(owner) or owner


def covers(budget: Object, pod: Object) -> bool:
    """Tell whether a budget selects a pod; an empty selector selects all, none nothing."""
    selector = budget["spec"].get("selector")
    return selector is not None and matches(of_label_selector(selector), labels_of(pod))


def status_of(budget: Object, pods: list[Object], expected: int) -> dict[str, Any]:
    """Return the status that fits a budget's unfinished pods and the number of them that their owners want. Pure."""
    spec, before = budget["spec"], budget.get("status") or {}
    leaving = {str(p["metadata"]["name"]) for p in pods if is_terminating(p)}
    names = {str(p["metadata"]["name"]) for p in pods}
    disrupted = {
        name: when
        for name, when in (before.get("disruptedPods") or {}).items()
        if name in names - leaving and seconds_since(when) < FORGET_SECONDS
    }
    healthy = sum(
        is_ready(p) and p["metadata"]["name"] not in leaving and p["metadata"]["name"] not in disrupted for p in pods
    )
    if spec.get("maxUnavailable") is not None:
        desired = max(0, expected - share(spec["maxUnavailable"], expected, up=True))
    elif isinstance(spec.get("minAvailable"), str):
        desired = share(spec["minAvailable"], expected, up=True)
    else:
        expected = len(pods)
        desired = int(spec.get("minAvailable", 1))
    allowed = max(0, healthy - desired) if expected else 0
    reason, state = ("SufficientPods", "True") if allowed else ("InsufficientPods", "False")
    return {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
        "disruptedPods": disrupted,
        "observedGeneration": budget["metadata"].get("generation", 1),
        "conditions": with_condition(before.get("conditions") or [], "DisruptionAllowed", state, reason, ""),
    }

"""ReplicaSet: as many active pods as ``spec.replicas`` says, and a status that counts them."""

from __future__ import annotations

from typing import Any, ClassVar

from glasshive.api.resources import POD, REPLICA_SET
from glasshive.api.selectors import matches, of_label_selector
from glasshive.errors import ApiError
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, controller_of, is_terminating, key_of, labels_of
from glasshive.operator.children import all_of, claims, settle, slow_start
from glasshive.operator.conditions import with_condition, without_condition
from glasshive.operator.controller import Context, Controller
from glasshive.operator.pods import from_template, is_active, is_ready, removal_order, seconds_until_available

COMPONENT = "replicaset-controller"


class ReplicaSetController(Controller):
    """Creates and deletes pods of ReplicaSets."""

    name: ClassVar[str] = "replicaset"

    def __init__(self, context: Context) -> None:
        self._sets = context.caches.of(REPLICA_SET)
        self._pods = context.caches.of(POD)
        super().__init__(context, [self._sets, self._pods])
        self._sets.on_event(self.enqueue)
        self._pods.on_event(self._on_pod)

    def _on_pod(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        self.enqueue_owner("ReplicaSet", old, new)
        if new is not None and controller_of(new) is None:
            for candidate in self._sets.informer.by_index("namespace", key_of(new)[0]):
                if matches(of_label_selector(candidate["spec"].get("selector")), labels_of(new)):
                    self.queue.add(key_of(candidate))

    async def reconcile(self, key: Key) -> float | None:
        """Bring one ReplicaSet's pods to the wanted number."""
        found = self._sets.get(key[1], key[0])
        if found is None:
            return None
        selector = of_label_selector(found["spec"].get("selector"))
        orphans = self._pods.informer.by_index("orphans", key[0])
        claimed = claims(found, selector, self._pods.controlled_by(found), orphans)
        pods = await settle(found, "ReplicaSet", claimed, self._pods)
        failure: BaseException | None = None
        if not is_terminating(found):
            failure = await self._scale(found, [p for p in pods if is_active(p)])
            pods = self._pods.controlled_by(found)
        found = self._sets.get(key[1], key[0]) or found
        status, wait = status_of(found, [p for p in pods if is_active(p)], failure)
        try:
            await self._sets.set_status(found, status)
        except ApiError as error:
            if error.code != 404:
                raise
        if isinstance(failure, Exception):
            raise failure  # back to the queue, which retries later
        return wait

    async def _scale(self, owner: Object, active: list[Object]) -> BaseException | None:
        missing = int(owner["spec"].get("replicas", 1)) - len(active)
        if missing < 0:
            doomed = removal_order(active)[:-missing]
            await all_of([self._delete(owner, pod) for pod in doomed])
            return None
        failure = await slow_start(missing, lambda: self._create(owner))
        if failure is not None:
            self.context.events.warning(owner, "FailedCreate", f"Error creating: {failure}", COMPONENT)
        return failure

    async def _create(self, owner: Object) -> None:
        pod = await self._pods.create(from_template(owner, "apps/v1", "ReplicaSet", owner["spec"]["template"]))
        message = f"Created pod: {pod['metadata']['name']}"
        self.context.events.normal(owner, "SuccessfulCreate", message, COMPONENT)

    async def _delete(self, owner: Object, pod: Object) -> None:
        await self._pods.delete(pod)
        message = f"Deleted pod: {pod['metadata']['name']}"
        self.context.events.normal(owner, "SuccessfulDelete", message, COMPONENT)


def status_of(
    replica_set: Object, active: list[Object], failure: BaseException | None = None
) -> tuple[dict[str, Any], float | None]:
    """Return the status that fits the active pods, and the seconds until a ready pod becomes available. Pure."""
    spec = replica_set["spec"]
    template_labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    waits = [seconds_until_available(p, int(spec.get("minReadySeconds") or 0)) for p in active]
    conditions = (replica_set.get("status") or {}).get("conditions") or []
    if failure is not None:
        conditions = with_condition(conditions, "ReplicaFailure", "True", "FailedCreate", str(failure))
    else:
        conditions = without_condition(conditions, "ReplicaFailure")
    status: dict[str, Any] = {
        "replicas": len(active),
        "observedGeneration": replica_set["metadata"].get("generation", 0),
    }
    counts = {
        "fullyLabeledReplicas": sum(template_labels.items() <= labels_of(p).items() for p in active),
        "readyReplicas": sum(map(is_ready, active)),
        "availableReplicas": sum(w == 0 for w in waits),
    }
    status |= {name: count for name, count in counts.items() if count}
    if conditions:
        status["conditions"] = conditions
    return status, min((w for w in waits if w), default=None)

"""StatefulSet: pods with names and ordinals that last (computed in ``stateful_plan``)."""

from __future__ import annotations

from typing import ClassVar

from glasshive.api.resources import CONTROLLER_REVISION, PERSISTENT_VOLUME_CLAIM, POD, STATEFUL_SET
from glasshive.api.selectors import matches, of_label_selector
from glasshive.errors import ApiError
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, controller_of, is_terminating, key_of, labels_of
from glasshive.operator import history, revisions, stateful_plan
from glasshive.operator.children import all_of, claims, settle
from glasshive.operator.controller import Context, Controller
from glasshive.operator.pods import is_finished

COMPONENT = "statefulset-controller"


class StatefulSetController(Controller):
    """Creates, replaces and deletes pods of StatefulSets."""

    name: ClassVar[str] = "statefulset"

    def __init__(self, context: Context) -> None:
        self._sets = context.caches.of(STATEFUL_SET)
        self._pods = context.caches.of(POD)
        self._revisions = context.caches.of(CONTROLLER_REVISION)
        super().__init__(context, [self._sets, self._pods, self._revisions])
        self._sets.on_event(self.enqueue)
        self._pods.on_event(self._on_pod)

    def _on_pod(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        self.enqueue_owner("StatefulSet", old, new)
        if new is not None and controller_of(new) is None:
            for candidate in self._sets.informer.by_index("namespace", key_of(new)[0]):
                if matches(of_label_selector(candidate["spec"].get("selector")), labels_of(new)):
                    self.queue.add(key_of(candidate))

    async def reconcile(self, key: Key) -> float | None:
        """Take one StatefulSet one step further."""
        found = self._sets.get(key[1], key[0])
        if found is None:
            return None
        selector = of_label_selector(found["spec"].get("selector"))
        orphans = self._pods.informer.by_index("orphans", key[0])
        fitting = [o for o in orphans if stateful_plan.ordinal_of(found, o) is not None]
        claimed = claims(found, selector, self._pods.controlled_by(found), fitting)
        pods = await settle(found, "StatefulSet", claimed, self._pods)
        used = {revision.rpartition("-")[2] for p in pods if (revision := stateful_plan.revision_of(p))}
        before = found.get("status") or {}
        used |= {str(before.get("currentRevision") or "").rpartition("-")[2]}
        update = await history.keep(self._revisions, found, "StatefulSet", used)
        wait: float | None = None
        if not is_terminating(found):
            wait = await self._step(found, pods, update)
        status = stateful_plan.status_of(found, self._pods.controlled_by(found), update["metadata"]["name"])
        await self._sets.set_status(found, status)
        return wait

    async def _step(self, found: Object, pods: list[Object], update: Object) -> float | None:
        name = update["metadata"]["name"]
        current = stateful_plan.first_revision(found, update)
        todo = stateful_plan.plan(found, pods, current, name)
        await all_of([self._remove(found, pod) for pod in todo.remove])
        known = {r["metadata"]["name"]: r for r in self._revisions.controlled_by(found)} | {name: update}
        for number, revision in todo.create:
            source = known.get(revision, update)
            template = revisions.template_of(source)
            await self._create(found, stateful_plan.pod_for(found, template, number, source["metadata"]["name"]))
        return todo.wait

    async def _create(self, owner: Object, pod: Object) -> None:
        name, shown = pod["metadata"]["name"], owner["metadata"]["name"]
        try:
            for claim in stateful_plan.claims_for(owner, pod):
                await self._claim(claim)
            await self._pods.create(pod)
        except ApiError as error:
            text = f"create Pod {name} in StatefulSet {shown} failed error: {error}"
            self.context.events.warning(owner, "FailedCreate", text, COMPONENT)
            raise
        text = f"create Pod {name} in StatefulSet {shown} successful"
        self.context.events.normal(owner, "SuccessfulCreate", text, COMPONENT)

    async def _claim(self, claim: Object) -> None:
        try:
            await self.context.client.create(PERSISTENT_VOLUME_CLAIM, claim)
        except ApiError as error:
            if error.reason != "AlreadyExists":  # it outlived a former pod of this ordinal: that is its purpose
                raise

    async def _remove(self, owner: Object, pod: Object) -> None:
        name, shown = pod["metadata"]["name"], owner["metadata"]["name"]
        await self._pods.delete(pod)
        if is_finished(pod):
            text = f"StatefulSet {owner['metadata']['namespace']}/{shown} is recreating terminated Pod {name}"
            self.context.events.warning(owner, "RecreatingTerminatedPod", text, COMPONENT)
        else:
            text = f"delete Pod {name} in StatefulSet {shown} successful"
            self.context.events.normal(owner, "SuccessfulDelete", text, COMPONENT)

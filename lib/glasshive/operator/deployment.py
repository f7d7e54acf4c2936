"""Deployment: a ReplicaSet for each pod template, and the steps of a rollout between them (computed in ``rollout``)."""

from __future__ import annotations

from typing import ClassVar

from glasshive.api.resources import DEPLOYMENT, REPLICA_SET
from glasshive.api.selectors import of_label_selector
from glasshive.errors import ApiError
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating, uid_of
from glasshive.operator import proportion, rollout
from glasshive.operator.children import all_of, claims, settle
from glasshive.operator.controller import Context, Controller

COMPONENT = "deployment-controller"


class DeploymentController(Controller):
    """Creates, sizes and removes ReplicaSets of Deployments."""

    name: ClassVar[str] = "deployment"

    def __init__(self, context: Context) -> None:
        self._deployments = context.caches.of(DEPLOYMENT)
        self._sets = context.caches.of(REPLICA_SET)
        super().__init__(context, [self._deployments, self._sets])
        self._deployments.on_event(self.enqueue)
        self._sets.on_event(self._on_replica_set)

    def _on_replica_set(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        self.enqueue_owner("Deployment", old, new)

    async def reconcile(self, key: Key) -> float | None:
        """Take one step of a rollout and report the state."""
        found = self._deployments.get(key[1], key[0])
        if found is None:
            return None
        selector = of_label_selector(found["spec"].get("selector"))
        orphans = self._sets.informer.by_index("orphans", key[0])
        sets = await settle(
            found, "Deployment", claims(found, selector, self._sets.controlled_by(found), orphans), self._sets
        )
        if not is_terminating(found):
            found = await self._step(found, sets)
            sets = self._sets.controlled_by(found)
        current = rollout.current_of(found, sets)
        status, wait = rollout.status_of(found, current, [s for s in sets if s is not current])
        await self._deployments.set_status(found, status)
        return wait

    async def _step(self, deployment: Object, sets: list[Object]) -> Object:
        current = rollout.current_of(deployment, sets)
        old = [s for s in sets if s is not current]
        revision = rollout.revision_of(current) if current is not None else 0
        highest = max(map(rollout.revision_of, old), default=0)
        if revision <= highest:
            revision = highest + 1
        shared = proportion.scaled(deployment, sets)
        if shared is not None:
            active = [s for s in sets if s["metadata"]["name"] in shared]
            await all_of([self._share(deployment, s, shared[s["metadata"]["name"]]) for s in active])
            return deployment  # the change of the ReplicaSets brings us back
        sizes = rollout.next_sizes(deployment, current, old)
        if current is not None:
            await self._resize(deployment, current, sizes.get(current["metadata"]["name"]), revision)
        elif "" in sizes:
            await self._create(deployment, sizes[""], revision)
        if current is not None or "" in sizes:
            deployment = await self._note_revision(deployment, revision)
        await all_of(
            [self._resize(deployment, s, sizes[s["metadata"]["name"]]) for s in old if s["metadata"]["name"] in sizes]
        )
        await all_of([self._sets.delete(s) for s in rollout.outdated(deployment, old)])
        return deployment

    async def _create(self, deployment: Object, size: int, revision: int) -> None:
        body = rollout.new_replica_set(deployment, size, revision)
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        try:
            await self._sets.create(body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                self.context.events.warning(deployment, "ReplicaSetCreateError", str(error), COMPONENT)
                raise
            taken = await self.context.client.get(REPLICA_SET, name, namespace)
            self._sets.informer.observe(taken)
            ours = any(r.get("uid") == uid_of(deployment) for r in taken["metadata"].get("ownerReferences") or ())
            if not (ours and rollout.same_template(deployment, taken)):
                count = int((deployment.get("status") or {}).get("collisionCount") or 0) + 1
                await self._deployments.patch(deployment, {"status": {"collisionCount": count}}, subresource="status")
                raise
        else:
            message = f"Scaled up replica set {name} from 0 to {size}"
            self.context.events.normal(deployment, "ScalingReplicaSet", message, COMPONENT)

    async def _resize(self, deployment: Object, replica_set: Object, size: int | None, revision: int = 0) -> None:
        """Patch size and, for the present ReplicaSet (``revision`` given), its annotations; only what differs."""
        body: Object = {}
        before = rollout.size_of(replica_set)
        if size is not None:
            body["spec"] = {"replicas": size}
        have = replica_set["metadata"].get("annotations") or {}
        want = rollout.annotations_for(deployment, revision) if revision else {}
        changed = {k: v for k, v in want.items() if have.get(k) != v}
        if changed:
            body["metadata"] = {"annotations": changed}
        min_ready = deployment["spec"].get("minReadySeconds")
        if revision and min_ready != replica_set["spec"].get("minReadySeconds"):
            body.setdefault("spec", {})["minReadySeconds"] = min_ready
        if not body:
            return
        await self._sets.patch(replica_set, body)
        if size is not None and size != before:
            direction = "up" if size > before else "down"
            message = f"Scaled {direction} replica set {replica_set['metadata']['name']} from {before} to {size}"
            self.context.events.normal(deployment, "ScalingReplicaSet", message, COMPONENT)

    async def _share(self, deployment: Object, replica_set: Object, size: int) -> None:
        """Give a ReplicaSet its share of a new size, and note what that was for, even if it stays as it is."""
        limits = rollout.limits_of(deployment)
        noted = {rollout.DESIRED: str(limits.replicas), rollout.MAXIMUM: str(limits.most)}
        before = rollout.size_of(replica_set)
        await self._sets.patch(replica_set, {"metadata": {"annotations": noted}, "spec": {"replicas": size}})
        if size != before:
            direction = "up" if size > before else "down"
            message = f"Scaled {direction} replica set {replica_set['metadata']['name']} from {before} to {size}"
            self.context.events.normal(deployment, "ScalingReplicaSet", message, COMPONENT)

    async def _note_revision(self, deployment: Object, revision: int) -> Object:
        if rollout.revision_of(deployment) == revision:
            return deployment
        return await self._deployments.patch(
            deployment, {"metadata": {"annotations": {rollout.REVISION: str(revision)}}}
        )

"""Giving pods a node. A decision is a pure function (``fit.choose``) over the scheduler's own books; it costs one call.

Decisions are made one after the other without waiting in between, so each sees all earlier ones; bindings are posted
side by side.
"""

from __future__ import annotations

from typing import ClassVar

from glasshive.api.resources import NODE, POD
from glasshive.errors import ApiError
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating, key_of, uid_of
from glasshive.kube.workqueue import WorkQueue
from glasshive.operator import fit, pod_affinity
from glasshive.operator.clock import now_text
from glasshive.operator.controller import Context, Controller
from glasshive.operator.placements import Placements, demand_of
from glasshive.operator.pod_affinity import Neighbour
from glasshive.operator.pods import condition, is_finished

SCHEDULER = "default-scheduler"
REPORT_DELAY_SECONDS = 0.3
"""A pod that nobody can take is reported after this; nodes that are just coming up are no news."""


class Scheduler(Controller):
    """Binds pods without a node; says in an event and a condition why it cannot."""

    name: ClassVar[str] = "scheduler"
    workers: ClassVar[int] = 32

    def __init__(self, context: Context) -> None:
        self._pods = context.caches.of(POD)
        self._nodes = context.caches.of(NODE)
        super().__init__(context, [self._pods, self._nodes])
        self.placements = Placements()
        self._stuck: set[Key] = set()
        self._with_terms: set[str] = set()
        self._reports: WorkQueue[Key] = WorkQueue("scheduler-report", self._report, workers=1)
        self._pods.on_event(self._on_pod)
        self._nodes.on_event(self._on_node)

    def prepare(self) -> None:
        """Start the reporter beside the queue."""
        self._reports.start()

    async def stop(self) -> None:
        """Stop deciding and reporting."""
        await super().stop()
        await self._reports.stop()

    async def reconcile(self, key: Key) -> float | None:
        """Bind one pod if a node can take it."""
        pod = self._pods.get(key[1], key[0])
        if pod is None or not is_waiting(pod) or self.placements.node_of(pod):
            self._stuck.discard(key)
            return None
        node, _refusals = self._choose(pod)
        if not node:
            self._stuck.add(key)
            self._reports.add_after(key, REPORT_DELAY_SECONDS)
            return None
        self._stuck.discard(key)
        self.placements.assume(pod, node)  # before the first await: the next decision must see this one
        try:
            await self.context.client.create(POD, binding_of(pod, node), key[0], name=key[1], subresource="binding")
        except ApiError as error:
            self.placements.remove(pod)
            if error.code == 404:  # the pod is gone
                return None
            raise
        self.context.events.normal(pod, "Scheduled", f"Successfully assigned {'/'.join(key)} to {node}", SCHEDULER)
        return None

    def _choose(self, pod: Object) -> tuple[str, dict[str, str]]:
        nodes = {node["metadata"]["name"]: node for node in self._nodes.values()}
        further = None
        if self._with_terms or pod_affinity.has_terms(pod):
            further = pod_affinity.rule(pod, self._neighbours(), nodes)
        return fit.choose(pod, demand_of(pod), ((n, self.placements.load(name)) for name, n in nodes.items()), further)

    def _neighbours(self) -> list[Neighbour]:
        found = ((p, self.placements.node_of(p)) for p in self._pods.values())
        return [Neighbour(p, node) for p, node in found if node]

    def _on_pod(self, kind: EventType, old: Object | None, new: Object | None) -> None:
        self.placements.note(old, new)
        self._note_terms(old, new)
        if new is not None and is_waiting(new):
            if kind == "ADDED" or old is None or old["spec"] != new["spec"]:
                self.queue.add(key_of(new))
        elif new is None or is_finished(new):
            self._retry_stuck()  # room was made
        elif old is not None and not old["spec"].get("nodeName"):
            self._retry_stuck(near=True)  # who wants to be near this pod may find it now

    def _note_terms(self, old: Object | None, new: Object | None) -> None:
        """Keep the set of pods whose anti-affinity concerns others; mostly it is empty and costs nothing."""
        if new is not None and not is_finished(new) and pod_affinity.terms_of(new, "podAntiAffinity"):
            self._with_terms.add(uid_of(new))
        elif (gone := old or new) is not None:
            self._with_terms.discard(uid_of(gone))

    def _on_node(self, kind: EventType, old: Object | None, new: Object | None) -> None:
        if kind != "MODIFIED" or old is None or new is None or _facts(old) != _facts(new):
            self._retry_stuck()

    def _retry_stuck(self, *, near: bool = False) -> None:
        """Look again at pods without a node; with ``near`` only at those that wait for other pods."""
        for key in self._stuck:
            pod = self._pods.get(key[1], key[0])
            if not near or (pod is not None and pod_affinity.terms_of(pod, "podAffinity")):
                self.queue.add(key)

    async def _report(self, key: Key) -> float | None:
        """Say why a pod still has no node."""
        pod = self._pods.get(key[1], key[0])
        if pod is None or key not in self._stuck or not is_waiting(pod):
            return None
        node, refusals = self._choose(pod)
        if node:
            self.queue.add(key)
            return None
        message = fit.explain(refusals)
        known = condition(pod, "PodScheduled")
        if known is not None and known.get("message") == message:
            return None
        self.context.events.warning(pod, "FailedScheduling", message, SCHEDULER)
        entry = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": (known or {}).get("lastTransitionTime") or now_text(),
        }
        await self._pods.patch(pod, {"status": {"conditions": [entry]}}, kind="strategic", subresource="status")
        return None


def is_waiting(pod: Object) -> bool:
    """Tell whether this scheduler should find a node for the pod."""
    spec = pod["spec"]
    return (
        not spec.get("nodeName")
        and not is_terminating(pod)
        and not is_finished(pod)
        and not spec.get("schedulingGates")
        and spec.get("schedulerName", SCHEDULER) == SCHEDULER
    )


def binding_of(pod: Object, node: str) -> Object:
    """Return the Binding that gives ``pod`` its node."""
    namespace, name = key_of(pod)
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name, "namespace": namespace, "uid": pod["metadata"]["uid"]},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }


def _facts(node: Object) -> tuple[object, ...]:
    """Return what about a node can change a decision; heartbeats cannot."""
    status = node.get("status") or {}
    ready = condition(node, "Ready") or {}
    return (node.get("spec"), node["metadata"].get("labels"), status.get("allocatable"), ready.get("status"))

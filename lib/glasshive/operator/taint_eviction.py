"""Taints with effect NoExecute: pods that do not tolerate them, or no longer, are deleted (computed in ``taints``)."""

from __future__ import annotations

from typing import ClassVar

from glasshive.api.resources import NODE, POD
from glasshive.errors import ApiError
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating, key_of
from glasshive.operator.children import all_of
from glasshive.operator.conditions import with_condition
from glasshive.operator.controller import Context, Controller
from glasshive.operator.pods import is_finished
from glasshive.operator.taints import seconds_tolerated, taints_of

COMPONENT = "taint-eviction-controller"


class TaintEvictionController(Controller):
    """Deletes pods from tainted nodes. Keys are ("", node)."""

    name: ClassVar[str] = "taint-eviction"

    def __init__(self, context: Context) -> None:
        self._nodes = context.caches.of(NODE)
        self._pods = context.caches.of(POD)
        super().__init__(context, [self._nodes, self._pods])
        self._nodes.on_event(self._on_node)
        self._pods.on_event(self._on_pod)

    def _on_node(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        if new is not None and taints_of(new) and (old is None or taints_of(old) != taints_of(new)):
            self.queue.add(("", new["metadata"]["name"]))

    def _on_pod(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        name = new["spec"].get("nodeName") if new is not None else ""
        if not name or (old is not None and old["spec"] == new["spec"] if new is not None else False):
            return
        node = self._nodes.get(name)
        if node is not None and taints_of(node):
            self.queue.add(("", name))

    async def reconcile(self, key: Key) -> float | None:
        """Delete the pods whose time on one node is over; return when the next one's is."""
        node = self._nodes.get(key[1])
        if node is None:
            return None
        taints = [t for t in taints_of(node) if t.get("effect") == "NoExecute"]
        if not taints:
            return None
        doomed, waits = [], []
        for pod in self._pods.informer.by_index("node", key[1]):
            if is_terminating(pod) or is_finished(pod):
                continue
            left = seconds_tolerated(pod, taints)
            if left is not None and left <= 0:
                doomed.append(pod)
            elif left is not None:
                waits.append(left)
        await all_of([self._evict(pod) for pod in doomed])
        return min(waits, default=None)

    async def _evict(self, pod: Object) -> None:
        namespace, name = key_of(pod)
        text = f"Marking for deletion Pod {namespace}/{name}"
        self.context.events.normal(pod, "TaintManagerEviction", text, COMPONENT)
        conditions = with_condition(
            (pod.get("status") or {}).get("conditions") or [], "DisruptionTarget", "True", "DeletionByTaintManager",
            "Taint manager: deleting due to NoExecute taint",
        )  # fmt: skip
        try:
            await self._pods.patch(pod, {"status": {"conditions": conditions}}, subresource="status")
        except ApiError as error:
            if error.code != 404:
                raise
        await self._pods.delete(pod)

"""What follows from a node's end: its pods go, because nobody is left to end them."""

from __future__ import annotations

from typing import ClassVar

from glasshive.api.resources import NODE, POD
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object
from glasshive.operator.children import all_of
from glasshive.operator.controller import Context, Controller


class NodeLifecycleController(Controller):
    """Removes the pods of nodes that do not exist any more. Keys are ("", node)."""

    name: ClassVar[str] = "node-lifecycle"

    def __init__(self, context: Context) -> None:
        self._nodes = context.caches.of(NODE)
        self._pods = context.caches.of(POD)
        super().__init__(context, [self._nodes, self._pods])
        self._nodes.on_event(self._on_node)
        self._pods.on_event(self._on_pod)

    def _on_node(self, kind: EventType, old: Object | None, _new: Object | None) -> None:
        if kind == "DELETED" and old is not None:
            self.queue.add(("", old["metadata"]["name"]))

    def _on_pod(self, kind: EventType, _old: Object | None, new: Object | None) -> None:
        """Look at pods of unknown nodes; before the caches are complete, ``reconcile`` judges that later."""
        name = new["spec"].get("nodeName") if new is not None else ""
        if name and kind == "ADDED" and self._nodes.get(name) is None:
            self.queue.add(("", name))

    async def reconcile(self, key: Key) -> float | None:
        """Remove the pods of one node if it is gone."""
        if self._nodes.get(key[1]) is not None:
            return None
        pods = self._pods.informer.by_index("node", key[1])
        await all_of([self._pods.delete(pod, grace_seconds=0) for pod in pods])
        return None

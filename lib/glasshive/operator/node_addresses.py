"""Pod CIDRs for nodes: every node gets one block of each address family, for as long as it exists."""

from __future__ import annotations

from typing import ClassVar

from glasshive.api.resources import NODE
from glasshive.errors import ExhaustedError, UsageError
from glasshive.ipam import ClusterPool
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating, key_of
from glasshive.operator.controller import Context, Controller

COMPONENT = "ipam-controller"


class NodeAddressController(Controller):
    """Writes spec.podCIDRs of new nodes, and frees the blocks of deleted ones."""

    name: ClassVar[str] = "node-addresses"
    workers: ClassVar[int] = 8

    def __init__(self, context: Context) -> None:
        self._nodes = context.caches.of(NODE)
        super().__init__(context, [self._nodes])
        self.pool = ClusterPool(context.config.pod_blocks)
        self._starved: set[Key] = set()
        self._nodes.on_event(self._on_node)

    def prepare(self) -> None:
        """Take over what nodes already have, before anything is given out."""
        for node in self._nodes.values():
            self._restore(node)

    def _restore(self, node: Object) -> bool:
        cidrs = pod_cidrs(node)
        if not cidrs:
            return False
        try:
            self.pool.restore(node["metadata"]["name"], cidrs)
        except (UsageError, ValueError) as error:
            self.context.events.warning(node, "CIDRNotAvailable", str(error), COMPONENT)
        return True

    def _on_node(self, kind: EventType, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            self.pool.release(old["metadata"]["name"])
            self._starved.discard(key_of(old))
            for key in self._starved:
                self.queue.add(key)
        elif new is not None and (kind == "ADDED" or not pod_cidrs(new)):
            self.queue.add(key_of(new))

    async def reconcile(self, key: Key) -> float | None:
        """Give one node its pod CIDRs."""
        node = self._nodes.get(key[1])
        if node is None or is_terminating(node) or self._restore(node):
            return None
        try:
            blocks = self.pool.allocate(key[1])
        except ExhaustedError as error:
            self._starved.add(key)
            self.context.events.warning(node, "CIDRNotAvailable", str(error), COMPONENT)
            return None
        self._starved.discard(key)
        cidrs = [str(block) for block in blocks]
        await self._nodes.patch(node, {"spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs}})
        return None


def pod_cidrs(node: Object) -> list[str]:
    """Return the pod CIDRs that a node has."""
    spec = node.get("spec") or {}
    return list(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else ()))

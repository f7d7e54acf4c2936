"""What follows from a node's end or silence: taints, pods that no longer count as ready, pods that go.

A node shows that it lives by its Lease (or its status). After the grace period its conditions become Unknown and it is
tainted as unreachable; ``taint_eviction`` then removes its pods when their tolerations end.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from glasshive.api.resources import LEASE, NODE, POD
from glasshive.errors import ApiError
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating
from glasshive.operator.children import all_of
from glasshive.operator.clock import seconds_since
from glasshive.operator.conditions import with_condition
from glasshive.operator.controller import Context, Controller
from glasshive.operator.heartbeats import Heartbeats
from glasshive.operator.pods import condition
from glasshive.operator.taints import NOT_READY, UNREACHABLE, taints_of, with_condition_taint

COMPONENT = "node-controller"
LEASE_NAMESPACE = "kube-node-lease"
UNHEARD = "NodeStatusUnknown"
POD_REASON = "NodeNotReady"
_WATCHED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


class NodeLifecycleController(Controller):
    """Watches over nodes. Keys are ("", node)."""

    name: ClassVar[str] = "node-lifecycle"

    def __init__(self, context: Context) -> None:
        self._nodes = context.caches.of(NODE)
        self._pods = context.caches.of(POD)
        self._leases = context.caches.of(LEASE)
        super().__init__(context, [self._nodes, self._pods, self._leases])
        self._beats = Heartbeats(2 * context.config.node_monitor_seconds)
        self._nodes.on_event(self._on_node)
        self._pods.on_event(self._on_pod)

    def _on_node(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        if old is None or new is None or _ready(old) != _ready(new) or taints_of(old) != taints_of(new):
            self.queue.add(("", (new or old or {})["metadata"]["name"]))

    def _on_pod(self, kind: EventType, _old: Object | None, new: Object | None) -> None:
        """Look at pods of unknown nodes; before the caches are complete, ``reconcile`` judges that later."""
        name = new["spec"].get("nodeName") if new is not None else ""
        if name and kind == "ADDED" and self._nodes.get(name) is None:
            self.queue.add(("", name))

    async def reconcile(self, key: Key) -> float | None:
        """Look at one node, again and again for as long as it exists."""
        node = self._nodes.get(key[1])
        if node is None:
            return await self._bury(key[1])
        if is_terminating(node):
            return None
        node = await self._judge(node)
        wait = await self._taint(node)
        ready = _ready(node)
        if ready == "Unknown":
            await all_of([self._mark(pod) for pod in self._on(key[1])])
        elif ready == "True":
            await all_of([self._unmark(pod) for pod in self._on(key[1])])
        return min(wait, self.context.config.node_monitor_seconds)

    async def _bury(self, name: str) -> float | None:
        """Remove the pods of a node that is gone, by the server's word: a new node's pods may be seen before it."""
        pods = self._on(name)
        if pods:
            try:
                self._nodes.informer.observe(await self.context.client.get(NODE, name))
            except ApiError as error:
                if error.code != 404:
                    raise
            else:
                return 0.0
        self._beats.forget(name)
        await all_of([self._pods.delete(pod, grace_seconds=0) for pod in pods])
        return None

    def _on(self, node: str) -> list[Object]:
        return self._pods.informer.by_index("node", node)

    async def _judge(self, node: Object) -> Object:
        """Make the conditions of a node Unknown if it has been silent for too long."""
        name = node["metadata"]["name"]
        clock = asyncio.get_running_loop().time
        silent = self._beats.look(name, sign_of_life(node, self._leases.get(name, LEASE_NAMESPACE)), clock())
        if silent < self.context.config.node_grace_seconds or _ready(node) == "Unknown":
            return node
        # The cache may lag behind, after a stop of this process for one: the server has the last word.
        try:
            lease = await self.context.client.get(LEASE, name, LEASE_NAMESPACE)
            self._leases.informer.observe(lease)
        except ApiError as error:
            if error.code != 404:
                self._beats.excuse(name, clock())
                raise
            lease = None
        if self._beats.look(name, sign_of_life(node, lease), clock()) == 0.0:
            return node
        text = f"Node {name} status is now: NodeNotReady"
        self.context.events.normal(node, "NodeNotReady", text, COMPONENT)
        return await self._nodes.patch(node, {"status": {"conditions": unheard(node)}}, subresource="status")

    async def _taint(self, node: Object) -> float:
        """Make the node's taints tell its condition; return the seconds after which that may be due."""
        ready = condition(node, "Ready") or {}
        key = {"False": NOT_READY, "Unknown": UNREACHABLE}.get(str(ready.get("status")), "")
        if key == NOT_READY and not any(t.get("key") in {NOT_READY, UNREACHABLE} for t in taints_of(node)):
            # Nodes that are just starting are not ready for moments; the scheduler avoids them anyway.
            left = self.context.config.not_ready_taint_seconds - seconds_since(ready.get("lastTransitionTime"))
            if left > 0:
                return left
        wanted = with_condition_taint(taints_of(node), key)
        if wanted != taints_of(node):
            version = node["metadata"]["resourceVersion"]  # two writers of taints must not undo each other's work
            body: Object = {"metadata": {"resourceVersion": version}, "spec": {"taints": wanted or None}}
            await self._nodes.patch(node, body)
        return self.context.config.node_monitor_seconds

    async def _mark(self, pod: Object) -> None:
        """Say that a pod of a silent node is not ready: nobody should be sent there."""
        entry = condition(pod, "Ready")
        if entry is None or entry.get("status") != "True":
            return
        await self._set_ready(pod, "False", POD_REASON, "its node has not been heard of for a while")

    async def _unmark(self, pod: Object) -> None:
        """Take ``_mark`` back: the node is heard again, and what it says of the containers counts."""
        entry = condition(pod, "Ready")
        if entry is None or entry.get("reason") != POD_REASON:
            return
        containers = condition(pod, "ContainersReady") or {"status": "True"}
        if containers.get("status") == "True":
            await self._set_ready(pod, "True", "", "")

    async def _set_ready(self, pod: Object, status: str, reason: str, message: str) -> None:
        conditions = with_condition(
            (pod.get("status") or {}).get("conditions") or [], "Ready", status, reason, message
        )  # fmt: skip
        body = {
            "metadata": {"resourceVersion": pod["metadata"]["resourceVersion"]},
            "status": {"conditions": conditions},
        }
        try:
            await self._pods.patch(pod, body, subresource="status")
        except ApiError as error:
            if error.code not in {404, 409}:  # 409: somebody who knows better was quicker
                raise


def _ready(node: Object) -> str:
    return str((condition(node, "Ready") or {}).get("status") or "")


def sign_of_life(node: Object, lease: Object | None) -> str:
    """Return a text that changes whenever the node gives a sign of life. Pure."""
    beats = [c.get("lastHeartbeatTime") or "" for c in (node.get("status") or {}).get("conditions") or ()]
    renewed = ((lease or {}).get("spec") or {}).get("renewTime") or ""
    return f"{renewed} {max(beats, default='')}"


def unheard(node: Object) -> list[Object]:
    """Return the node's conditions with those that only the node itself can know as Unknown. Pure but for the clock."""
    before = (node.get("status") or {}).get("conditions") or ()
    beats = {c.get("type"): c["lastHeartbeatTime"] for c in before if c.get("lastHeartbeatTime")}
    conditions = list(before)
    for kind in _WATCHED:
        if kind == "Ready" or any(c.get("type") == kind for c in before):
            conditions = with_condition(conditions, kind, "Unknown", UNHEARD, "The node stopped posting its status.")
    return [c | {"lastHeartbeatTime": beats[c["type"]]} if c.get("type") in beats else c for c in conditions]

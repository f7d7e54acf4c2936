"""DaemonSet: one pod on every node that suits it. The pods are given their node at creation; no scheduling happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from glasshive.api.resources import CONTROLLER_REVISION, DAEMON_SET, NODE, POD
from glasshive.api.selectors import of_label_selector
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating, key_of, labels_of
from glasshive.operator import fit, history
from glasshive.operator.children import all_of, claims, settle, slow_start
from glasshive.operator.controller import Context, Controller
from glasshive.operator.pods import from_template, is_active, is_finished, is_ready, seconds_until_available
from glasshive.operator.revisions import HASH_LABEL, hash_of

COMPONENT = "daemonset-controller"
# A daemon serves the node itself, so the node's own troubles are no reason to stay away.
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/not-ready", "NoSchedule"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


@dataclass(frozen=True)
class Plan:
    """What to do for one DaemonSet: nodes that get a pod, pods to remove."""

    create_on: list[str]
    remove: list[Object]


def pod_for(daemon_set: Object, node: str) -> Object:
    """Return the pod of a DaemonSet on one node."""
    spec = daemon_set["spec"]
    pod = from_template(daemon_set, "apps/v1", "DaemonSet", spec["template"])
    pod["metadata"]["labels"][HASH_LABEL] = template_hash(daemon_set)
    tolerations = list(pod["spec"].get("tolerations") or ())
    wanted = [{"key": k, "operator": "Exists", "effect": e} for k, e in _TOLERATED]
    if pod["spec"].get("hostNetwork"):
        wanted.append({"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": "NoSchedule"})
    pod["spec"]["tolerations"] = tolerations + [t for t in wanted if t not in tolerations]
    pod["spec"]["nodeName"] = node
    return pod


def template_hash(daemon_set: Object) -> str:
    """Return the label value by which pods of the present template are known."""
    return hash_of(daemon_set["spec"]["template"])


def suited(daemon_set: Object, nodes: list[Object], *, running: bool = False) -> set[str]:
    """Return the names of the nodes that should run the daemon; with ``running`` those that may keep it."""
    probe = pod_for(daemon_set, "")
    effects = ("NoExecute",) if running else ("NoSchedule", "NoExecute")
    fitting = [n for n in nodes if not is_terminating(n) and not fit.selection_refusal(probe, n, effects)]
    return {n["metadata"]["name"] for n in fitting}


def plan(daemon_set: Object, nodes: list[Object], pods: list[Object]) -> Plan:
    """Compare nodes and pods. Pure.

    A rolling update removes old pods as far as maxUnavailable allows (unavailable old ones always); the next round puts
    the new ones in their place.
    """
    wanted, staying = suited(daemon_set, nodes), suited(daemon_set, nodes, running=True)
    remove: list[Object] = []
    kept: list[Object] = []
    by_node: dict[str, list[Object]] = {}
    for pod in pods:
        by_node.setdefault(pod["spec"].get("nodeName") or "", []).append(pod)
    for node, here in by_node.items():
        active = [p for p in here if is_active(p)]
        remove += [p for p in here if is_finished(p) and not is_terminating(p)]
        if node not in staying:
            remove += active
            continue
        active.sort(key=lambda p: (not is_ready(p), p["metadata"].get("creationTimestamp") or ""))
        kept += active[:1]
        remove += active[1:]
    # A pod that is still going keeps its node: two daemons side by side would fight over host ports and paths.
    create_on = sorted(wanted - {n for n, here in by_node.items() if any(not is_finished(p) for p in here)})
    return Plan(create_on, remove + _outdated(daemon_set, kept, len(wanted)))


def _outdated(daemon_set: Object, kept: list[Object], wanted: int) -> list[Object]:
    strategy = daemon_set["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    current = template_hash(daemon_set)
    old = [p for p in kept if labels_of(p).get(HASH_LABEL) != current]
    value = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1)
    percent = isinstance(value, str) and value.endswith("%")
    allowed = max(1, -(-int(str(value)[:-1]) * wanted // 100) if percent else int(value))
    down = wanted - sum(map(is_ready, kept))
    useless = [p for p in old if not is_ready(p)]
    return useless + [p for p in old if is_ready(p)][: max(0, allowed - down)]


def status_of(daemon_set: Object, nodes: list[Object], pods: list[Object]) -> tuple[dict[str, Any], float | None]:
    """Return the status, and the seconds until a ready pod becomes available. Pure."""
    wanted = suited(daemon_set, nodes)
    active = {p["spec"].get("nodeName") or "": p for p in pods if is_active(p)}
    placed = [p for node, p in active.items() if node in wanted]
    waits = [seconds_until_available(p, int(daemon_set["spec"].get("minReadySeconds") or 0)) for p in placed]
    current = template_hash(daemon_set)
    available = sum(w == 0 for w in waits)
    status: dict[str, Any] = {
        "observedGeneration": daemon_set["metadata"].get("generation", 0),
        "desiredNumberScheduled": len(wanted),
        "currentNumberScheduled": len(placed),
        "numberMisscheduled": len(active) - len(placed),
        "numberReady": sum(map(is_ready, placed)),
    }
    counts = {
        "updatedNumberScheduled": sum(labels_of(p).get(HASH_LABEL) == current for p in placed),
        "numberAvailable": available,
        "numberUnavailable": len(wanted) - available,
    }
    return status | {n: c for n, c in counts.items() if c}, min((w for w in waits if w), default=None)


class DaemonSetController(Controller):
    """Creates and deletes pods of DaemonSets."""

    name: ClassVar[str] = "daemonset"

    def __init__(self, context: Context) -> None:
        self._sets = context.caches.of(DAEMON_SET)
        self._pods = context.caches.of(POD)
        self._nodes = context.caches.of(NODE)
        self._revisions = context.caches.of(CONTROLLER_REVISION)
        super().__init__(context, [self._sets, self._pods, self._nodes, self._revisions])
        self._sets.on_event(self.enqueue)
        self._pods.on_event(self._on_pod)
        self._nodes.on_event(self._on_node)

    def _on_pod(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        self.enqueue_owner("DaemonSet", old, new)

    def _on_node(self, kind: EventType, old: Object | None, new: Object | None) -> None:
        if kind == "MODIFIED" and old is not None and new is not None:
            fields = [(n.get("spec"), n["metadata"].get("labels"), is_terminating(n)) for n in (old, new)]
            if fields[0] == fields[1]:
                return
        for daemon_set in self._sets.values():
            self.queue.add(key_of(daemon_set))

    async def reconcile(self, key: Key) -> float | None:
        """Bring one DaemonSet's pods to its nodes."""
        found = self._sets.get(key[1], key[0])
        if found is None:
            return None
        selector = of_label_selector(found["spec"].get("selector"))
        orphans = self._pods.informer.by_index("orphans", key[0])
        pods = await settle(
            found, "DaemonSet", claims(found, selector, self._pods.controlled_by(found), orphans), self._pods
        )
        nodes = self._nodes.values()
        failure: BaseException | None = None
        if not is_terminating(found):
            used = {labels_of(pod).get(HASH_LABEL, "") for pod in pods}
            await history.keep(self._revisions, found, "DaemonSet", used)
            todo = plan(found, nodes, pods)
            await all_of([self._pods.delete(pod) for pod in todo.remove])
            names = iter(todo.create_on)
            failure = await slow_start(len(todo.create_on), lambda: self._create(found, next(names)))
            if failure is not None:
                self.context.events.warning(found, "FailedCreate", f"Error creating: {failure}", COMPONENT)
        status, wait = status_of(found, nodes, self._pods.controlled_by(found))
        await self._sets.set_status(found, status)
        if isinstance(failure, Exception):
            raise failure
        return wait

    async def _create(self, owner: Object, node: str) -> None:
        pod = await self._pods.create(pod_for(owner, node))
        message = f"Created pod: {pod['metadata']['name']}"
        self.context.events.normal(owner, "SuccessfulCreate", message, COMPONENT)

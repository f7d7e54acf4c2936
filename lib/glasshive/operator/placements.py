"""Which pod counts where: the scheduler's own books, updated by pod events and by its own decisions. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from glasshive.kube.objects import Object, controller_of, labels_of, uid_of
from glasshive.operator.pods import is_finished
from glasshive.operator.quantity import milli

RESOURCES = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True, slots=True)
class Demand:
    """What a pod takes from a node; requests in thousandths of their unit."""

    group: str
    requests: tuple[tuple[str, int], ...] = ()
    host_ports: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class NodeLoad:
    """What is taken on one node."""

    pods: dict[str, Demand] = field(default_factory=dict)
    groups: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    host_ports: Counter[tuple[str, int]] = field(default_factory=Counter)


def demand_of(pod: Object) -> Demand:
    """Return what a pod takes; an init container counts only where it needs more than the containers after it."""
    spec = pod["spec"]
    total: Counter[str] = Counter()
    for container in spec.get("containers") or ():
        for name, amount in ((container.get("resources") or {}).get("requests") or {}).items():
            total[name] += milli(amount)
    for container in spec.get("initContainers") or ():
        for name, amount in ((container.get("resources") or {}).get("requests") or {}).items():
            total[name] = max(total[name], milli(amount))
    ports = []
    for container in spec.get("containers") or ():
        for port in container.get("ports") or ():
            number = port.get("hostPort") or (port.get("containerPort") if spec.get("hostNetwork") else None)
            if number:
                ports.append((port.get("protocol") or "TCP", int(number)))
    return Demand(group_of(pod), tuple(total.items()), tuple(ports))


def group_of(pod: Object) -> str:
    """Return a name for the pods that should be spread: those of one owner, else those with the same labels."""
    ref = controller_of(pod)
    if ref is not None:
        return str(ref["uid"])
    return ",".join(f"{k}={v}" for k, v in sorted(labels_of(pod).items()))


class Placements:
    """Pods by node. ``note`` follows pod events, ``assume`` a decision that the API server has yet to confirm."""

    def __init__(self) -> None:
        self._loads: dict[str, NodeLoad] = {}
        self._where: dict[str, str] = {}

    def load(self, node: str) -> NodeLoad:
        """Return what is taken on a node."""
        found = self._loads.get(node)
        if found is None:
            found = self._loads[node] = NodeLoad()
        return found

    def assume(self, pod: Object, node: str) -> None:
        """Count ``pod`` on ``node``."""
        uid = uid_of(pod)
        if self._where.get(uid) == node:
            return
        self.remove(pod)
        demand = demand_of(pod)
        load = self.load(node)
        load.pods[uid] = demand
        load.groups[demand.group] += 1
        load.requests.update(dict(demand.requests))
        load.host_ports.update(demand.host_ports)
        self._where[uid] = node

    def remove(self, pod: Object) -> None:
        """Count ``pod`` nowhere."""
        uid = uid_of(pod)
        node = self._where.pop(uid, None)
        if node is None:
            return
        load = self._loads[node]
        demand = load.pods.pop(uid)
        load.groups[demand.group] -= 1
        if not load.groups[demand.group]:
            del load.groups[demand.group]
        load.requests.subtract(dict(demand.requests))
        load.host_ports.subtract(demand.host_ports)
        if not load.pods:
            del self._loads[node]

    def node_of(self, pod: Object) -> str | None:
        """Return where ``pod`` is counted."""
        return self._where.get(uid_of(pod))

    def note(self, old: Object | None, new: Object | None) -> None:
        """Follow a pod event. An unassigned pod keeps the node that was assumed for it."""
        pod = new or old
        assert pod is not None
        if new is None or is_finished(new):
            self.remove(pod)
        elif new["spec"].get("nodeName"):
            self.assume(new, new["spec"]["nodeName"])

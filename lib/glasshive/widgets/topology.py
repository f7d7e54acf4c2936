"""The cluster as a picture: the world, the fabric, nodes on it, pods on nodes, and what goes in and out of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from glasshive.model.cluster import NodeStatus, PodStatus, Topology
from glasshive.model.traffic import Snapshot, pod_key
from glasshive.widgets.view import STATIC, View


class TopologyView(View):
    """A picture of a cluster. Select a pod with the mouse, or with Tab and the arrow keys."""

    _esm = STATIC / "topology.js"
    _css = STATIC / "view.css"

    def __init__(self, shown: Topology | Snapshot) -> None:
        snapshot = shown if isinstance(shown, Snapshot) else Snapshot(shown)
        self._before = snapshot
        super().__init__(picture(snapshot, None), text(snapshot.topology))

    def update(self, shown: Topology | Snapshot) -> None:
        """Show something newer; rates are worked out against what was shown before."""
        snapshot = shown if isinstance(shown, Snapshot) else Snapshot(shown)
        self.put(picture(snapshot, self._before), text(snapshot.topology))
        self._before = snapshot

    def live(self, fetch: Callable[[], Snapshot], *, per_second: float = 2.0) -> Self:
        """Show what ``fetch`` gives, again and again, until ``stop``; at most 20 times a second."""

        def refresh() -> tuple[dict[str, Any], str]:
            snapshot = fetch()
            state = picture(snapshot, self._before), text(snapshot.topology)
            self._before = snapshot
            return state

        return self.keep_fresh(refresh, per_second=per_second)


def text(topology: Topology) -> str:
    """Say what the picture shows, without counters: the same cluster gives the same text."""
    sizes = f"{_count(len(topology.nodes), 'node')}, {_count(len(topology.pods), 'pod')}"
    lines = [f"cluster {topology.cluster}: {topology.routing} routing, {sizes}"]
    for node in topology.nodes:
        words = [node.name, _readiness(node.ready), *node.addresses]
        lines.append("  " + " ".join(words) + (f", pods from {' '.join(node.pod_cidrs)}" if node.pod_cidrs else ""))
        lines += ["    " + _pod_line(pod) for pod in _in_order(topology.pods_on(node.name))]
    waiting = _in_order(tuple(pod for pod in topology.pods if pod.node not in {node.name for node in topology.nodes}))
    if waiting:
        lines += ["  on no node", *("    " + _pod_line(pod) for pod in waiting)]
    if topology.world:
        lines.append(f"  world outside {' '.join(topology.world)}")
    return "\n".join(lines)


def picture(now: Snapshot, before: Snapshot | None) -> dict[str, Any]:
    """Give the browser's part all it draws. Rates are per second since ``before``; zero without it."""
    topology = now.topology
    known = {node.name for node in topology.nodes}
    waiting = tuple(pod for pod in topology.pods if pod.node not in known)
    return {
        "cluster": topology.cluster,
        "routing": topology.routing,
        "alt": text(topology),
        "world": list(topology.world),
        "nodes": [_node(node, now, before) for node in topology.nodes],
        "waiting": [_pod(pod, now, before) for pod in _in_order(waiting)],
    }


def _node(node: NodeStatus, now: Snapshot, before: Snapshot | None) -> dict[str, Any]:
    return {
        "name": node.name,
        "ready": node.ready,
        "reason": node.reason,
        "addresses": list(node.addresses),
        "cidrs": list(node.pod_cidrs),
        "pods": [_pod(pod, now, before) for pod in _in_order(now.topology.pods_on(node.name))],
    }


def _pod(pod: PodStatus, now: Snapshot, before: Snapshot | None) -> dict[str, Any]:
    traffic = now.of(pod)
    rate = 0.0
    # Counters start again when a pod is made anew under its old name: then the first figure counts as no traffic.
    if before is not None and pod_key(pod) in before.traffic and now.taken_s > before.taken_s:
        rate = max(0, traffic.packets - before.of(pod).packets) / (now.taken_s - before.taken_s)
    return {
        "key": pod_key(pod),
        "name": pod.name,
        "namespace": pod.namespace,
        "state": pod.state,
        "ready": pod.ready,
        "addresses": list(pod.addresses),
        "restarts": pod.restarts,
        "packetsIn": traffic.packets_in,
        "packetsOut": traffic.packets_out,
        "bytesIn": traffic.bytes_in,
        "bytesOut": traffic.bytes_out,
        "rate": round(rate, 1),
    }


def _in_order(pods: tuple[PodStatus, ...]) -> list[PodStatus]:
    return sorted(pods, key=pod_key)


def _pod_line(pod: PodStatus) -> str:
    return " ".join([pod_key(pod), pod.state.lower() if not pod.ready else "ready", *pod.addresses])


def _readiness(ready: bool) -> str:
    return "ready" if ready else "not ready"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")

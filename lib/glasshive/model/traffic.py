"""Counters beside a topology: what went in and out of each pod, as pictures and tables show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from glasshive.model.cluster import PodStatus, Topology


@dataclass(frozen=True, slots=True)
class Traffic:
    """Packets and bytes since the pod was attached, directions seen from the pod."""

    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0

    @property
    def packets(self) -> int:
        """Both directions."""
        return self.packets_in + self.packets_out

    @property
    def bytes(self) -> int:
        """Both directions."""
        return self.bytes_in + self.bytes_out


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A topology with the traffic of its pods by ``namespace/name``; ``taken_s`` is a monotonic clock in seconds."""

    topology: Topology
    traffic: Mapping[str, Traffic] = field(default_factory=dict)
    taken_s: float = 0.0

    def of(self, pod: PodStatus) -> Traffic:
        """Traffic of a pod; zeros if it is not known."""
        return self.traffic.get(pod_key(pod), Traffic())


@dataclass(frozen=True, slots=True)
class DropCount:
    """Packets and bytes that one node dropped for one reason in one direction (seen from the endpoint)."""

    node: str
    reason: str
    direction: str
    packets: int
    bytes: int


def pod_key(pod: PodStatus) -> str:
    """Name a pod within its cluster."""
    return f"{pod.namespace}/{pod.name}"

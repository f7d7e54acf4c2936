"""What a node needs to know about a pod, here or elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from glasshive.model.address import Address
from glasshive.model.endpoint import PodRef
from glasshive.model.labels import NO_LABELS, Labels
from glasshive.model.service import HostPort


@dataclass(frozen=True, slots=True)
class PodFacts:
    """``addresses`` is empty until the pod has its network, and for pods that use their node's (``host_network``)."""

    ref: PodRef
    node: str = ""
    addresses: tuple[Address, ...] = ()
    labels: Labels = NO_LABELS
    host_network: bool = False
    finished: bool = False
    ports: frozenset[tuple[str, int, int]] = frozenset()
    """What the pod calls its ports: (name, IP protocol number, port)."""
    host_ports: tuple[HostPort, ...] = ()
    """Ports of its node that lead to it."""

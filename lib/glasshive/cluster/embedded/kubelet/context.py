"""What all workers of one kubelet share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from glasshive.cluster.embedded.kubelet.config import KubeletConfig
from glasshive.cluster.embedded.kubelet.sandbox import Cni
from glasshive.inventory import Inventory
from glasshive.kube.client import Client
from glasshive.operator.events import EventRecorder


@dataclass
class Context:
    """``cni`` is None and ``network`` not set until the agent is ready for pods."""

    config: KubeletConfig
    client: Client
    inventory: Inventory
    events: EventRecorder
    cni: Cni | None = None
    network: asyncio.Event = field(default_factory=asyncio.Event)

"""What all controllers share: a context, a work queue of keys, and a start that waits only for its own caches."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from glasshive.kube.client import Client
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, controller_of, key_of
from glasshive.kube.workqueue import WorkQueue
from glasshive.operator.caches import Caches, Collection
from glasshive.operator.config import OperatorConfig
from glasshive.operator.events import EventRecorder


@dataclass(frozen=True)
class Context:
    """Handed to every controller."""

    client: Client
    caches: Caches
    events: EventRecorder
    config: OperatorConfig


class Controller(ABC):
    """A queue of (namespace, name) keys and a ``reconcile`` that makes the world fit one object.

    Subclasses register their event handlers in ``__init__`` and list in ``needs`` the collections that must be complete
    before the first ``reconcile``.
    """

    name: ClassVar[str]
    workers: ClassVar[int] = 4

    def __init__(self, context: Context, needs: Sequence[Collection]) -> None:
        self.context = context
        self.needs = tuple(needs)
        self.queue: WorkQueue[Key] = WorkQueue(self.name, self.reconcile, workers=self.workers)

    @abstractmethod
    async def reconcile(self, key: Key) -> float | None:
        """Make the world fit the object; return seconds after which to look again, or None."""

    async def start(self) -> None:
        """Wait for the needed caches, then start to work."""
        await asyncio.gather(*(collection.informer.wait_synced(timeout=None) for collection in self.needs))
        self.prepare()
        self.queue.start()

    def prepare(self) -> None:  # noqa: B027 - most controllers have nothing to prepare
        """Set up state from complete caches, before the first ``reconcile``."""

    async def stop(self) -> None:
        """Stop working."""
        await self.queue.stop()

    def enqueue(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        """Event handler: have the object itself reconciled."""
        obj = new or old
        assert obj is not None
        self.queue.add(key_of(obj))

    def enqueue_owner(self, kind_of_owner: str, old: Object | None, new: Object | None) -> None:
        """Have the controller of a child reconciled (the old one too, if it changed hands)."""
        for obj in (old, new):
            ref = controller_of(obj) if obj is not None else None
            if obj is not None and ref is not None and ref["kind"] == kind_of_owner:
                self.queue.add((key_of(obj)[0], ref["name"]))

"""Every kind that the cluster serves and that can be followed: the built-in ones, and those that CRDs add and remove.

Garbage collection and namespace deletion must know all objects, whatever their kind. Events are left out: there are
many, and nothing owns them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from glasshive.api.resources import BUILTIN, CUSTOM_RESOURCE_DEFINITION, EVENT, EVENT_V1, Resource
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Object
from glasshive.operator.caches import Caches, Collection
from glasshive.operator.pods import condition

log = logging.getLogger(__name__)
FOLLOWED = tuple(r for r in BUILTIN if {"list", "watch", "delete"} <= set(r.verbs) and r not in {EVENT, EVENT_V1})

KindHandler = Callable[[Collection, EventType, Object | None, Object | None], None]


class Kinds:
    """Collections of all kinds; ``on_event`` handlers hear of every object of every kind, also of kinds added later."""

    def __init__(self, caches: Caches) -> None:
        self._caches = caches
        self._handlers: list[KindHandler] = []
        self._collections: dict[tuple[str, str], Collection] = {}
        self._drops: set[asyncio.Task[None]] = set()
        self._definitions = caches.of(CUSTOM_RESOURCE_DEFINITION)
        for resource in FOLLOWED:
            self._follow(resource)
        self._definitions.on_event(self._on_definition)

    def __iter__(self) -> Iterator[Collection]:
        return iter(list(self._collections.values()))

    def on_event(self, handler: KindHandler) -> None:
        """Call ``handler(collection, type, old, new)`` for every object and change."""
        self._handlers.append(handler)

    def find(self, api_version: str, kind: str) -> Collection | None:
        """Return the collection of a kind as owner references name it; the version does not matter."""
        group = api_version.rpartition("/")[0]
        for collection in self._collections.values():
            if collection.resource.kind == kind and collection.resource.group == group:
                return collection
        return None

    async def wait_synced(self) -> None:
        """Wait until all built-in kinds and the custom ones known by then have been listed."""
        await self._definitions.informer.wait_synced(timeout=None)
        await asyncio.gather(*(c.informer.wait_synced(timeout=None) for c in self if c.resource in FOLLOWED))

    def _follow(self, resource: Resource) -> None:
        key = (resource.group, resource.plural)
        if key in self._collections:
            return
        collection = self._collections[key] = self._caches.of(resource)

        def handle(kind: EventType, old: Object | None, new: Object | None) -> None:
            for handler in self._handlers:
                handler(collection, kind, old, new)

        collection.on_event(handle)

    def _on_definition(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        definition = new or old
        assert definition is not None
        resource = Resource.of_crd(definition)
        if new is None:
            if self._collections.pop((resource.group, resource.plural), None) is not None:
                task = asyncio.create_task(self._caches.drop(resource))
                self._drops.add(task)
                task.add_done_callback(self._drops.discard)
            return
        established = condition(new, "Established")
        if established is not None and established.get("status") == "True":
            self._follow(resource)

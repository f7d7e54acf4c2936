"""Namespace deletion: everything inside goes first, then the namespace is finalised."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from glasshive.api.resources import EVENT, NAMESPACE, Resource
from glasshive.errors import ApiError
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating, key_of
from glasshive.operator.caches import Collection
from glasshive.operator.controller import Context, Controller
from glasshive.operator.kinds import Kinds

FINALIZER = "kubernetes"
LOOK_AGAIN_SECONDS = 5.0
"""Content that is still there is normally reported by a watch; this is for content of kinds that nobody follows."""


class NamespaceController(Controller):
    """Empties and finalises namespaces that are being deleted. Keys are ("", namespace)."""

    name: ClassVar[str] = "namespace"

    def __init__(self, context: Context, kinds: Kinds) -> None:
        self._namespaces = context.caches.of(NAMESPACE)
        self._kinds = kinds
        super().__init__(context, [self._namespaces])
        self._namespaces.on_event(self.enqueue)
        kinds.on_event(self._on_content)

    def _on_content(self, _collection: Collection, kind: EventType, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        name = key_of(obj)[0]
        namespace = self._namespaces.get(name) if name and kind != "MODIFIED" else None
        if namespace is not None and is_terminating(namespace):
            self.queue.add(("", name))

    async def reconcile(self, key: Key) -> float | None:
        """Take the deletion of one namespace as far as it goes now."""
        found = self._namespaces.get(key[1])
        if found is None or not is_terminating(found):
            return None
        kept = [f for f in (found["spec"].get("finalizers") or ()) if f != FINALIZER]
        if kept == (found["spec"].get("finalizers") or []):
            return None  # finalised already; what else it waits for is its owner's business
        resources = [c.resource for c in self._kinds if c.resource.namespaced]
        left = await asyncio.gather(*(self._empty(resource, key[1]) for resource in resources))
        if any(left):
            return LOOK_AGAIN_SECONDS
        await self._empty(EVENT, key[1])
        body = {**found, "spec": {**found["spec"], "finalizers": kept}}
        await self.context.client.replace(NAMESPACE, body, subresource="finalize")
        return None

    async def _empty(self, resource: Resource, namespace: str) -> int:
        """Delete all objects of one kind that are not on their way out; return how many are still there.

        The server is asked, not the cache: nothing may be overlooked.
        """
        query = {"propagationPolicy": "Background"}
        try:
            page = await self.context.client.request("GET", resource.path(namespace), query={"limit": "500"})
            items = page.get("items") or []
            if not items:
                return 0
            if not all(is_terminating(item) for item in items):
                await self.context.client.request("DELETE", resource.path(namespace), query=query)
                page = await self.context.client.request("GET", resource.path(namespace), query={"limit": "1"})
                items = page.get("items") or []
        except ApiError as error:
            if error.code in {404, 405}:  # the kind was withdrawn meanwhile, or cannot be deleted
                return 0
            raise
        return len(items)

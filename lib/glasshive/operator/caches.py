"""One informer per kind, shared by all controllers, and writes that show in the cache as soon as they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from glasshive.api.resources import POD, SERVICE, Resource
from glasshive.errors import ApiError
from glasshive.kube.client import Client, PatchKind, Propagation
from glasshive.kube.informer import Handler, Indexer, Informer
from glasshive.kube.objects import Object, controller_of, key_of, uid_of


def _owners(obj: Object) -> Iterable[str]:
    return [ref["uid"] for ref in obj["metadata"].get("ownerReferences") or ()]


def _controller(obj: Object) -> Iterable[str]:
    ref = controller_of(obj)
    return [ref["uid"]] if ref else ()


def _namespace(obj: Object) -> Iterable[str]:
    return [key_of(obj)[0]]


def _without_controller(obj: Object) -> Iterable[str]:
    return [key_of(obj)[0]] if controller_of(obj) is None else ()


def _node(obj: Object) -> Iterable[str]:
    name = obj["spec"].get("nodeName")
    return [name] if name else ()


def _first_selector(service: Object) -> Iterable[str]:
    """One label of the selector is enough to find the few Services that may select a pod."""
    selector = service["spec"].get("selector") or {}
    return [f"{key_of(service)[0]}/{key}={selector[key]}" for key in sorted(selector)[:1]]


INDEXERS: dict[str, Indexer] = {
    "owner": _owners,
    "controller": _controller,
    "namespace": _namespace,
    "orphans": _without_controller,
}


class Collection:
    """All objects of one kind: reads come from the cache, writes go to the server and then into the cache."""

    def __init__(self, client: Client, resource: Resource) -> None:
        indexers = dict(INDEXERS)
        if resource == POD:
            indexers["node"] = _node
        elif resource == SERVICE:
            indexers["selector"] = _first_selector
        self.client = client
        self.resource = resource
        self.informer = Informer(client, resource, indexers=indexers)

    def get(self, name: str, namespace: str = "") -> Object | None:
        """Return one object or None. Objects of the cache must not be changed."""
        return self.informer.get(name, namespace)

    def values(self) -> list[Object]:
        """Return all objects."""
        return self.informer.values()

    def controlled_by(self, owner: Object) -> list[Object]:
        """Return the objects whose controller is ``owner``."""
        return self.informer.by_index("controller", uid_of(owner))

    def on_event(self, handler: Handler) -> None:
        """Call ``handler(type, old, new)`` for what is there and for every change."""
        self.informer.add_handler(handler)

    async def create(self, body: Object) -> Object:
        """Create an object."""
        made = await self.client.create(self.resource, body)
        self.informer.observe(made)
        return made

    async def patch(self, obj: Object, body: object, *, kind: PatchKind = "merge", subresource: str = "") -> Object:
        """Patch an object."""
        namespace, name = key_of(obj)
        made = await self.client.patch(self.resource, name, body, namespace, kind=kind, subresource=subresource)
        self.informer.observe(made)
        return made

    async def set_status(self, obj: Object, status: dict[str, Any]) -> Object:
        """Make the object's status equal ``status``; no request if it already is."""
        old: dict[str, Any] = obj.get("status") or {}
        if old == status:
            return obj
        removed: dict[str, Any] = dict.fromkeys(old.keys() - status.keys())
        changed = {key: value for key, value in status.items() if key not in old or old[key] != value}
        return await self.patch(obj, {"status": removed | changed}, subresource="status")

    async def delete(
        self, obj: Object, *, propagation: Propagation | None = "Background", grace_seconds: int | None = None
    ) -> None:
        """Delete exactly this object; it is no error if it is gone already or was replaced by another one."""
        namespace, name = key_of(obj)
        try:
            answer = await self.client.delete(
                self.resource, name, namespace, propagation=propagation, grace_seconds=grace_seconds, uid=uid_of(obj)
            )
        except ApiError as error:
            if error.code not in {404, 409}:
                raise
            return
        if answer.get("kind") == "Status" or not answer.get("metadata", {}).get("deletionTimestamp"):
            self.informer.forget(obj)
        else:
            self.informer.observe(answer)


class Caches:
    """The collections by resource; a collection starts to follow the server when it is first asked for."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._collections: dict[tuple[str, str], Collection] = {}
        self._running = False

    def of(self, resource: Resource) -> Collection:
        """Return the shared collection of a kind."""
        key = (resource.group, resource.plural)
        found = self._collections.get(key)
        if found is None:
            found = self._collections[key] = Collection(self.client, resource)
            if self._running:
                found.informer.start()
        return found

    def all(self) -> list[Collection]:
        """Return all collections that were asked for so far."""
        return list(self._collections.values())

    def start(self) -> None:
        """Start all informers asked for so far, at once; later ones start when asked for."""
        self._running = True
        for collection in self._collections.values():
            collection.informer.start()

    async def drop(self, resource: Resource) -> None:
        """Stop following a kind that is no longer served."""
        found = self._collections.pop((resource.group, resource.plural), None)
        if found is not None:
            await found.informer.stop()

    async def stop(self) -> None:
        """Stop all informers."""
        self._running = False
        await asyncio.gather(*(c.informer.stop() for c in self._collections.values()))

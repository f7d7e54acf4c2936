"""Garbage collection: dependents follow their owners (background, foreground) or are let go (orphan).

Decisions are ``ownership.judge``; this module keeps the graph (who owns whom, over all kinds) and carries them out.
"""

from __future__ import annotations

from typing import NamedTuple

from glasshive.errors import ApiError
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Object, is_terminating, key_of, uid_of
from glasshive.kube.workqueue import WorkQueue
from glasshive.operator import ownership
from glasshive.operator.caches import Collection
from glasshive.operator.children import all_of
from glasshive.operator.controller import Context
from glasshive.operator.kinds import Kinds
from glasshive.operator.ownership import FOREGROUND, ORPHAN


class Item(NamedTuple):
    """One object of any kind."""

    group: str
    plural: str
    namespace: str
    name: str


class GarbageCollector:
    """Looks at an object when it appears with owners, when one of them goes, and when its own deletion waits."""

    def __init__(self, context: Context, kinds: Kinds) -> None:
        self._context = context
        self._kinds = kinds
        self._uids: dict[str, Collection] = {}
        self._queue: WorkQueue[Item] = WorkQueue("garbage", self._reconcile, workers=8)
        kinds.on_event(self._on_event)

    async def start(self) -> None:
        """Wait for all kinds, then start to collect."""
        await self._kinds.wait_synced()
        self._queue.start()

    async def stop(self) -> None:
        """Stop collecting."""
        await self._queue.stop()

    def _on_event(self, collection: Collection, _kind: EventType, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self._uids.pop(uid_of(old), None)
            for kind, dependent in self._dependents(uid_of(old)):
                self._add(kind, dependent)
            self._add_owners(old)
            return
        self._uids[uid_of(new)] = collection
        refs = ownership.owner_references(new)
        if old is not None and ownership.owner_references(old) != refs:
            self._add_owners(old)
        if is_terminating(new):
            if {FOREGROUND, ORPHAN} & set(ownership.finalizers(new)):
                self._add(collection, new)
        elif refs and (old is None or ownership.owner_references(old) != refs):
            self._add(collection, new)

    def _add(self, collection: Collection, obj: Object) -> None:
        self._queue.add(Item(collection.resource.group, collection.resource.plural, *key_of(obj)))

    def _add_owners(self, obj: Object) -> None:
        """Have owners looked at that wait for ``obj`` to go."""
        for ref in ownership.owner_references(obj):
            collection = self._uids.get(ref["uid"])
            owner = self._cached(collection, ref, obj) if collection is not None else None
            if collection is not None and owner is not None and is_terminating(owner):
                self._add(collection, owner)

    def _cached(self, collection: Collection, ref: Object, dependent: Object) -> Object | None:
        namespace = key_of(dependent)[0] if collection.resource.namespaced else ""
        found = collection.get(ref["name"], namespace)
        return found if found is not None and uid_of(found) == ref["uid"] else None

    def _dependents(self, uid: str) -> list[tuple[Collection, Object]]:
        return [(kind, obj) for kind in self._kinds for obj in kind.informer.by_index("owner", uid)]

    async def _reconcile(self, item: Item) -> float | None:
        collection = next(
            (k for k in self._kinds if (k.resource.group, k.resource.plural) == (item.group, item.plural)), None
        )
        obj = collection.get(item.name, item.namespace) if collection is not None else None
        if collection is None or obj is None:
            return None
        if is_terminating(obj):
            return await self._let_go(collection, obj)
        states = {}
        for ref in ownership.owner_references(obj):
            states[ref["uid"]] = ownership.state_of(await self._owner(ref, obj))
        verdict = ownership.judge(
            obj, lambda ref: states[ref["uid"]], has_dependents=bool(self._dependents(uid_of(obj)))
        )
        if verdict.action == "delete":
            await collection.delete(obj, propagation=verdict.propagation)
        elif verdict.action == "unlink":
            await _unlink(collection, obj, verdict.uids)
        return None

    async def _owner(self, ref: Object, dependent: Object) -> Object | None:
        """Return the owner; a cache that does not know it is not believed, the server is asked.

        An owner of a kind that nobody serves cannot be judged: it counts as there.
        """
        collection = self._uids.get(ref["uid"]) or self._kinds.find(ref.get("apiVersion", ""), ref.get("kind", ""))
        if collection is None:
            return {"metadata": {"name": ref["name"], "uid": ref["uid"]}}
        found = self._cached(collection, ref, dependent)
        if found is not None:
            return found
        namespace = key_of(dependent)[0] if collection.resource.namespaced else ""
        if collection.resource.namespaced and not namespace:
            return None  # a cluster-scoped object cannot have an owner in a namespace
        try:
            live = await self._context.client.get(collection.resource, ref["name"], namespace)
        except ApiError as error:
            if error.code != 404:
                raise
            return None
        return live if uid_of(live) == ref["uid"] else None

    async def _let_go(self, collection: Collection, obj: Object) -> float | None:
        """Do what a deletion with ``orphan`` or ``foregroundDeletion`` waits for, then take the finalizer away."""
        dependents = self._dependents(uid_of(obj))
        if ORPHAN in ownership.finalizers(obj):
            await all_of([_unlink(kind, dependent, frozenset({uid_of(obj)})) for kind, dependent in dependents])
            await _remove_finalizer(collection, obj, ORPHAN)
        elif FOREGROUND in ownership.finalizers(obj):
            for kind, dependent in dependents:
                if not is_terminating(dependent):
                    self._add(kind, dependent)
            if not ownership.blocking(obj, [d for _, d in dependents]):
                await _remove_finalizer(collection, obj, FOREGROUND)
        return None


async def _unlink(collection: Collection, obj: Object, uids: frozenset[str]) -> None:
    kept = [ref for ref in ownership.owner_references(obj) if ref["uid"] not in uids]
    version = obj["metadata"]["resourceVersion"]
    body = {"metadata": {"uid": uid_of(obj), "resourceVersion": version, "ownerReferences": kept or None}}
    await collection.patch(obj, body)


async def _remove_finalizer(collection: Collection, obj: Object, finalizer: str) -> None:
    kept = [f for f in ownership.finalizers(obj) if f != finalizer]
    body = {"metadata": {"resourceVersion": obj["metadata"]["resourceVersion"], "finalizers": kept or None}}
    # Not through the collection: with the last finalizer the object itself goes, which only the watch can tell.
    await collection.client.patch(collection.resource, key_of(obj)[1], body, key_of(obj)[0])

"""Keeping the ControllerRevisions of one owner as ``revisions`` computes them."""

from __future__ import annotations

from collections.abc import Iterable

from glasshive.errors import ApiError
from glasshive.kube.objects import Object, uid_of
from glasshive.operator import revisions
from glasshive.operator.caches import Collection
from glasshive.operator.children import all_of


async def keep(collection: Collection, owner: Object, kind: str, used: Iterable[str]) -> Object:
    """Make the owner's present template its newest revision, remove what is too old; return that revision."""
    todo = revisions.history(owner, kind, collection.controlled_by(owner), used)
    current = todo.current
    if todo.create:
        current = await _create(collection, owner, current)
    elif todo.renumber:
        current = await collection.patch(current, {"revision": current["revision"]})
    await all_of([collection.delete(old) for old in todo.expired])
    return current


async def _create(collection: Collection, owner: Object, body: Object) -> Object:
    try:
        return await collection.create(body)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        taken = await collection.client.get(collection.resource, name, namespace)
        refs = taken["metadata"].get("ownerReferences") or ()
        if not any(ref.get("uid") == uid_of(owner) for ref in refs):
            raise  # of a former owner with the same name: its garbage collection is awaited
        collection.informer.observe(taken)
        return taken

"""A cache that follows one collection of the API server: list, then watch, for ever.

What it survives: a watch that ends (resumed from the last resourceVersion, bookmarks included), history that is gone
(410: listed anew, and the differences are reported as ordinary events), and a server that dies and comes back (the
cache stays readable meanwhile; attempts are spaced by ``backoff``). A controller that just wrote an object hands the
answer to ``observe``, so that its next look at the cache does not miss its own write.

The usual next step for an event is a key in a ``workqueue.WorkQueue``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from glasshive.api.resources import Resource
from glasshive.errors import ApiError, DeadlineError
from glasshive.kube.backoff import Backoff
from glasshive.kube.client import Client
from glasshive.kube.objects import Key, Object, key_of, uid_of, version_of

EventType = Literal["ADDED", "MODIFIED", "DELETED"]
Handler = Callable[[EventType, Object | None, Object | None], None]
"""Called as (type, old, new) in the event loop; ``old`` is None for ADDED, ``new`` is None for DELETED."""
Indexer = Callable[[Object], Iterable[str]]
Trim = Callable[[Object], Object]
"""Gives the part of an object that is worth keeping; its metadata must keep name, namespace, uid, resourceVersion."""

HEALTHY_SECONDS = 1.0
"""A watch that lived this long was a success: the next failure starts with a short wait again."""

log = logging.getLogger(__name__)


class Informer:
    """Follow ``resource`` (all namespaces, or one), keep its objects, call handlers for every change.

    ``indexers`` maps an index name to a function that gives the values under which ``by_index`` finds an object.
    With ``trim`` only what it returns is kept and shown to handlers: for caches that must stay small.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        on_event: Handler | None = None,
        *,
        namespace: str = "",
        field_selector: str = "",
        label_selector: str = "",
        indexers: Mapping[str, Indexer] | None = None,
        trim: Trim | None = None,
    ) -> None:
        self.client = client
        self.resource = resource
        self.namespace = namespace
        self.field_selector = field_selector
        self.label_selector = label_selector
        self.last_error: ApiError | None = None
        self._trim = trim
        self._handlers: list[Handler] = [on_event] if on_event else []
        self._objects: dict[Key, Object] = {}
        self._indexers = dict(indexers or {})
        self._indexes: dict[str, dict[str, dict[Key, Object]]] = {name: {} for name in self._indexers}
        self._forgotten: set[str] = set()
        self._version = ""
        self._seen = 0  # highest version that a list or watch (not an own write) has shown
        self._synced = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # -- life

    def start(self) -> None:
        """Begin to follow in a task of the running loop; does not wait (see ``wait_synced``)."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"informer-{self.resource.plural}")

    async def stop(self) -> None:
        """Stop following; the cache stays as it is."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    @property
    def synced(self) -> bool:
        """Whether the first list has been taken in completely."""
        return self._synced.is_set()

    async def wait_synced(self, timeout: float | None = 30.0) -> None:  # noqa: ASYNC109 - the error must say what was seen
        """Wait until the first list has been taken in, for ever with None; DeadlineError tells the last failure."""
        try:
            await asyncio.wait_for(self._synced.wait(), timeout)
        except TimeoutError:
            seen = f"last seen: {self.last_error}" if self.last_error else "no answer yet"
            raise DeadlineError(f"no list of {self.resource.plural} within {timeout:g} s; {seen}") from None

    def add_handler(self, handler: Handler) -> None:
        """Add a handler; it is told of everything already in the cache as ADDED first."""
        for obj in self._objects.values():
            self._call(handler, "ADDED", None, obj)
        self._handlers.append(handler)

    # -- the cache

    def get(self, name: str, namespace: str = "") -> Object | None:
        """Return one object or None. The cache's own object: do not change it."""
        return self._objects.get((namespace, name))

    def values(self) -> list[Object]:
        """Return all objects, in no promised order."""
        return list(self._objects.values())

    def by_index(self, index: str, value: str) -> list[Object]:
        """Return the objects for which the indexer named ``index`` gave ``value``."""
        return list(self._indexes[index].get(value, {}).values())

    def observe(self, obj: Object) -> None:
        """Take in the server's answer to an own write at once, ahead of the watch (which then repeats it silently).

        Selectors are not applied: meant for informers without.
        """
        self._take(obj)

    def forget(self, obj: Object) -> None:
        """Take out an object that an own delete removed for good, ahead of the watch."""
        key = key_of(obj)
        known = self._objects.get(key)
        if known is not None and uid_of(known) == uid_of(obj):
            self._forgotten.add(uid_of(obj))
            self._drop(key)

    # -- following

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            began = time.monotonic()
            try:
                if not self._version:
                    await self._relist()
                await self._follow()
                self.last_error = None
            except ApiError as error:
                self.last_error = error
                if error.code == 410:
                    log.info("%s: history is gone, listing anew", self.resource.plural)
                    self._version = ""
                else:
                    log.debug("%s: %s", self.resource.plural, error)
            if time.monotonic() - began >= HEALTHY_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _relist(self) -> None:
        listed = await self.client.list(
            self.resource, self.namespace, label_selector=self.label_selector, field_selector=self.field_selector
        )
        snapshot = _number(listed.resource_version)
        fresh = {key_of(obj): obj for obj in listed.items}
        # A store that was lost counts anew: then nothing remembered may outlive the list. Otherwise an object that is
        # newer than the list is an own write that overtook it, and stays.
        went_back = snapshot < self._seen
        for key in [k for k, o in self._objects.items() if k not in fresh]:
            if went_back or version_of(self._objects[key]) <= snapshot:
                self._drop(key)
        for obj in fresh.values():
            self._take(obj, replace=went_back)
        self._forgotten.clear()
        self._version, self._seen = listed.resource_version, snapshot
        self._synced.set()

    async def _follow(self) -> None:
        async for kind, obj in self.client.watch(
            self.resource,
            self.namespace,
            resource_version=self._version,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
        ):
            if kind == "DELETED":
                self._gone(obj)
            elif kind != "BOOKMARK":
                self._take(obj)
            self._version = obj["metadata"]["resourceVersion"]
            self._seen = _number(self._version)

    # -- taking changes in

    def _take(self, obj: Object, *, replace: bool = False) -> None:
        """Store ``obj`` unless the cache already has it or something newer; ``replace`` compares by inequality."""
        key, version, uid = key_of(obj), version_of(obj), uid_of(obj)
        if uid in self._forgotten and not replace:
            return
        old = self._objects.get(key)
        if old is not None:
            known = version_of(old)
            if version == known or (version < known and not replace):
                return
            if uid_of(old) != uid:  # deleted and made again while nobody looked
                self._drop(key)
                old = None
        if self._trim is not None:
            obj = self._trim(obj)
        self._objects[key] = obj
        self._reindex(key, old, obj)
        self._emit("ADDED" if old is None else "MODIFIED", old, obj)

    def _gone(self, obj: Object) -> None:
        """Take in a DELETED event; a newer object of the same name stays."""
        self._forgotten.discard(uid_of(obj))
        known = self._objects.get(key_of(obj))
        if known is not None and (uid_of(known) == uid_of(obj) or version_of(known) < version_of(obj)):
            self._drop(key_of(obj))

    def _drop(self, key: Key) -> None:
        old = self._objects.pop(key)
        self._reindex(key, old, None)
        self._emit("DELETED", old, None)

    def _reindex(self, key: Key, old: Object | None, new: Object | None) -> None:
        for name, indexer in self._indexers.items():
            index = self._indexes[name]
            for value in indexer(old) if old is not None else ():
                entries = index.get(value, {})
                entries.pop(key, None)
                if not entries:
                    index.pop(value, None)
            for value in indexer(new) if new is not None else ():
                index.setdefault(value, {})[key] = new  # type: ignore[assignment]  # new is set in this loop

    def _emit(self, kind: EventType, old: Object | None, new: Object | None) -> None:
        for handler in self._handlers:
            self._call(handler, kind, old, new)

    def _call(self, handler: Handler, kind: EventType, old: Object | None, new: Object | None) -> None:
        try:
            handler(kind, old, new)
        except Exception:  # one handler's mistake must not end the cache of all others
            log.exception("handler of %s failed on %s of %s", self.resource.plural, kind, key_of(new or old or {}))


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0

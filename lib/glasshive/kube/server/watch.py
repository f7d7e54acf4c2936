"""Watches: one `Subscription` per watching client, fed by a table's listeners, drained by the HTTP handler.

A subscription translates changes into what its client selected: an object that comes to match a selector is ADDED, one
that ceases to match is DELETED. Lines are shared by all watchers of an event. A client that does not keep up is cut off
after `BACKLOG` events and resumes from its last resourceVersion, so that it costs no memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import orjson

from glasshive.api.selectors import Selector, matches

from .log import ADDED, DELETED, MODIFIED
from .store import Event, Object, Record, Table, event_line

BACKLOG = 20_000


@dataclass(frozen=True, slots=True)
class Scope:
    """Which objects a list or a watch is about; ``namespace`` None means all."""

    namespace: str | None = None
    labels: Selector = ()
    fields: Selector = ()

    def has(self, record: Record) -> bool:
        """Whether the record is in scope."""
        if self.namespace is not None and record.key[0] != self.namespace:
            return False
        if self.labels and not matches(self.labels, record.labels):
            return False
        return not self.fields or matches(self.fields, record.fields)

    @property
    def narrow(self) -> bool:
        """Whether more than the namespace selects."""
        return bool(self.labels or self.fields)


#: Turns an object's bytes into what this client asked for (None: the object itself).
Transform = Callable[[Record], bytes]


class Subscription:
    """The changes that one client waits for. Use as a context manager: it listens between enter and exit."""

    def __init__(self, table: Table, scope: Scope, transform: Transform | None = None) -> None:
        self.table = table
        self._scope = scope
        self._transform = transform
        self._lines: list[bytes] = []
        self._wake: asyncio.Future[None] | None = None
        self._limit = BACKLOG
        self.overrun = False

    def __enter__(self) -> Self:
        self.table.listeners.add(self.take)
        return self

    def __exit__(self, *_: object) -> None:
        self.table.listeners.discard(self.take)

    def start(self, records: Iterable[Record]) -> None:
        """Begin with these objects as ADDED."""
        for record in records:
            self._lines.append(self._line("ADDED", record, None))
        self._limit += len(self._lines)

    def take(self, event: Event) -> None:
        """Hear of a change."""
        if self.overrun:
            return
        line = self._translate(event)
        if line is not None:
            self.push(line)
            self.overrun = len(self._lines) > self._limit

    def push(self, line: bytes) -> None:
        """Send a line of our own (bookmark, error)."""
        self._lines.append(line)
        self.ring()

    def end(self) -> None:
        """Say nothing more after what is waiting now."""
        self.overrun = True
        self.ring()

    async def drain(self, seconds: float) -> bytes:
        """What there is to send; waits for it up to that long, then returns b""."""
        if not self._lines and not self.overrun:
            self._wake = asyncio.get_running_loop().create_future()
            handle = asyncio.get_running_loop().call_later(max(seconds, 0.0), self.ring)
            try:
                await self._wake
            finally:
                handle.cancel()
                self._wake = None
        lines, self._lines = self._lines, []
        return b"".join(lines)

    def ring(self) -> None:
        """Wake the one who drains, with or without anything to send."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _translate(self, event: Event) -> bytes | None:
        scope, record, prev = self._scope, event.record, event.prev
        if scope.namespace is not None and record.key[0] != scope.namespace:
            return None
        if not scope.narrow:
            return event.line if self._transform is None else self._line(_NAMES[event.action], record, None)
        was = event.action != ADDED and prev is not None and scope.has(prev)
        now = event.action != DELETED and scope.has(record)
        if now:
            action = MODIFIED if was else ADDED
            if action == event.action and self._transform is None:
                return event.line
            return self._line(_NAMES[action], record, None)
        if not was:
            return None
        if event.action == DELETED:
            return event.line if self._transform is None else self._line("DELETED", record, None)
        return self._line("DELETED", record, prev)

    def _line(self, kind: str, record: Record, shown: Record | None) -> bytes:
        """A line for ``record``; for an object that left the selection, ``shown`` is its last selected state."""
        if shown is not None:
            obj = shown.parse()
            obj["metadata"]["resourceVersion"] = str(record.rev)
            record = Record(record.key, record.rev, orjson.dumps(obj), lambda _: {})
        return event_line(kind, record.data if self._transform is None else self._transform(record))


_NAMES = ("ADDED", "MODIFIED", "DELETED")


def bookmark(kind: str, api_version: str, revision: int, *, initial_end: bool = False) -> bytes:
    """A line that only says how far the stream is."""
    metadata: Object = {"resourceVersion": str(revision)}
    if initial_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return event_line("BOOKMARK", orjson.dumps({"kind": kind, "apiVersion": api_version, "metadata": metadata}))


def error_line(status: Object) -> bytes:
    """A line that ends a stream with a Status object."""
    return event_line("ERROR", orjson.dumps(status))

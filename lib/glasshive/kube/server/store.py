"""The store: all objects in memory as bytes, every write numbered, made durable in groups, then shown to everybody.

One event loop owns it, so a look-up followed by `Store.put` without an ``await`` between them is atomic. Writers see
pending writes (`Store.newest`); readers and watchers see only what is durable (`Table`). Writes that arrive in one turn
of the loop share one transaction: SQLite's own work for a row is about 10 us, less than waking another thread costs.

Objects are immutable `Record` s: their JSON bytes are made once and shared by get, list, watch and disk. Whoever wants
to change an object parses the bytes and so gets a copy of its own.
"""

from __future__ import annotations

import asyncio
import sqlite3
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from .log import ADDED, DELETED, MODIFIED, Key, Log, Row
from .status import MAX_OBJECT_BYTES, expired, too_large_object, unavailable

Object = dict[str, Any]
Fields = Callable[[Object], dict[str, str]]

_TYPE_NAMES = ("ADDED", "MODIFIED", "DELETED")


def _no_fields(_: Object) -> dict[str, str]:
    return {}


class Record:
    """One version of one object; never changed."""

    __slots__ = ("_fields", "_fields_of", "_labels", "data", "key", "rev")

    def __init__(self, key: Key, rev: int, data: bytes, fields_of: Fields) -> None:
        self.key = key
        self.rev = rev
        self.data = data
        self._fields_of = fields_of
        self._labels: dict[str, str] | None = None
        self._fields: dict[str, str] | None = None

    def parse(self) -> Object:
        """The object as a dictionary that belongs to the caller."""
        parsed: Object = orjson.loads(self.data)
        return parsed

    def look(self, parsed: Object) -> None:
        """Remember labels and selectable fields of ``parsed``, which is this record's object."""
        self._labels = parsed["metadata"].get("labels") or {}
        fields = self._fields_of(parsed)
        fields["metadata.namespace"], fields["metadata.name"] = self.key
        self._fields = fields

    @property
    def labels(self) -> dict[str, str]:
        """The object's labels."""
        if self._labels is None:
            self.look(self.parse())
        return self._labels or {}

    @property
    def fields(self) -> dict[str, str]:
        """Values that field selectors may ask for."""
        if self._fields is None:
            self.look(self.parse())
        return self._fields or {}


class Event:
    """One change: the record it made (for a deletion: the object's last state) and the record it replaced."""

    __slots__ = ("_line", "action", "prev", "record")

    def __init__(self, action: int, record: Record, prev: Record | None) -> None:
        self.action = action
        self.record = record
        self.prev = prev
        self._line: bytes | None = None

    @property
    def line(self) -> bytes:
        """The event as a line of a watch stream, made once for all watchers."""
        if self._line is None:
            self._line = event_line(_TYPE_NAMES[self.action], self.record.data)
        return self._line


def event_line(kind: str, data: bytes) -> bytes:
    """A line of a watch stream."""
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), data)


class Table:
    """The durable objects of one resource, their order, recent history, and who wants to hear of changes.

    ``history`` holds all events with revisions above ``floor``.
    """

    def __init__(self, place: str, window: int) -> None:
        self.place = place
        self.fields_of: Fields = _no_fields
        self.records: dict[Key, Record] = {}
        self.order: list[Key] = []
        self.history: deque[Event] = deque()
        self.floor = 0
        self.listeners: set[Callable[[Event], None]] = set()
        self._window = window

    def selectable(self, obj: Object) -> dict[str, str]:
        """Values of the object that field selectors may ask for, beside name and namespace."""
        return self.fields_of(obj)

    def apply(self, event: Event) -> list[int]:
        """Take a durable change in; returns the revisions that history lets go of."""
        key = event.record.key
        if event.action == DELETED:
            self.records.pop(key, None)
            at = bisect_left(self.order, key)
            if at < len(self.order) and self.order[at] == key:
                del self.order[at]
        else:
            if key not in self.records:
                insort(self.order, key)
            self.records[key] = event.record
        self.history.append(event)
        forgotten = []
        while len(self.history) > self._window:
            old = self.history.popleft()
            self.floor = max(self.floor, old.record.rev)
            if old.prev is not None:
                forgotten.append(old.prev.rev)
            if old.action == DELETED:
                forgotten.append(old.record.rev)
        return forgotten

    def since(self, rev: int) -> list[Event]:
        """Events after revision ``rev``; StatusError 410 when history does not reach back that far."""
        if rev < self.floor:
            raise expired(f"too old resource version: {rev} ({self.floor})")
        newer: list[Event] = []
        for event in reversed(self.history):
            if event.record.rev <= rev:
                break
            newer.append(event)
        newer.reverse()
        return newer

    def at(self, rev: int) -> tuple[list[Key], dict[Key, Record]]:
        """The objects as they were at revision ``rev``; StatusError 410 when that is forgotten."""
        undo = self.since(rev)
        if not undo:
            return self.order, self.records
        records = dict(self.records)
        for event in reversed(undo):
            if event.prev is None or event.action == ADDED:
                records.pop(event.record.key, None)
            else:
                records[event.record.key] = event.prev
        return sorted(records), records

    def span(self, order: list[Key], namespace: str | None, after: Key | None = None) -> tuple[int, int]:
        """Index range of ``order`` that lies in ``namespace`` (None: all) and after key ``after``."""
        low, high = 0, len(order)
        if namespace is not None:
            low, high = bisect_left(order, (namespace, "")), bisect_left(order, (namespace + "\0", ""))
        if after is not None:
            low = max(low, bisect_right(order, after))
        return low, high


class Store:
    """All tables, the revision counter, and the group commit."""

    def __init__(self, path: Path, *, window: int = 10_000) -> None:
        self._log = Log(path)
        self._window = window
        self._tables: dict[str, Table] = {}
        self._pending: dict[tuple[str, Key], Record | None] = {}
        self._batch: list[tuple[Row, Table, Event, asyncio.Future[Record]]] = []
        self._forgotten: list[int] = []
        self._moved: set[str] = set()
        self.revision = 0
        self._next = 1
        self._load()

    def _load(self) -> None:
        floors = self._log.floors()
        known: dict[int, Record] = {}
        for row in self._log.rows():
            table = self.table(row.place)
            record = Record(row.key, row.rev, row.data, table.selectable)
            known[row.rev] = record
            prev = known.get(row.prev) if row.prev else None
            self._forget(table, table.apply(Event(row.action, record, prev)))
            self.revision = row.rev
        for place, floor in floors.items():
            self.table(place).floor = max(self.table(place).floor, floor)
        self._next = self.revision + 1

    def _forget(self, table: Table, revisions: list[int]) -> None:
        """Have rows deleted with the next transaction; history must not be asked for what they explained."""
        if revisions:
            self._forgotten += revisions
            self._moved.add(table.place)

    def table(self, place: str) -> Table:
        """The table of that name, made when first asked for."""
        table = self._tables.get(place)
        if table is None:
            table = self._tables[place] = Table(place, self._window)
        return table

    def newest(self, table: Table, key: Key) -> Record | None:
        """The newest version of an object, durable or not yet: what a writer must build on."""
        pending = (table.place, key)
        if pending in self._pending:
            return self._pending[pending]
        return table.records.get(key)

    def newest_in(self, table: Table, namespace: str | None = None) -> list[Record]:
        """The newest versions of all objects (of a namespace), pending writes included."""
        low, high = table.span(table.order, namespace)
        found = {key: table.records[key] for key in table.order[low:high]}
        for (place, key), record in self._pending.items():
            if place == table.place and namespace in {None, key[0]}:
                if record is None:
                    found.pop(key, None)
                else:
                    found[key] = record
        return list(found.values())

    def put(self, table: Table, key: Key, obj: Object) -> asyncio.Future[Record]:
        """Number ``obj`` and queue it; the future gives the record once it is durable.

        Sets ``metadata.resourceVersion``. Raises StatusError 413 before anything happened when it is too big; the
        future raises StatusError 503 when the disk refuses.
        """
        return self._queue(table, key, obj, delete=False)

    def remove(self, table: Table, key: Key, obj: Object) -> asyncio.Future[Record]:
        """Queue the removal of the object whose last state is ``obj``; as `put`."""
        return self._queue(table, key, obj, delete=True)

    def _queue(self, table: Table, key: Key, obj: Object, *, delete: bool) -> asyncio.Future[Record]:
        rev = self._next
        obj["metadata"]["resourceVersion"] = str(rev)
        data = orjson.dumps(obj)
        if len(data) > MAX_OBJECT_BYTES:
            raise too_large_object(len(data))
        prev = self.newest(table, key)
        self._next = rev + 1
        record = Record(key, rev, data, table.selectable)
        record.look(obj)
        action = DELETED if delete else ADDED if prev is None else MODIFIED
        self._pending[table.place, key] = None if delete else record
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Record] = loop.create_future()
        row = Row(rev, table.place, key, action, prev.rev if prev else 0, data)
        if not self._batch:
            loop.call_soon(self._flush)
        self._batch.append((row, table, Event(action, record, prev), done))
        return done

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        forgotten, self._forgotten = self._forgotten, []
        floors = {place: self._tables[place].floor for place in self._moved}
        self._moved.clear()
        try:
            self._log.append([row for row, *_ in batch], forgotten, floors)
        except sqlite3.Error as error:
            self._refuse(batch, error)
            return
        self.revision = batch[-1][0].rev
        self._pending.clear()
        for _, table, event, _ in batch:
            self._forget(table, table.apply(event))
            for listener in table.listeners:
                listener(event)
        for _, _, event, done in batch:
            if not done.cancelled():
                done.set_result(event.record)

    def _refuse(self, batch: list[tuple[Row, Table, Event, asyncio.Future[Record]]], error: sqlite3.Error) -> None:
        """Nothing of the batch happened; the numbers it took stay unused."""
        self._pending.clear()
        for *_, done in batch:
            if not done.cancelled():
                done.set_exception(unavailable(f"the store cannot write: {error}"))

    async def close(self) -> None:
        """Write what is queued and close the file."""
        if self._batch:
            self._flush()
        await self._log.close()

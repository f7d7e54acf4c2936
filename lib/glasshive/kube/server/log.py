"""The durable half of the store: one SQLite table in which every write is a row.

A row is one version of one object: its revision, where it lives, whether it was added, modified or deleted, the
revision it replaced, and the object's bytes. Reading the rows in order rebuilds the objects *and* the history that
watches resume from, so nothing is read from disk after the start. Rows that history has let go are deleted in the same
transactions.

WAL with ``synchronous=NORMAL``: a committed transaction survives the death of the process at any instant (the pages are
with the kernel); only the power failing may lose the last ones, and then whole transactions. Checkpoints run in a
thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ADDED, MODIFIED, DELETED = 0, 1, 2
Key = tuple[str, str]  # namespace ("" for cluster-wide objects), name

_CHECKPOINT_BYTES = 16 << 20
_SCHEMA = """
CREATE TABLE IF NOT EXISTS log(
  rev INTEGER PRIMARY KEY, place TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  action INTEGER NOT NULL, prev INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS floor(place TEXT PRIMARY KEY, rev INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One version of one object. ``prev`` is the revision it replaced, 0 if there was none."""

    rev: int
    place: str
    key: Key
    action: int
    prev: int
    data: bytes


class Log:
    """The SQLite file. Used by one thread; only checkpoints run beside it, on a connection of their own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA wal_autocheckpoint=0")
        self._db.executescript(_SCHEMA)
        self._since_checkpoint = 0
        self._checkpoint: asyncio.Future[None] | None = None

    def rows(self) -> Iterator[Row]:
        """Every row in order of revision."""
        query = "SELECT rev, place, namespace, name, action, prev, data FROM log ORDER BY rev"
        for rev, place, namespace, name, action, prev, data in self._db.execute(query):
            yield Row(rev, place, (namespace, name), action, prev, data)

    def floors(self) -> dict[str, int]:
        """Per place, the newest revision that history no longer explains."""
        return dict(self._db.execute("SELECT place, rev FROM floor"))

    def append(self, rows: Sequence[Row], forgotten: Iterable[int], floors: dict[str, int]) -> None:
        """Make ``rows`` durable and drop the ``forgotten`` revisions, in one transaction. Raises sqlite3.Error."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(
                "INSERT INTO log VALUES (?,?,?,?,?,?,?)",
                [(r.rev, r.place, r.key[0], r.key[1], r.action, r.prev, r.data) for r in rows],
            )
            self._db.executemany("DELETE FROM log WHERE rev=?", [(rev,) for rev in forgotten])
            self._db.executemany("INSERT OR REPLACE INTO floor VALUES (?,?)", list(floors.items()))
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._since_checkpoint += sum(len(row.data) + 512 for row in rows)
        if self._since_checkpoint > _CHECKPOINT_BYTES and (self._checkpoint is None or self._checkpoint.done()):
            self._since_checkpoint = 0
            self._checkpoint = asyncio.get_running_loop().run_in_executor(None, self._move_wal)

    def _move_wal(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None)
        try:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            db.close()

    async def close(self) -> None:
        """Finish a running checkpoint and close the file."""
        if self._checkpoint is not None:
            await self._checkpoint
        self._db.close()

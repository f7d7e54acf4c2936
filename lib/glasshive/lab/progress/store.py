"""The progress file: SQLite, one table of events that only grows. What ``record`` returned from is on disk.

``$GLASSHIVE_PROGRESS`` names the file (``off``: nothing is kept, for authors' runs); else it lies in the state folder
of the XDG base directory specification. Several processes may write at once. A damaged file is set aside under another
name, with the reason beside it, and a new one is begun; a file of a newer version is refused and left alone.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from glasshive.errors import UsageError

KINDS = ("begun", "attempt", "hint", "prediction", "solution", "reset")
VERSION = 1
_APPLICATION = 0x47485031  # "GHP1"
_BUSY_SECONDS = 10.0
_TABLE = """CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, at TEXT NOT NULL, learner TEXT NOT NULL, kind TEXT NOT NULL,
    lab TEXT NOT NULL, task TEXT NOT NULL, seed INTEGER NOT NULL, details TEXT NOT NULL)"""
_COLUMNS = "uid, at, learner, kind, lab, task, seed, details"


@dataclass(frozen=True)
class Event:
    """One thing that happened. ``at``: UTC, ISO 8601; ``details``: what belongs to the kind, as JSON allows."""

    uid: str
    at: str
    learner: str
    kind: str
    lab: str
    task: str
    seed: int
    details: Mapping[str, Any]


def default_path() -> Path | None:
    """Where progress is kept; None when it is switched off."""
    given = os.environ.get("GLASSHIVE_PROGRESS", "")
    if given == "off":
        return None
    if given:
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "glasshive" / "progress.db"


class ProgressStore:
    """The progress file at ``path``. ``notice`` says what happened to a damaged predecessor, '' if there was none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notice = ""
        self._lock = threading.Lock()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._connection = _open(path)
        except sqlite3.DatabaseError as trouble:
            if isinstance(trouble, sqlite3.OperationalError) and "locked" in str(trouble):
                raise UsageError(f"{path} is locked by another program", hint="try again") from trouble
            self.notice = set_aside(path, str(trouble))
            self._connection = _open(path)

    def record(self, kind: str, lab: str, task: str = "", seed: int = 0, **details: Any) -> Event:
        """Write an event down. When this returns, it is on disk."""
        event = Event(uuid.uuid4().hex, _now(), learner(), kind, lab, task, seed, details)
        self.add([event])
        return event

    def add(self, events: Iterable[Event]) -> int:
        """Add events, all or none; those that are there already are left out. Gives how many were new."""
        rows = [_row(one) for one in events]
        with self._lock, self._connection as transaction:
            before = transaction.total_changes
            transaction.executemany(f"INSERT OR IGNORE INTO events ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?)", rows)  # noqa: S608
            return transaction.total_changes - before

    def events(self, lab: str = "") -> list[Event]:
        """All events, or those of one lab, in the order in which they happened."""
        where, values = ("WHERE lab = ?", (lab,)) if lab else ("", ())
        with self._lock:
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM events {where} ORDER BY at, number", values)  # noqa: S608
            return [_event(*row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _open(path: Path) -> sqlite3.Connection:
    """Open or make the file. Raises DatabaseError when it is damaged, UsageError when it is newer than this."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        known = _examine(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if not known:
            with connection:
                connection.execute(_TABLE)
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def _examine(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file holds progress (else it is new). Raises when it is damaged or not ours; changes nothing."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application not in (0, _APPLICATION):
        raise sqlite3.DatabaseError("it is a database of another program")
    if version > VERSION:
        what = f"{path} was written by a newer version of Glasshive ({version}, this one knows {VERSION})"
        raise UsageError(what, hint="upgrade, or name another file in GLASSHIVE_PROGRESS")
    found = connection.execute("PRAGMA quick_check").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(str(found))
    if version:
        connection.execute(f"SELECT {_COLUMNS} FROM events LIMIT 1")  # noqa: S608 - raises for a table of another form
    return bool(version)


def set_aside(path: Path, reason: str) -> str:
    """Rename a damaged file and write the reason beside it; says so."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    kept = path.with_name(f"{path.name}.damaged-{stamp}")
    path.rename(kept)
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(kept.with_name(kept.name + suffix))
    note = kept.with_name(kept.name + ".reason")
    note.write_text(f"{reason}\n", encoding="utf-8")
    return f"the progress file {path} is damaged ({reason}); it was kept as {kept}, and a new one was begun"


def learner() -> str:
    """Who is learning: GLASSHIVE_LEARNER, or the account's name."""
    import getpass

    try:
        return os.environ.get("GLASSHIVE_LEARNER") or getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _row(event: Event) -> tuple[Any, ...]:
    details = json.dumps(dict(event.details), ensure_ascii=False, sort_keys=True)
    return event.uid, event.at, event.learner, event.kind, event.lab, event.task, event.seed, details


def _event(uid: str, at: str, who: str, kind: str, lab: str, task: str, seed: int, details: str) -> Event:  # noqa: PLR0917
    return Event(uid, at, who, kind, lab, task, seed, json.loads(details))


_stores: dict[Path, ProgressStore] = {}


def current() -> ProgressStore | None:
    """This process's store, opened on first use; None when progress is switched off."""
    path = default_path()
    if path is None:
        return None
    if path not in _stores or not path.exists():
        _stores[path] = ProgressStore(path)
    return _stores[path]


def required() -> ProgressStore:
    """The store, for those who cannot do without. Raises UsageError when it is switched off."""
    kept = current()
    if kept is None:
        raise UsageError("progress is switched off: GLASSHIVE_PROGRESS is off", hint="unset it")
    return kept

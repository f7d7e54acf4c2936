"""The supervisor's account of itself and its children, kept in ``state.json`` for ``status`` and for a successor.

Written in one step (rename), so that readers never see half of it.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

_KEPT_EVENTS = 100

STARTING, READY, STOPPING = "starting", "ready", "stopping"


@dataclass
class ProcessState:
    """One supervised process. ``ident`` is ``inventory.process_ident``; times are ISO 8601 with zone."""

    name: str
    role: str
    ident: str = ""
    started_at: str = ""
    ready: bool = False
    restarts: int = 0
    last_exit: str = ""
    last_exit_at: str = ""
    stopped: bool = False  # on purpose: it is not restarted until somebody starts it

    @property
    def pid(self) -> int:
        """Process number, 0 before the first start."""
        return int(self.ident.partition(":")[0] or 0)


@dataclass
class State:
    """All of it. ``facts`` holds what a child reported and its successor must keep, such as the API server's port."""

    phase: str = STARTING
    supervisor: str = ""
    processes: dict[str, ProcessState] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, str]] = field(default_factory=list)

    def note(self, text: str) -> str:
        """Add a line to the events, oldest dropped beyond a hundred. Returns the line."""
        self.events.append({"at": now(), "text": text})
        del self.events[:-_KEPT_EVENTS]
        return text

    def to_dict(self) -> dict[str, Any]:
        """JSON-friendly form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back what :meth:`to_dict` gave."""
        processes = {name: ProcessState(**value) for name, value in data.get("processes", {}).items()}
        rest = {key: value for key, value in data.items() if key != "processes"}
        return cls(processes=processes, **rest)

    def write(self, path: Path) -> None:
        """Replace the state file."""
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(self.to_dict()))
        fresh.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read the state file; None if there is none yet, or if it is damaged: nothing depends on it but comfort."""
        try:
            return cls.from_dict(json.loads(path.read_text()))
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return None


def now() -> str:
    """Return this moment, to the second, with zone."""
    return datetime.datetime.now(datetime.UTC).astimezone().isoformat(timespec="seconds")

"""The inventory of injected faults: one JSON file (0600) in the cluster's run directory, behind one lock.

A fault is written down before anything is changed and struck out after it was healed, so whatever is interrupted can be
healed by this list. The file goes with the cluster.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.errors import NotFoundError
from glasshive.lab.faults.truth import Truth


class Record:
    """The list of one cluster's faults."""

    def __init__(self, cluster: str) -> None:
        run = ClusterPaths(cluster).run
        self.path = run / "faults.json"
        self._lock = run / "faults.lock"

    def read(self) -> list[Truth]:
        """Faults that were injected and not healed, oldest first."""
        try:
            return [Truth.from_json(one) for one in json.loads(self.path.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return []

    def write(self, truths: Iterable[Truth]) -> None:
        """Replace the list, atomically. The caller holds the lock."""
        scratch = self.path.with_suffix(".new")
        with open(scratch, "w", encoding="utf-8", opener=_private) as file:
            json.dump([one.to_json() for one in truths], file)
        scratch.rename(self.path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One at a time injects, keeps or heals. NotFoundError when the cluster is gone."""
        if not self._lock.parent.is_dir():
            raise NotFoundError(f"cluster {self._lock.parent.name} is gone")
        with open(self._lock, "a", opener=_private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _private(path: str | Path, flags: int) -> int:
    return os.open(path, flags, 0o600)

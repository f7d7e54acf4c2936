"""Endpoints on disk: one journal per node, ``RUN/nodes/<node>/endpoints.jsonl``.

Each line is an endpoint as it is now, or ``{"gone": id}``. A line is one write to a file opened for appending, done
before the pod is reported as attached: an agent that comes back after SIGKILL knows every endpoint that anyone was told
of.
(One file per endpoint would cost its creation, 0.2-0.5 ms where /run is on a disk; a line costs 10 us.) Nothing is
synced: what the journal tells of does not survive the machine either. It is written anew when it is loaded and when it
has grown far beyond what it has to tell.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import orjson

from glasshive.errors import UsageError
from glasshive.model.endpoint import Endpoint

log = logging.getLogger(__name__)

GROWTH = 4_096
"""Lines beyond twice the number of endpoints after which the journal is written anew."""


class EndpointStore:
    """The journal. One writer: the node's agent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._known: dict[int, bytes] = {}
        self._lines = 0
        self._fd = -1

    def load(self) -> list[Endpoint]:
        """Every endpoint of the journal, by id. A line that makes no sense is logged and left out."""
        found: dict[int, Endpoint] = {}
        content = self.path.read_bytes() if self.path.exists() else b""
        for line in content.splitlines():
            try:
                entry: dict[str, Any] = orjson.loads(line)
                if "gone" in entry:
                    found.pop(int(entry["gone"]), None)
                else:
                    endpoint = Endpoint.from_json(entry)
                    found[endpoint.id] = endpoint
            except (UsageError, orjson.JSONDecodeError, TypeError, ValueError) as error:
                log.warning("%s: a line is not readable (%s): %.60r", self.path, error, line)
        self._known = {number: orjson.dumps(one.to_json()) for number, one in found.items()}
        self._rewrite()
        return [found[number] for number in sorted(found)]

    def save(self, endpoint: Endpoint) -> None:
        """Note an endpoint as it is now."""
        line = orjson.dumps(endpoint.to_json())
        self._known[endpoint.id] = line
        self._append(line)

    def remove(self, endpoint_id: int) -> None:
        """Note that an endpoint has gone; one that was never noted is ignored."""
        if self._known.pop(endpoint_id, None) is not None:
            self._append(b'{"gone":%d}' % endpoint_id)

    def close(self) -> None:
        """Close the file. Closing twice is harmless; the next note opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, line: bytes) -> None:
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(self._fd, line + b"\n")
        self._lines += 1
        if self._lines > 2 * len(self._known) + GROWTH:
            self._rewrite()

    def _rewrite(self) -> None:
        """Write what is known to a new file and put it in the old one's place: a reader finds one or the other."""
        self.close()
        scratch = self.path.with_suffix(".new")
        scratch.write_bytes(b"".join(line + b"\n" for line in self._known.values()))
        scratch.chmod(0o600)
        scratch.rename(self.path)
        self._lines = len(self._known)

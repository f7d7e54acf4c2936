"""Endpoints on disk: one JSON file each, in the node's run directory (a tmpfs, so nothing is synced).

A file appears whole or not at all (write beside, rename). It is written before the pod is reported as attached, so an
agent that comes back after SIGKILL knows every endpoint that anyone was told of.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

import orjson

from glasshive.errors import UsageError
from glasshive.model.endpoint import Endpoint

log = logging.getLogger(__name__)


class EndpointStore:
    """The directory ``RUN/nodes/<node>/endpoints``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._prefix = f"{directory}/"

    def save(self, endpoint: Endpoint) -> None:
        """Write or replace an endpoint's file."""
        path = f"{self._prefix}{endpoint.id}.json"
        scratch = f"{path}.new"
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, orjson.dumps(endpoint.to_json()))
        finally:
            os.close(descriptor)
        os.rename(scratch, path)  # noqa: PTH104 - a Path per pod costs more than the call

    def remove(self, endpoint_id: int) -> None:
        """Delete an endpoint's file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._prefix}{endpoint_id}.json")  # noqa: PTH108

    def load(self) -> list[Endpoint]:
        """Every endpoint on disk, by id. Half-written files go; a file that makes no sense is set aside."""
        found = []
        for path in self.directory.iterdir():
            if path.name.endswith(".json.new"):
                path.unlink()
            elif path.suffix == ".json":
                try:
                    found.append(Endpoint.from_json(orjson.loads(path.read_bytes())))
                except (UsageError, orjson.JSONDecodeError) as error:
                    log.warning("endpoint record %s is not readable, set aside as .bad: %s", path, error)
                    path.rename(path.with_suffix(".bad"))
        return sorted(found, key=lambda endpoint: endpoint.id)

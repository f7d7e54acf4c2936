"""A conversation with something that runs in a pod: a command just started, or a container's own process.

The other end is ``visits``. Input is sent no faster than the process takes it (``WINDOW_BYTES`` on the way at most);
output is read no faster than it is wanted here. Closing the session ends a command that was started for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from glasshive.cluster.embedded.pods.client import Connection, connect_pod

WINDOW_BYTES = 256 * 1024
_PIECE_BYTES = 32 * 1024


class Session:
    """One conversation; make it by :func:`run` or :func:`attach`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._on_the_way = 0
        self._room = asyncio.Condition()
        self.rc: int | None = None
        """Exit status, once :meth:`output` has ended; None if the pod ended first."""
        self.error = ""
        """Why it could not be run, if it could not."""

    async def output(self) -> AsyncIterator[tuple[bytes, bytes]]:
        """``b"o"`` or ``b"e"`` and what was written, until the process has ended."""
        async for letter, payload in self._connection.frames():
            if letter == b"x":
                end = json.loads(payload)
                self.rc, self.error = int(end["rc"]), str(end.get("error", ""))
                break
            if letter == b"a":
                await self._taken(int(payload))
            elif letter in {b"o", b"e"}:
                yield letter, payload
        await self._taken(self._on_the_way)

    async def _taken(self, count: int) -> None:
        async with self._room:
            self._on_the_way -= count
            self._room.notify_all()

    async def feed(self, data: bytes) -> None:
        """Send standard input; waits while too much is on the way. Raises OSError if the pod has gone."""
        for start in range(0, len(data), _PIECE_BYTES):
            piece = data[start : start + _PIECE_BYTES]
            async with self._room:
                await self._room.wait_for(lambda: self._on_the_way < WINDOW_BYTES)
                self._on_the_way += len(piece)
            await self._connection.send(b"i", piece)

    async def end_input(self) -> None:
        """There is no more standard input."""
        await self._connection.send(b"i", b"")

    async def resize(self, rows: int, columns: int) -> None:
        """The terminal has another size now, in characters."""
        await self._connection.send(b"r", json.dumps({"rows": rows, "columns": columns}).encode())

    def close(self) -> None:
        """Leave."""
        self._connection.close()


async def run(directory: Path, container: str, argv: Sequence[str], *, stdin: bool, terminal: bool) -> Session:
    """Run a command for somebody who may leave at any time. Raises ProcessError if the pod does not answer."""
    connection = await connect_pod(directory)
    await connection.ask("exec", container=container, argv=list(argv), stdin=stdin, terminal=terminal, own_group=True)
    return Session(connection)


async def attach(directory: Path, container: str, *, stdin: bool) -> Session:
    """Join a running container. Raises ProcessError if the pod does not answer."""
    connection = await connect_pod(directory)
    await connection.ask("attach", container=container, stdin=stdin)
    return Session(connection)

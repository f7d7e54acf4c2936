"""Feature "conntrack": ends connections and translations whose time has come, and frees addresses of pods that went."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import Any

from glasshive.agent import background
from glasshive.agent.connections import SHORTEST_SECONDS, Round, next_interval
from glasshive.agent.datapath import Datapath
from glasshive.errors import GlasshiveError

log = logging.getLogger(__name__)

PURGE_SECONDS = 2.0
"""How long addresses of departed pods rest at most before they can be used again."""


class Housekeeping:
    """Runs rounds at an interval that adapts to how much they find."""

    def __init__(self, datapath: Datapath) -> None:
        self._datapath = datapath
        self._task: asyncio.Task[None] | None = None
        self._last: Round | None = None
        self._interval = SHORTEST_SECONDS * 4

    async def start(self) -> None:
        """Begin."""
        self._task = background.start(self._run(), "housekeeping")

    async def stop(self) -> None:
        """End."""
        await background.stop(self._task)

    def status(self) -> dict[str, Any]:
        """The last round, and when the next one is due."""
        last = dataclasses.asdict(self._last) if self._last else None
        return {
            "intervalSeconds": round(self._interval, 1),
            "lastRound": last,
            "restingAddresses": self._datapath.endpoints.parts.addresses.resting,
        }

    async def _purge(self) -> None:
        """Free the addresses of departed pods. The tables are searched in a thread: pods can be attached meanwhile."""
        book = self._datapath.endpoints.parts.addresses
        addresses = book.leaving()
        if addresses:
            await asyncio.to_thread(book.forget, addresses)
            book.left()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval
        while True:
            await asyncio.sleep(PURGE_SECONDS)
            try:
                await self._purge()
                if loop.time() >= due:
                    self._last = await asyncio.to_thread(self._datapath.connections.collect)
                    found = self._last.connections + self._last.translations
                    self._interval = next_interval(self._interval, found, self._last.expired + self._last.orphans)
                    due = loop.time() + self._interval
            except GlasshiveError as error:
                log.error("housekeeping of connections failed: %s", error)  # noqa: TRY400 - the text says everything

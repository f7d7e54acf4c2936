"""Events are news, not records: they are removed when they are an hour old."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import datetime

from glasshive.api.resources import EVENT
from glasshive.errors import ApiError
from glasshive.kube.client import Client
from glasshive.kube.objects import Object, key_of
from glasshive.operator.clock import seconds_since

KEEP_SECONDS = 3600.0
ROUND_SECONDS = 300.0

log = logging.getLogger(__name__)


def expired(events: list[Object], now: datetime | None = None) -> list[Object]:
    """Return the events that were last seen too long ago. Pure but for the default clock."""
    return [e for e in events if seconds_since(last_seen(e), now) > KEEP_SECONDS]


def last_seen(event: Object) -> str:
    """Return when an event happened last; clients fill in different fields."""
    series = event.get("series") or {}
    fields = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((f for f in fields if f), event["metadata"].get("creationTimestamp") or "")


class EventExpiry:
    """Removes old events every few minutes; nothing waits for it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the rounds."""
        self._task = asyncio.create_task(self._run(), name="event-expiry")

    async def stop(self) -> None:
        """End them."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            try:
                await self.sweep()
            except ApiError as error:
                log.debug("old events stay for another round: %s", error)

    async def sweep(self) -> int:
        """Remove what has expired; return how many."""
        old = expired((await self._client.list(EVENT)).items)
        for event in old:
            with contextlib.suppress(ApiError):  # somebody else removed it
                await self._client.delete(EVENT, key_of(event)[1], key_of(event)[0])
        return len(old)

"""Identities that nobody uses any more are removed.

A round marks those that no CiliumEndpoint names, and deletes those that were marked at least an interval ago and have
not been touched since: the deletion names the object's version, and whoever begins to use a marked identity takes the
mark off first (``identity.allocator``). So a number is never given to other labels while somebody holds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from typing import NamedTuple

from glasshive.api.cilium_endpoint import CILIUM_ENDPOINT
from glasshive.api.cilium_identity import CILIUM_IDENTITY, HEARTBEAT, marked
from glasshive.errors import ApiError
from glasshive.kube.client import Client
from glasshive.kube.objects import Object
from glasshive.operator.clock import now_text, seconds_since

log = logging.getLogger(__name__)


class Todo(NamedTuple):
    """What a round does: identities to mark, to unmark, to delete."""

    mark: list[Object]
    unmark: list[Object]
    delete: list[Object]


def plan(identities: list[Object], endpoints: list[Object], interval_seconds: float, at: datetime) -> Todo:
    """Judge every identity. Pure."""
    used = {str(((one.get("status") or {}).get("identity") or {}).get("id")) for one in endpoints}
    todo = Todo([], [], [])
    for one in identities:
        since = marked(one)
        if one["metadata"]["name"] in used:
            if since:
                todo.unmark.append(one)
        elif not since:
            todo.mark.append(one)
        elif seconds_since(since, at) >= interval_seconds:
            todo.delete.append(one)
    return todo


class IdentityGarbage:
    """Makes a round every ``interval_seconds``; nothing waits for it."""

    def __init__(self, client: Client, interval_seconds: float) -> None:
        self._client = client
        self._interval = interval_seconds
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the rounds."""
        self._task = asyncio.create_task(self._run(), name="identity-garbage")

    async def stop(self) -> None:
        """End them."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.sweep()
            except ApiError as error:
                log.info("unused identities stay for another round: %s", error)

    async def sweep(self) -> int:
        """Make a round; how many identities were deleted."""
        identities = (await self._client.list(CILIUM_IDENTITY)).items
        endpoints = (await self._client.list(CILIUM_ENDPOINT)).items
        todo = plan(identities, endpoints, self._interval, datetime.now(UTC))
        stamp = now_text()
        for one in todo.mark:
            await self._annotate(one, stamp)
        for one in todo.unmark:
            await self._annotate(one, None)
        gone = [await self._delete(one) for one in todo.delete]
        return sum(gone)

    async def _annotate(self, obj: Object, value: str | None) -> None:
        version = obj["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version, "annotations": {HEARTBEAT: value}}}
        with contextlib.suppress(ApiError):  # somebody changed it: judged anew in the next round
            await self._client.patch(CILIUM_IDENTITY, obj["metadata"]["name"], patch)

    async def _delete(self, obj: Object) -> bool:
        """Delete exactly what was judged; False when somebody has touched it meanwhile."""
        meta = obj["metadata"]
        try:
            await self._client.delete(
                CILIUM_IDENTITY, meta["name"], uid=meta["uid"], resource_version=meta["resourceVersion"]
            )
        except ApiError as error:
            if error.code not in {404, 409}:
                raise
            return False
        log.info("identity %s is unused since %s: deleted", meta["name"], marked(obj))
        return True

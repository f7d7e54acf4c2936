"""Kubernetes Events, as ``kubectl describe`` shows them. Writing them never delays and never fails a controller."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from glasshive.api.resources import EVENT
from glasshive.errors import ApiError
from glasshive.kube.client import Client
from glasshive.kube.objects import Object, key_of, uid_of
from glasshive.operator.clock import now_text

LONGEST_QUEUE = 1000
REMEMBERED = 4096
NORMAL_DELAY_SECONDS = 0.5
"""Good news waits until the burst that caused it is over; warnings do not wait."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Note:
    """One thing worth telling about one object; ``type`` is Normal or Warning."""

    about: Object
    type: str
    reason: str
    message: str
    component: str


class EventRecorder:
    """Posts events from a background task; a repeated one raises the count of the first."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._queue: asyncio.Queue[Note] = asyncio.Queue(LONGEST_QUEUE)
        self._posted: OrderedDict[tuple[str, str, str], tuple[str, int]] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    def normal(self, about: Object, reason: str, message: str, component: str) -> None:
        """Note that something went as intended."""
        self._note(Note(about, "Normal", reason, message, component))

    def warning(self, about: Object, reason: str, message: str, component: str) -> None:
        """Note that something needs attention."""
        self._note(Note(about, "Warning", reason, message, component))

    def start(self) -> None:
        """Start posting."""
        self._task = asyncio.create_task(self._run(), name="event-recorder")

    async def stop(self) -> None:
        """Stop posting; what is still queued is dropped."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _note(self, note: Note) -> None:
        try:
            self._queue.put_nowait(note)
        except asyncio.QueueFull:
            log.debug("event dropped, queue is full: %s %s", note.reason, note.message)

    async def _run(self) -> None:
        while True:
            note = await self._queue.get()
            if note.type == "Normal" and self._queue.empty():
                await asyncio.sleep(NORMAL_DELAY_SECONDS)
            try:
                await self._post(note)
            except ApiError as error:
                log.debug("event not posted: %s: %s", note.message, error)

    async def _post(self, note: Note) -> None:
        key = (uid_of(note.about), note.reason, note.message)
        namespace, name = key_of(note.about)
        known = self._posted.get(key)
        if known is not None:
            event_name, count = known
            with contextlib.suppress(ApiError):  # the first one may have expired: post anew then
                change: Object = {"count": count + 1, "lastTimestamp": now_text()}
                await self._client.patch(EVENT, event_name, change, namespace or "default")
                self._posted[key] = (event_name, count + 1)
                return
        body = event_of(note, f"{name}.{secrets.token_hex(8)}")
        await self._client.create(EVENT, body)
        self._posted[key] = (str(body["metadata"]["name"]), 1)
        while len(self._posted) > REMEMBERED:
            self._posted.popitem(last=False)


def event_of(note: Note, name: str) -> Object:
    """Return the Event object for a note; those about cluster-scoped objects go to namespace ``default``."""
    about = note.about
    namespace, about_name = key_of(about)
    when = now_text()
    return EVENT.object(
        name,
        namespace or "default",
        involvedObject={
            "apiVersion": about.get("apiVersion", ""),
            "kind": about.get("kind", ""),
            "name": about_name,
            "namespace": namespace,
            "uid": uid_of(about),
            "resourceVersion": about["metadata"].get("resourceVersion", ""),
        },
        type=note.type,
        reason=note.reason,
        message=note.message[:1024],
        count=1,
        firstTimestamp=when,
        lastTimestamp=when,
        source={"component": note.component},
        reportingComponent=note.component,
        reportingInstance="",
    )

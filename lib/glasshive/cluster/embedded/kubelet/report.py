"""Writing a pod's status to the API: the newest one only, one request at a time, nothing if nothing changed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from glasshive.api.resources import POD
from glasshive.cluster.embedded.kubelet.status import Observed, pod_status
from glasshive.errors import ApiError
from glasshive.kube.client import Client
from glasshive.kube.objects import Object
from glasshive.operator.clock import now_text

LOG = logging.getLogger(__name__)
GATHER_SECONDS = 0.005
"""Changes that come this close together make one patch: containers of one pod begin within it."""
RETRY_SECONDS = 0.5
LAST_WORD_SECONDS = 2.0


class Reported(Protocol):
    """Whose status it is."""

    pod: Object
    seen: Observed


class Reporter:
    """Patches the status of one pod whenever :meth:`wake` was called. What happens meanwhile is in the next patch."""

    def __init__(self, client: Client, subject: Reported) -> None:
        self._client = client
        self._subject = subject
        self._dirty = asyncio.Event()
        self._sent: dict[str, Any] | None = None
        self._lock = asyncio.Lock()

    def wake(self) -> None:
        """The status may have changed."""
        self._dirty.set()

    async def run(self) -> None:
        """Patch until cancelled."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._dirty.clear()
            try:
                await self._patch()
            except ApiError as error:
                if error.code in {404, 409}:
                    continue  # the object is gone, or another one has its name: the informer will tell
                LOG.debug("status of %s: %s", self._subject.pod["metadata"]["name"], error)
                await asyncio.sleep(RETRY_SECONDS)
                self._dirty.set()

    async def last_word(self) -> None:
        """Patch the final status before the object goes; tries only briefly, the object goes anyway."""
        try:
            await asyncio.wait_for(self._patch(), LAST_WORD_SECONDS)
        except (ApiError, TimeoutError) as error:
            LOG.debug("last status: %s", error)

    async def _patch(self) -> None:
        async with self._lock:
            pod = self._subject.pod
            status = pod_status(pod, self._subject.seen, now_text())
            if status == self._sent or _holds(pod.get("status") or {}, status):
                return
            meta = pod["metadata"]
            body = {"metadata": {"uid": meta["uid"]}, "status": status}
            await self._client.patch(POD, meta["name"], body, meta["namespace"], kind="merge", subresource="status")
            self._sent = status


def _holds(present: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether the API has all of it already (after a restart, say); conditions count by their verdict."""
    for key, value in wanted.items():
        if key == "conditions":
            verdicts = {c["type"]: c["status"] for c in present.get("conditions") or []}
            if any(verdicts.get(c["type"]) != c["status"] for c in value):
                return False
        elif present.get(key) != value:
            return False
    return True

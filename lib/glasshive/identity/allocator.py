"""Labels -> identity number, agreed on by the whole cluster through CiliumIdentity objects.

Known labels are answered from memory. New labels cost one API call, shared by everybody who asks meanwhile. While the
API is away the answer is None: the caller uses ``init`` and asks again when told (``on_change``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from glasshive.api.cilium_identity import CILIUM_IDENTITY, from_object, to_object
from glasshive.errors import ApiError, DeadlineError, ExhaustedError
from glasshive.identity.reserved import ReservedIdentities
from glasshive.identity.table import IdentityTable, NumberChange
from glasshive.kube.client import Client
from glasshive.kube.informer import Informer
from glasshive.model.identity import Identity
from glasshive.model.labels import Labels

RETRY_SECONDS = 2.0
"""How long labels wait that the API could not be asked about."""

log = logging.getLogger(__name__)


class IdentityAllocator:
    """Keeps ``table`` in step with the cluster and gives numbers to new labels."""

    def __init__(self, client: Client, reserved: ReservedIdentities, on_change: Callable[[NumberChange], None]) -> None:
        self.table = IdentityTable(reserved.identities())
        self._client = client
        self._first = reserved.cluster_min
        self._on_change = on_change
        self._pending: dict[Labels, asyncio.Task[int | None]] = {}
        self._informer = Informer(client, CILIUM_IDENTITY, self._on_event)

    def start(self) -> None:
        """Begin to follow the cluster's identities."""
        self._informer.start()

    @property
    def synced(self) -> bool:
        """Whether the identities that exist are known."""
        return self._informer.synced

    async def wait_synced(self, timeout: float) -> None:  # noqa: ASYNC109 - handed on to the informer, which explains itself
        """Wait until the identities that exist are known; DeadlineError."""
        await self._informer.wait_synced(timeout)

    async def stop(self) -> None:
        """Stop following, give up what is being asked."""
        tasks = list(self._pending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._informer.stop()

    def number(self, labels: Labels) -> int | None:
        """The number of labels that are known; never waits."""
        return self.table.number(labels)

    def request(self, labels: Labels) -> asyncio.Task[int | None] | None:
        """See to it that labels get a number. Returns the task that asks for it, None when they have one."""
        if self.table.number(labels) is not None:
            return None
        task = self._pending.get(labels)
        if task is None:
            task = asyncio.create_task(self._allocate(labels), name="identity-allocate")
            self._pending[labels] = task
            task.add_done_callback(lambda _: self._pending.pop(labels, None))
        return task

    async def resolve(self, labels: Labels, seconds: float) -> int | None:
        """The number of labels, allocated if need be; None when the API did not answer within ``seconds``."""
        task = self.request(labels)
        if task is not None:
            await asyncio.wait((task,), timeout=seconds)
        return self.table.number(labels)

    async def _allocate(self, labels: Labels) -> int | None:
        """Ask until it is done: the object is created here, or by someone else and seen by the informer."""
        while (number := self.table.number(labels)) is None:
            try:
                number = await self._create(labels)
            except ApiError as error:
                log.warning("no identity for %s yet: %s", labels.texts(), error)
                await asyncio.sleep(RETRY_SECONDS)
            except ExhaustedError as error:
                log.error("no identity for %s: %s", labels.texts(), error)  # noqa: TRY400 - the text says everything
                return None
            else:
                self._learn(Identity(number, labels))
        return number

    async def _create(self, labels: Labels) -> int:
        """Create the object under the first number that is free; AlreadyExists means learn who has it, and go on."""
        if not self._informer.synced:
            try:
                await self._informer.wait_synced(RETRY_SECONDS)
            except DeadlineError as error:
                raise ApiError(503, "ServiceUnavailable", str(error)) from error
            if (known := self.table.number(labels)) is not None:
                return known
        for number in self.table.candidates(labels, self._first):
            try:
                await self._client.create(CILIUM_IDENTITY, to_object(Identity(number, labels)))
            except ApiError as error:
                if error.code != 409:
                    raise
                theirs = from_object(await self._client.get(CILIUM_IDENTITY, str(number)))
                self._learn(theirs)
                if theirs.labels == labels:
                    return number
            else:
                return number
        raise ExhaustedError("no free identity number")

    def _learn(self, identity: Identity) -> None:
        change = self.table.add(identity)
        if change is not None:
            self._on_change(change)

    def _on_event(self, kind: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        try:
            if new is not None:
                self._learn(from_object(new))
            elif old is not None and (change := self.table.remove(from_object(old).number)) is not None:
                self._on_change(change)
        except ValueError as error:
            log.warning("ignoring a CiliumIdentity (%s): %s", kind, error)

"""Labels -> identity number, agreed on by the whole cluster through CiliumIdentity objects.

Known labels are answered from memory. New labels cost one API call, shared by everybody who asks meanwhile. While the
API is away the answer is None: the caller uses ``init`` and asks again when told (``on_change``).

The operator removes identities that no CiliumEndpoint names: it marks one first, and deletes it an interval later if
nobody has changed it meanwhile. So whoever begins to use a marked identity takes the mark off before, and who uses one
that is marked or deleted all the same puts that right; the number is never given to others while packets carry it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from glasshive.api.cilium_identity import CILIUM_IDENTITY, HEARTBEAT, from_object, marked, to_object
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
        self.in_use: Callable[[Labels], bool] = lambda _: False
        """Whether this node has a use for labels: their identity must not go."""
        self.on_identity: Callable[[int, Labels | None], None] = lambda _number, _labels: None
        """Told of a number before anybody else is, and after everybody else when it is no more (None)."""
        self._marked: set[int] = set()
        self._mending: dict[int, asyncio.Task[None]] = {}
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
        tasks: list[asyncio.Task[Any]] = [*self._pending.values(), *self._mending.values()]
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
        task: asyncio.Task[Any] | None = self.request(labels)
        number = self.table.number(labels)
        if task is None and number in self._marked:
            task = self._mend(Identity(number, labels))
        if task is not None:
            await asyncio.wait((task,), timeout=seconds)
        return self.table.number(labels)

    def ready(self, labels: Labels) -> bool:
        """Whether labels have a number that can be used without asking anybody."""
        number = self.table.number(labels)
        return number is not None and number not in self._marked

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
        before = self.table.labels(identity.number)
        change = self.table.add(identity)
        if before != identity.labels:
            self.on_identity(identity.number, identity.labels)
        if before is not None and before != identity.labels:  # the number was taken from them
            self._on_change(NumberChange(before, identity.number, self.table.number(before)))
            if self.in_use(before):
                self.request(before)
        if change is not None:
            self._on_change(change)

    def _on_event(self, kind: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        try:
            if new is not None:
                self._seen(new)
            elif old is not None:
                self._deleted(from_object(old))
        except ValueError as error:
            log.warning("ignoring a CiliumIdentity (%s): %s", kind, error)

    def _seen(self, obj: dict[str, Any]) -> None:
        identity = from_object(obj)
        self._learn(identity)
        if not marked(obj):
            self._marked.discard(identity.number)
            return
        self._marked.add(identity.number)
        if self.in_use(identity.labels):
            self._mend(identity)

    def _deleted(self, identity: Identity) -> None:
        self._marked.discard(identity.number)
        if self.in_use(identity.labels):
            self._mend(identity)
        else:
            if (change := self.table.remove(identity.number)) is not None:
                self._on_change(change)
            self.on_identity(identity.number, None)

    def _mend(self, identity: Identity) -> asyncio.Task[None]:
        """See to it that an identity exists, unmarked. Returns the task that does."""
        task = self._mending.get(identity.number)
        if task is None:
            task = asyncio.create_task(self._unmark(identity), name="identity-mend")
            self._mending[identity.number] = task
            task.add_done_callback(lambda _: self._mending.pop(identity.number, None))
        return task

    async def _unmark(self, identity: Identity) -> None:
        """Take the mark off, or make the object again; should others have its number by now, theirs it is."""
        patch = {"metadata": {"annotations": {HEARTBEAT: None}}}
        while True:
            try:
                try:
                    found = await self._client.patch(CILIUM_IDENTITY, str(identity.number), patch)
                except ApiError as error:
                    if error.code != 404:
                        raise
                    found = await self._client.create(CILIUM_IDENTITY, to_object(identity))
            except ApiError as error:
                if error.code != 409:  # somebody made it between the two: it is there now
                    log.warning("identity %d is marked for deletion, and stays so: %s", identity.number, error)
                    await asyncio.sleep(RETRY_SECONDS)
            else:
                return self._seen(found)

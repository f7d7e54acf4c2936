"""Endpoints on their way out.

Deleting a device costs its caller 20 ms of waiting, mostly for grace periods, however many devices go at once. So an
endpoint is cut off at once (maps and record: no packet comes or goes any more), and its device goes a moment later with
all others that left meanwhile: they are put into one interface group and the group is deleted (measured: 128 devices in
60 ms, against 2.9 s one by one). Often the runtime has deleted the pod's network namespace by then, and the device with
it. Id and addresses are free again when the device has gone; who wants to use the same sandbox again waits for that.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Sequence

from glasshive import bpf
from glasshive.endpoint.table import EndpointTable, owner_of
from glasshive.errors import NetlinkError
from glasshive.model.endpoint import Endpoint
from glasshive.net import netlink

log = logging.getLogger(__name__)

GROUP = 0x6768
"""Interface group of devices about to be deleted."""
AT_ONCE = 256
"""Most devices that go together: bounds how long the first of them waits."""
GATHER_SECONDS = 0.02
"""How long a departure waits for company."""
TRIES, RETRY_SECONDS = 5, 1.0
"""How often the kernel is asked when it refuses, which it has no reason to."""

_IFLA_GROUP = 27


class Departures:
    """Removes endpoints of a table. Belongs to one event loop and to the node's network namespace."""

    def __init__(self, table: EndpointTable) -> None:
        self._table = table
        self._wire = netlink.Socket()
        self._leaving: dict[str, asyncio.Future[None]] = {}
        self._waiting: list[Endpoint] = []
        self._task: asyncio.Task[None] | None = None

    def remove(self, endpoint: Endpoint) -> None:
        """Cut an endpoint off now and let its device go soon."""
        self._table.cut(endpoint)
        self._leaving[owner_of(endpoint)] = asyncio.get_running_loop().create_future()
        self._waiting.append(endpoint)
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="departures")

    async def settled(self, container_id: str, ifname: str) -> None:
        """Wait until nothing of a sandbox is on its way out."""
        gone = self._leaving.get(f"{container_id}/{ifname}")
        if gone is not None:
            await asyncio.shield(gone)

    async def drained(self) -> None:
        """Wait until nothing is on its way out."""
        while self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Finish what has begun."""
        await self.drained()
        self._wire.close()

    def __len__(self) -> int:
        return len(self._leaving)

    async def _work(self) -> None:
        try:
            await asyncio.sleep(GATHER_SECONDS)
            while self._waiting:
                batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                await self._let_go(batch)
                for endpoint in batch:
                    self._table.bury(endpoint)
                    self._leaving.pop(owner_of(endpoint)).set_result(None)
        finally:
            self._task = None

    async def _let_go(self, batch: Sequence[Endpoint]) -> None:
        indices = [endpoint.ifindex for endpoint in batch]
        for attempt in range(1, TRIES + 1):
            try:
                await asyncio.to_thread(self._delete, indices)
            except NetlinkError as error:
                text = "%d devices cannot be deleted (attempt %d of %d): %s"
                log.error(text, len(indices), attempt, TRIES, error)  # noqa: TRY400 - the text says everything
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def _delete(self, indices: Sequence[int]) -> None:
        """Delete devices together. Those that are gone already (with their pod's namespace) are no error."""
        batch = netlink.Batch()
        for index in indices:
            batch.add(netlink.RTM_NEWLINK, 0, f"mark device {index}", netlink.ifinfo(index), _group())
        batch.add(netlink.RTM_DELLINK, 0, f"delete {len(indices)} devices", netlink.ifinfo(), _group())
        try:
            # Each program of each device waits for a grace period of its own.
            with bpf.expedited_rcu():
                self._wire.run(batch)
        except NetlinkError as error:
            if error.errno != errno.ENODEV:
                raise


def _group() -> bytes:
    return netlink.attr_u32(_IFLA_GROUP, GROUP)

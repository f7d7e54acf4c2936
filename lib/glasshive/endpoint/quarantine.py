"""Addresses of pods that have gone, until nothing remembers them.

An address may be given to a new pod only when no connection or translation of the old one is left, or the new pod would
inherit them. Forgetting costs one pass over the tables however many addresses it is for; so it is done for many at
once, from time to time, and at the latest when the pool has nothing else to give.
"""

from __future__ import annotations

from collections.abc import Callable

from glasshive.errors import ExhaustedError
from glasshive.ipam.node_pool import NodePool, PodAddresses
from glasshive.model.address import Address

Forget = Callable[[frozenset[bytes]], None]
"""Purges everything the datapath remembers about these addresses."""


class AddressBook:
    """The node's pool with a quarantine before reuse. Owners are named by the caller.

    Belongs to one thread; only ``forget`` itself may be run in another one, between ``leaving`` and ``left``.
    """

    def __init__(self, pool: NodePool, forget: Forget) -> None:
        self.pool = pool
        self.forget = forget
        self._resting: dict[str, tuple[Address, ...]] = {}
        self._leaving: dict[str, tuple[Address, ...]] = {}

    def take(self, owner: str) -> PodAddresses:
        """Addresses for an owner, one of every family; ExhaustedError."""
        if owner in self._resting or owner in self._leaving:
            self.purge()
        try:
            return self.pool.allocate(owner)
        except ExhaustedError:
            if not self.purge():
                raise
            return self.pool.allocate(owner)

    def restore(self, owner: str, texts: list[str]) -> None:
        """Note what an owner already has; UsageError when that cannot be."""
        self.pool.restore(owner, texts)

    def give_back(self, owner: str, addresses: tuple[Address, ...]) -> None:
        """The owner has gone: its addresses rest until they are forgotten."""
        self._resting[owner] = addresses

    def cancel(self, owner: str) -> None:
        """The owner never came to use its addresses: they are free at once."""
        self.pool.release(owner)

    def leaving(self) -> frozenset[bytes]:
        """Begin to free what rests: the addresses to be forgotten, after which ``left`` is to be called."""
        self._leaving |= self._resting
        self._resting = {}
        return frozenset(address for addresses in self._leaving.values() for address in addresses)

    def left(self) -> int:
        """What ``leaving`` told of is forgotten: those addresses are free. How many owners that were."""
        leaving, self._leaving = self._leaving, {}
        for owner in leaving:
            self.pool.release(owner)
        return len(leaving)

    def purge(self) -> int:
        """Forget and free everything that rests, now; how many owners that were."""
        addresses = self.leaving()
        if addresses:
            self.forget(addresses)
        return self.left()

    @property
    def resting(self) -> int:
        """How many owners' addresses are in quarantine."""
        return len(self._resting) + len(self._leaving)

    def __len__(self) -> int:
        return len(self.pool) - self.resting

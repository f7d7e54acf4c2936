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
    """The node's pool with a quarantine before reuse. Owners are named by the caller."""

    def __init__(self, pool: NodePool, forget: Forget) -> None:
        self.pool = pool
        self._forget = forget
        self._resting: dict[str, tuple[Address, ...]] = {}

    def take(self, owner: str) -> PodAddresses:
        """Addresses for an owner, one of every family; ExhaustedError."""
        if owner in self._resting:
            self.purge()
        try:
            return self.pool.allocate(owner)
        except ExhaustedError:
            if not self._resting:
                raise
            self.purge()
            return self.pool.allocate(owner)

    def restore(self, owner: str, texts: list[str]) -> None:
        """Note what an owner already has; UsageError when that cannot be."""
        self.pool.restore(owner, texts)

    def give_back(self, owner: str, addresses: tuple[Address, ...]) -> None:
        """The owner has gone: its addresses rest until the next purge."""
        self._resting[owner] = addresses

    def cancel(self, owner: str) -> None:
        """The owner never came to use its addresses: they are free at once."""
        self.pool.release(owner)

    def purge(self) -> int:
        """Forget all resting addresses and free them; how many owners that were."""
        resting, self._resting = self._resting, {}
        if resting:
            self._forget(frozenset(address for addresses in resting.values() for address in addresses))
            for owner in resting:
                self.pool.release(owner)
        return len(resting)

    @property
    def resting(self) -> int:
        """How many owners' addresses are in quarantine."""
        return len(self._resting)

    def __len__(self) -> int:
        return len(self.pool) - len(self._resting)

"""Numbered slots with owners: the arithmetic below both pools.

Slots that were never used come first, then the ones freed longest ago, so that a number is out of use for as long as
possible before somebody else gets it (stale routes, neighbour entries and connections have time to die).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator


class Slots:
    """``size`` slots numbered from 0; ``reserved`` ones are never given out. All operations are O(1) amortised.

    Memory grows with what is or was in use, not with ``size`` (an IPv6 /64 is as cheap as an IPv4 /30).
    """

    def __init__(self, size: int, reserved: Iterable[int] = ()) -> None:
        self.size = size
        self._reserved = frozenset(i for i in reserved if 0 <= i < size)
        self._owners: dict[int, str] = {}
        self._freed: OrderedDict[int, None] = OrderedDict()
        self._next_unused = 0

    @property
    def capacity(self) -> int:
        """How many slots can be in use at once."""
        return self.size - len(self._reserved)

    def __len__(self) -> int:
        return len(self._owners)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return iter(self._owners.items())

    def allocate(self, owner: str) -> int | None:
        """Give a free slot to ``owner``; None if there is none."""
        while self._next_unused < self.size:
            slot = self._next_unused
            self._next_unused += 1
            if slot not in self._owners and slot not in self._reserved and slot not in self._freed:
                self._owners[slot] = owner
                return slot
        if not self._freed:
            return None
        slot, _ = self._freed.popitem(last=False)
        self._owners[slot] = owner
        return slot

    def take(self, slot: int, owner: str) -> bool:
        """Give exactly ``slot`` to ``owner``; False if it is reserved, outside, or somebody else's."""
        if not self.can_take(slot) and self._owners.get(slot) != owner:
            return False
        self._owners[slot] = owner
        self._freed.pop(slot, None)
        return True

    def can_take(self, slot: int) -> bool:
        """Tell whether ``slot`` is free and not reserved."""
        return 0 <= slot < self.size and slot not in self._reserved and slot not in self._owners

    def release(self, slot: int) -> None:
        """Free a slot that is in use; it will be the last one to be given out again."""
        if self._owners.pop(slot, None) is not None:
            self._freed[slot] = None

    def owner(self, slot: int) -> str | None:
        """Return who has ``slot``."""
        return self._owners.get(slot)

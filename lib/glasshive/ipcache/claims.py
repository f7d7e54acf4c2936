"""Who may speak for a prefix. Pure.

Two owners can claim one prefix for a while: a pod that ended and the pod that got its address, a local endpoint and the
API's older view of it. The better rank wins, then the later claim;
when the winner lets go, the next one's entry returns.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from enum import IntEnum
from typing import Generic, TypeVar

from glasshive.model.address import Prefix

Owner = TypeVar("Owner", bound=Hashable)
Value = TypeVar("Value")


class Rank(IntEnum):
    """Whose word counts more; the lowest wins. ``source`` is what the field calls it (reference/features.md, 2.3)."""

    KUBE_APISERVER = 0
    LOCAL = 1
    NODE = 2
    POD = 3
    CIDR = 4
    WORLD = 5

    @property
    def source(self) -> str:
        """Name of the source, for lists."""
        return _SOURCES[self]


_SOURCES = {
    Rank.KUBE_APISERVER: "kube-apiserver",
    Rank.LOCAL: "local",
    Rank.NODE: "custom-resource",
    Rank.POD: "k8s",
    Rank.CIDR: "generated",
    Rank.WORLD: "unspec",
}


class Claims(Generic[Owner, Value]):
    """The claims of all owners, and the table that follows from them."""

    def __init__(self) -> None:
        self._by_prefix: dict[Prefix, dict[tuple[Rank, Owner], tuple[int, Value]]] = {}
        self._by_owner: dict[tuple[Rank, Owner], tuple[Prefix, ...]] = {}
        self._sequence = 0

    def set(self, owner: Owner, rank: Rank, wanted: Mapping[Prefix, Value]) -> dict[Prefix, Value | None]:
        """Replace all claims of an owner; returns the prefixes whose outcome changed (None: nobody claims it now)."""
        who = rank, owner
        before = self._by_owner.get(who, ())
        touched = {prefix: self.get(prefix) for prefix in (*before, *wanted)}
        for prefix in before:
            if prefix not in wanted:
                self._withdraw(prefix, who)
        for prefix, value in wanted.items():
            claims = self._by_prefix.setdefault(prefix, {})
            held = claims.get(who)
            if held is None or held[1] != value:
                self._sequence += 1
                claims[who] = (held[0] if held else self._sequence, value)
        if wanted:
            self._by_owner[who] = tuple(wanted)
        else:
            self._by_owner.pop(who, None)
        return {prefix: new for prefix, old in touched.items() if (new := self.get(prefix)) != old}

    def remove(self, owner: Owner, rank: Rank) -> dict[Prefix, Value | None]:
        """Withdraw all claims of an owner; returns the prefixes whose outcome changed."""
        return self.set(owner, rank, {})

    def get(self, prefix: Prefix) -> Value | None:
        """The entry that holds for exactly this prefix."""
        holder = self.holder(prefix)
        return None if holder is None else holder[1]

    def holder(self, prefix: Prefix) -> tuple[Rank, Value] | None:
        """Whose word holds for exactly this prefix, and what it is."""
        claims = self._by_prefix.get(prefix)
        if not claims:
            return None
        who, (_, value) = (
            min(claims.items(), key=lambda item: (item[0][0], -item[1][0]))
            if len(claims) > 1
            else next(iter(claims.items()))
        )
        return who[0], value

    def table(self) -> dict[Prefix, Value]:
        """Every claimed prefix with the entry that holds."""
        return {prefix: value for prefix in self._by_prefix if (value := self.get(prefix)) is not None}

    def __len__(self) -> int:
        return len(self._by_prefix)

    def _withdraw(self, prefix: Prefix, who: tuple[Rank, Owner]) -> None:
        claims = self._by_prefix.get(prefix, {})
        claims.pop(who, None)
        if not claims:
            self._by_prefix.pop(prefix, None)

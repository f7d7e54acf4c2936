"""Runs of addresses: from one to another, both included. An address is the number that its 16 bytes make."""

from __future__ import annotations

from dataclasses import dataclass

from glasshive.errors import UsageError
from glasshive.model.address import V4_MAPPED, Address, Prefix, parse, render

_FIRST_IPV4 = int.from_bytes(V4_MAPPED + bytes(4), "big")
_LAST_IPV4 = _FIRST_IPV4 + (1 << 32) - 1


def number(text: str) -> int:
    """An address as a number (IPv4 in its v4-mapped form); UsageError for what is no address."""
    return int.from_bytes(parse(text.strip()), "big")


def text_of(address: int) -> str:
    """Text form of an address given as a number."""
    return render(Address(address.to_bytes(16, "big")))


def family(address: int) -> int:
    """4 or 6."""
    return 4 if _FIRST_IPV4 <= address <= _LAST_IPV4 else 6


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """All addresses from ``first`` to ``last``, of one family; ``text`` is how somebody wrote it."""

    first: int
    last: int
    text: str = ""

    def __contains__(self, address: int) -> bool:
        return self.first <= address <= self.last

    @property
    def size(self) -> int:
        """How many addresses."""
        return self.last - self.first + 1

    @property
    def family(self) -> int:
        """4 or 6."""
        return family(self.first)

    def overlaps(self, other: Span) -> bool:
        """Whether some address is in both."""
        return self.first <= other.last and other.first <= self.last

    @classmethod
    def of_prefix(cls, text: str, *, ends: bool = True) -> Span:
        """All addresses of "10.0.0.0/24". Without ``ends`` the first and the last one are left out, if others are left.

        UsageError for what is no prefix.
        """
        prefix = Prefix.parse(text)
        first, spare = int.from_bytes(prefix.address, "big"), 128 - prefix.length
        last = first + (1 << spare) - 1
        return cls(first + 1, last - 1, text) if not ends and spare > 1 else cls(first, last, text)

    @classmethod
    def between(cls, first: str, last: str = "") -> Span:
        """All addresses from one to another; without ``last`` only the first. UsageError says what is wrong."""
        start, stop = number(first), number(last or first)
        text = f"{first}-{last}" if last else first
        if family(start) != family(stop):
            raise UsageError(f"{text}: one is an IPv4 address, the other is not")
        if stop < start:
            raise UsageError(f"{text}: ends before it begins")
        return cls(start, stop, text)

"""Ports as spans and as prefixes: ranges of 16-bit numbers, cut into blocks that one hash look-up can find."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from glasshive.model.policy import ICMP, ICMPV6, PORT_MAX, PROTOCOL_ANY, SCTP, TCP, UDP, Ports

EVERY_PROTOCOL = -1
"""Stands for any IP protocol at all, where 0 in a rule means TCP, UDP and SCTP."""
PORT_BITS = 16
_ICMP_TYPE_MAX = 255


class NamedPort(NamedTuple):
    """A name that an endpoint gives one of its ports."""

    name: str
    protocol: int
    port: int


NO_NAMES: frozenset[NamedPort] = frozenset()


class Span(NamedTuple):
    """Ports ``first`` to ``last``, inclusive, of one protocol (or of every one)."""

    protocol: int
    first: int
    last: int

    @property
    def width(self) -> int:
        """How much it covers: the narrower is the more specific. Every protocol is wider than all of one."""
        return self.last - self.first + (PORT_MAX + 2 if self.protocol == EVERY_PROTOCOL else 0)


EVERYTHING = Span(EVERY_PROTOCOL, 0, PORT_MAX)


def protocols(number: int) -> tuple[int, ...]:
    """The IP protocols that a rule's protocol number means."""
    return (TCP, UDP, SCTP) if number == PROTOCOL_ANY else (number,)


def spans(ports: Iterable[Ports] | None, names: Iterable[NamedPort] = ()) -> tuple[Span, ...]:
    """A rule's ports as spans; a named port becomes every number that ``names`` gives it, perhaps none."""
    if ports is None:
        return (EVERYTHING,)
    found: dict[Span, None] = {}
    for one in ports:
        wanted = protocols(one.protocol)
        if one.name:
            for name, protocol, port in sorted(names):
                if name == one.name and protocol in wanted:
                    found[Span(protocol, port, port)] = None
            continue
        for protocol in wanted:
            last = one.last
            if protocol in (ICMP, ICMPV6) and last >= _ICMP_TYPE_MAX:
                last = PORT_MAX  # every type: one row for the whole protocol
            if one.first <= last:
                found[Span(protocol, one.first, last)] = None
    return tuple(found)


def names_used(ports: Iterable[Ports] | None) -> frozenset[str]:
    """The port names a rule mentions."""
    return frozenset(one.name for one in ports or () if one.name)


@lru_cache(maxsize=65_536)
def prefixes(first: int, last: int) -> tuple[tuple[int, int], ...]:
    """The fewest (port, prefix bits) blocks that cover ``first`` to ``last`` and nothing else; at most 30."""
    blocks = []
    while first <= last:
        size = first & -first or PORT_MAX + 1
        while size > last - first + 1:
            size >>= 1
        blocks.append((first, PORT_BITS - size.bit_length() + 1))
        first += size
    return tuple(blocks)

"""The map ``conntrack``: connections, one entry each (``bpf/types/conntrack.h``), read and thinned out as columns.

All times are CLOCK_MONOTONIC_COARSE in ns, as the programs write them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glasshive.bpf.layout import Records

NAME = "conntrack"

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Timeouts:
    """``enum gh_ct_timeout``, in seconds, and the numbers of ``enum gh_ct_state`` that choose among them."""

    tcp_opening: int
    tcp_established: int
    tcp_closing: int
    udp: int
    udp_established: int
    icmp: int
    other: int
    state_opening: int
    state_closing: int

    @classmethod
    def of(cls, timeouts: Any, states: Any) -> Timeouts:
        """From the two C enums as IntEnums. Equal timeouts are aliases of each other, so names are what counts."""
        return cls(
            **{
                name.removeprefix("GH_CT_TIMEOUT_").removesuffix("_S").lower(): int(number)
                for name, number in timeouts.__members__.items()
            },
            state_opening=int(states["GH_CT_OPENING"]),
            state_closing=int(states["GH_CT_CLOSING"]),
        )


def lifetimes_ns(keys: Records, values: Records, timeouts: Timeouts) -> NDArray[np.int64]:
    """How long each connection lives after its last packet."""
    protocol, state = keys["protocol"], values["state"]
    opening, closing = state == timeouts.state_opening, state == timeouts.state_closing
    seconds = np.select(
        [
            (protocol == TCP) & opening,
            (protocol == TCP) & closing,
            protocol == TCP,
            (protocol == UDP) & opening,
            protocol == UDP,
            (protocol == ICMP) | (protocol == ICMPV6),
        ],
        [
            timeouts.tcp_opening,
            timeouts.tcp_closing,
            timeouts.tcp_established,
            timeouts.udp,
            timeouts.udp_established,
            timeouts.icmp,
        ],
        timeouts.other,
    )
    return seconds.astype(np.int64) * _SECOND_NS


def expired(keys: Records, values: Records, now_ns: int, timeouts: Timeouts) -> NDArray[np.bool_]:
    """Which connections have been silent for longer than they may."""
    age = np.int64(now_ns) - values["seen_ns"].astype(np.int64)
    mask: NDArray[np.bool_] = age > lifetimes_ns(keys, values, timeouts)
    return mask


def words(addresses: Records) -> NDArray[np.uint64]:
    """A column of ``union gh_address`` as two 64-bit words per row, in memory order."""
    return np.ascontiguousarray(addresses).view(np.uint64).reshape(-1, 2)


def touching(addresses: Records, wanted: frozenset[bytes]) -> NDArray[np.bool_]:
    """Which rows of an address column (union gh_address) are one of ``wanted``. Costs n log m, not n times m."""
    rows = words(addresses)
    sought = np.frombuffer(b"".join(sorted(wanted)), np.uint64).reshape(-1, 2)
    with np.errstate(over="ignore"):
        return np.isin(_folded(rows), _folded(sought))


def _folded(rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return _mixed(_mixed(rows[:, 0]) ^ (rows[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F)))


def connection_hashes(
    one: NDArray[np.uint64], one_port: Records, other: NDArray[np.uint64], other_port: Records, protocol: Records
) -> NDArray[np.uint64]:
    """A number per connection that does not depend on which end comes first. Addresses as ``words`` gives them.

    Used to join tables of connections. A chance collision keeps an entry alive for one more round, no more.
    """
    with np.errstate(over="ignore"):
        ends = _end(one, one_port) + _end(other, other_port)
        return _mixed(ends + protocol.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def hashes(keys: Records) -> NDArray[np.uint64]:
    """The hash of every connection of the map."""
    return connection_hashes(
        words(keys["low"]), keys["low_port"], words(keys["high"]), keys["high_port"], keys["protocol"]
    )


def _end(rows: NDArray[np.uint64], port: Records) -> NDArray[np.uint64]:
    return _mixed(_mixed(rows[:, 0] + port.astype(np.uint64)) ^ (rows[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F)))


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64: every input bit moves every output bit."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))

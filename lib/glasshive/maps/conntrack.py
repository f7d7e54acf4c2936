"""The map ``conntrack``: connections, one entry each (``bpf/types/conntrack.h``), read and thinned out as columns.

All times are CLOCK_MONOTONIC_COARSE in ns, as the programs write them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glasshive.bpf.layout import Records
from glasshive.model.address import Prefix, render_all

NAME = "conntrack"

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
_FROM_HIGH, _CUT = 1, 0xFFFFFFFF  # GH_CT_FROM_HIGH, GH_POLICY_REVISION_CUT; a test compares them with the BTF
_STATES = {1: "opening", 2: "established", 3: "closing"}
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


def rows(keys: Records, values: Records, now_ns: int | None = None) -> list[dict[str, Any]]:
    """Connections as people read them, the opener first; ``age`` and ``idle`` in seconds. Sorted by addresses."""
    now = time.monotonic_ns() if now_ns is None else now_ns
    from_high = (values["flags"] & _FROM_HIGH).astype(bool)
    low, high = (render_all(np.ascontiguousarray(keys[end]).view(np.uint8).reshape(-1, 16)) for end in ("low", "high"))
    found = []
    for at, opener_is_high in enumerate(from_high.tolist()):
        ends = [(low[at], int(keys["low_port"][at])), (high[at], int(keys["high_port"][at]))]
        (source, sport), (destination, dport) = reversed(ends) if opener_is_high else ends
        value = values[at]
        found.append(
            {
                "protocol": int(keys["protocol"][at]),
                "source": source,
                "sourcePort": sport,
                "destination": destination,
                "destinationPort": dport,
                "state": _STATES.get(int(value["state"]), str(int(value["state"]))),
                "flags": int(value["flags"]) & ~_FROM_HIGH,
                "sourceIdentity": int(value["identity"]),
                "ageSeconds": round((now - int(value["created_ns"])) / _SECOND_NS, 1),
                "idleSeconds": round(max(0, now - int(value["seen_ns"])) / _SECOND_NS, 1),
                "cut": int(value["policy_revision"]) == _CUT,
            }
        )
    return sorted(found, key=lambda row: (row["source"], row["destination"], row["sourcePort"], row["destinationPort"]))


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


Rows = Callable[[NDArray[np.uint64]], NDArray[np.bool_]]
"""Judges a column of addresses, given as ``words``."""


def among(wanted: Iterable[bytes]) -> Rows:
    """Addresses that are one of ``wanted``. Costs n log m, not n times m."""
    sought = np.sort(_folded(np.frombuffer(b"".join(wanted), np.uint64).reshape(-1, 2)))
    return lambda rows: member(_folded(rows), sought)


def inside(prefix: Prefix) -> Rows:
    """Addresses that begin with a prefix."""
    bits = ((1 << prefix.length) - 1) << (128 - prefix.length)
    mask = np.frombuffer(bits.to_bytes(16, "big"), np.uint64)
    start = np.frombuffer(prefix.address, np.uint64)
    return lambda rows: ((rows & mask) == start).all(axis=1)


def touching(keys: Records, judge: Rows) -> NDArray[np.bool_]:
    """Connections of which an end is one that ``judge`` means."""
    mask: NDArray[np.bool_] = judge(words(keys["low"])) | judge(words(keys["high"]))
    return mask


def member(values: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which values are among the sorted ``wanted``. (numpy's own ``isin`` loads 90 ms of modules at its first call.)"""
    if not len(wanted):
        return np.zeros(len(values), dtype=bool)
    where = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
    mask: NDArray[np.bool_] = wanted[where] == values
    return mask


def _folded(rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
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

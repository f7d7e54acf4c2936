"""Housekeeping of connections and translations: those that ended, and those of pods that have gone.

Both tables are read as columns and judged as columns: 65,000 connections cost a few milliseconds. How often this runs
follows from how much it found (``next_interval``).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from glasshive.agent.objects import Objects, needed
from glasshive.bpf import Map
from glasshive.bpf.layout import Records
from glasshive.maps import conntrack as ct
from glasshive.maps import nat
from glasshive.model.address import Address, Prefix

SHORTEST_SECONDS, LONGEST_SECONDS = 2.0, 60.0


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found and did."""

    connections: int
    expired: int
    translations: int
    orphans: int
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Connections:
    """The maps ``conntrack`` and ``nat`` with what their numbers mean."""

    conntrack: Map
    nat: Map
    timeouts: ct.Timeouts
    nat_in: int
    nat_host: int

    @classmethod
    def of(cls, objects: Objects) -> Self:
        """From the loaded datapath."""
        return cls(
            conntrack=needed(objects, "maps", ct.NAME),
            nat=needed(objects, "maps", nat.NAME),
            timeouts=ct.Timeouts.of(objects.enum("gh_ct_timeout"), objects.enum("gh_ct_state")),
            nat_in=objects.number("gh_nat_direction", "GH_NAT_IN"),
            nat_host=objects.number("gh_nat_flags", "GH_NAT_HOST"),
        )

    def collect(self) -> Round:
        """Remove connections that were silent for too long, then translations without a connection."""
        began = time.perf_counter()
        now_ns = time.monotonic_ns()  # programs use the coarse clock, a few ms behind this one
        # Translations first: one that is made after this has a connection that the next dump shows, or is too young.
        nat_keys, nat_values = self.nat.items()
        keys, values = self.conntrack.items()
        dead = ct.expired(keys, values, now_ns, self.timeouts)
        expired = self._delete(self.conntrack, keys, dead)
        live = np.sort(ct.hashes(keys[~dead]))
        lost = nat.orphans(nat_keys, nat_values, live, now_ns, direction_in=self.nat_in, host_flag=self.nat_host)
        orphans = self._delete(self.nat, nat_keys, lost)
        took = round((time.perf_counter() - began) * 1000, 2)
        return Round(len(keys), expired, len(nat_keys), orphans, took)

    def forget(self, addresses: frozenset[bytes]) -> None:
        """Remove everything about pods with these addresses. The pods must be detached: nothing new comes then."""
        self._purge(ct.among(addresses))

    def forget_departed(self, prefixes: Iterable[Prefix], live: Iterable[Address]) -> None:
        """Remove what is left of pods that went while no agent ran: own pod addresses that nobody has now."""
        ours, known = [ct.inside(prefix) for prefix in prefixes], ct.among(live)
        self._purge(lambda rows: np.logical_or.reduce([mine(rows) for mine in ours]) & ~known(rows))

    def _purge(self, judge: ct.Rows) -> None:
        keys, _ = self.conntrack.items()
        self._delete(self.conntrack, keys, ct.touching(keys, judge))
        keys, values = self.nat.items()
        self._delete(self.nat, keys, nat.of_pods(keys, values, judge, self.nat_in))

    @staticmethod
    def _delete(kernel: Map, keys: Records, mask: NDArray[np.bool_]) -> int:
        return kernel.delete(keys[mask]) if mask.any() else 0


def next_interval(interval: float, found: int, removed: int) -> float:
    """Seconds until the next round: sooner when a quarter or more was dead, later when hardly anything was. Pure."""
    share = removed / found if found else 0.0
    if share >= 0.25:
        interval /= 2
    elif share < 0.05:
        interval *= 1.5
    return min(max(interval, SHORTEST_SECONDS), LONGEST_SECONDS)

"""What a change asks of the kernel's tables: pure values, and the order in which to carry them out.

No packet may meet a verdict that is neither the old nor the new one. That holds if the steps are done in the order of
``Delta.steps`` and each is finished before the next begins:

1. ``PutPorts``, then ``PutPeers``: a row counts only once its peer's row says so. New policies are written whole, and
   nobody uses them yet. Where a peer's rows change in place, old and new port rows stand side by side for a while: a
   hit gives one or the other verdict, and a miss means that the new rows have none for the port.
2. ``DropPeers``: peers that are like any other now. Their port rows stay until the grace is over.
3. ``PutBlocks``: addresses get the identities of new blocks; the old policies know these identities already, as what
   their addresses were before. ``Grace``, because a packet may have looked up its peer before.
4. ``Flip``: subjects go over to their new numbers.
5. ``Grace``, ``DropBlocks``: and only then, because a packet may still use the old number.
6. ``Grace``, ``DropPeers``, ``DropPorts`` of all that nobody can reach any more, and ``Retire``.

A grace is the time until programs that run now have ended (an RCU grace period; membarrier(2) waits for one).

Identities are the caller's in the ipcache: apply the delta of a new identity before its addresses enter the ipcache,
and take its addresses out (and wait a grace) before applying the delta of its departure.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from glasshive.model.address import Prefix
from glasshive.model.identity import Identity
from glasshive.model.policy import Direction, PeerRows, Verdict


class PeerKey(NamedTuple):
    """Key of ``policy_peers``. ``peer`` 0: every peer without a row of its own."""

    policy: int
    direction: Direction
    peer: int


class PortKey(NamedTuple):
    """Key of ``policy_ports``."""

    peer: PeerKey
    protocol: int
    port: int
    prefix_bits: int


class PortValue(NamedTuple):
    """What a row of ``policy_ports`` says."""

    verdict: Verdict
    rule: int


class PeerValue(NamedTuple):
    """What a row of ``policy_peers`` says. Bit n of ``classes``: there are port rows of n prefix bits."""

    verdict: Verdict
    rule: int
    classes: int


class PeerChange(NamedTuple):
    """One peer's rows, before and after; None: it has none and is judged by the rows of peer 0."""

    key: PeerKey
    before: PeerRows | None
    after: PeerRows | None


@dataclass(frozen=True, slots=True)
class PolicyRows:
    """Every row of one policy number."""

    number: int
    peers: Mapping[tuple[Direction, int], PeerRows]

    def changes(self) -> Iterator[PeerChange]:
        """The rows as additions."""
        for (direction, peer), rows in self.peers.items():
            yield PeerChange(PeerKey(self.number, direction, peer), None, rows)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which policy a subject is under, and in which directions it is judged at all (number 0: in none)."""

    subject: Hashable
    number: int
    ingress: bool
    egress: bool


class Block(NamedTuple):
    """A prefix and its identity, for the ipcache; where nodes or pods claim the same prefix they keep it."""

    prefix: Prefix
    identity: Identity


# --- steps ---


@dataclass(frozen=True, slots=True)
class PutPorts:
    """Write rows of ``policy_ports``."""

    rows: Mapping[PortKey, PortValue]


@dataclass(frozen=True, slots=True)
class PutPeers:
    """Write rows of ``policy_peers``."""

    rows: Mapping[PeerKey, PeerValue]


@dataclass(frozen=True, slots=True)
class DropPorts:
    """Delete rows of ``policy_ports``."""

    keys: tuple[PortKey, ...]


@dataclass(frozen=True, slots=True)
class DropPeers:
    """Delete rows of ``policy_peers``."""

    keys: tuple[PeerKey, ...]


@dataclass(frozen=True, slots=True)
class PutBlocks:
    """Give prefixes their identity in the ipcache."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class DropBlocks:
    """Withdraw prefixes from the ipcache."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Flip:
    """Put subjects under other numbers."""

    assignments: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class Grace:
    """Wait until every program run that has begun is over."""


@dataclass(frozen=True, slots=True)
class Retire:
    """The numbers have no rows left: tell the engine that they are free (``Engine.released``)."""

    numbers: tuple[int, ...]


Step = PutPorts | PutPeers | DropPorts | DropPeers | PutBlocks | DropBlocks | Flip | Grace | Retire


@dataclass(frozen=True, slots=True)
class Delta:
    """What one change, or several taken together, ask for. ``steps`` has the order; see the module."""

    appeared: tuple[PolicyRows, ...] = ()
    changed: tuple[PeerChange, ...] = ()
    """Rows of numbers in use, because an identity came or is another one now."""
    blocks_added: tuple[Block, ...] = ()
    flips: tuple[Assignment, ...] = ()
    blocks_removed: tuple[Block, ...] = ()
    gone: tuple[PeerChange, ...] = ()
    """Rows of numbers in use whose identity is no more (``after`` is None)."""
    retired: tuple[PolicyRows, ...] = ()

    def __bool__(self) -> bool:
        return any(
            (self.appeared, self.changed, self.blocks_added, self.flips, self.blocks_removed, self.gone, self.retired)
        )

    def steps(self) -> Iterator[Step]:
        """What to do, in order; empty steps are left out."""
        new = [change for policy in self.appeared for change in policy.changes()]
        stale = [change for change in self.changed if change.before is not None]
        ports = {key: value for change in (*self.changed, *new) for key, value in _new_ports(change)}
        if ports:
            yield PutPorts(ports)
        peers = {change.key: peer_value(change.after) for change in (*self.changed, *new) if change.after is not None}
        if peers:
            yield PutPeers(peers)
        if unlike := tuple(change.key for change in stale if change.after is None):
            yield DropPeers(unlike)
        if self.blocks_added:
            yield PutBlocks(self.blocks_added)
            if self.flips:
                yield Grace()
        if self.flips:
            yield Flip(self.flips)
        if self.blocks_removed:
            yield Grace()
            yield DropBlocks(self.blocks_removed)
        yield from self._sweep(stale)

    def _sweep(self, stale: Iterable[PeerChange]) -> Iterator[Step]:
        """Delete what nobody can reach after a grace."""
        old = [change for policy in self.retired for change in policy.changes()]
        peers = [change.key for change in self.gone] + [change.key for change in old]
        ports = [key for change in stale for key in _old_ports(change)]
        ports += [key for change in self.gone for key in port_values(change.key, change.before)]
        ports += [key for change in old for key in port_values(change.key, change.after)]
        if not (peers or ports):
            if self.retired:
                yield Grace()
                yield Retire(tuple(policy.number for policy in self.retired))
            return
        yield Grace()
        if peers:
            yield DropPeers(tuple(peers))
        if ports:
            yield DropPorts(tuple(ports))
        if self.retired:
            yield Retire(tuple(policy.number for policy in self.retired))


def port_values(key: PeerKey, rows: PeerRows | None) -> dict[PortKey, PortValue]:
    """The rows of ``policy_ports`` that belong to a peer."""
    if rows is None:
        return {}
    return {
        PortKey(key, row.protocol, row.port, row.prefix_bits): PortValue(row.verdict, row.rule) for row in rows.ports
    }


def peer_value(rows: PeerRows) -> PeerValue:
    """The row of ``policy_peers``."""
    classes = 0
    for row in rows.ports:
        classes |= 1 << row.prefix_bits
    return PeerValue(rows.verdict, rows.rule, classes)


def _new_ports(change: PeerChange) -> Iterator[tuple[PortKey, PortValue]]:
    before = port_values(change.key, change.before)
    for key, value in port_values(change.key, change.after).items():
        if before.get(key) != value:
            yield key, value


def _old_ports(change: PeerChange) -> list[PortKey]:
    after = port_values(change.key, change.after)
    return [key for key in port_values(change.key, change.before) if key not in after]

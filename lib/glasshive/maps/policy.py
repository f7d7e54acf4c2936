"""The policy tables of a node: ``policy_peers``, ``policy_ports``, ``policy_rows``, and its policy revision.

A policy is a number that endpoints point at. Its rows are written completely before the first endpoint does, and
taken away only when no packet can be on its way with the old number any more (see ``GRACE_SECONDS``). A peer that joins
a policy in use gets its port rows first and its peer row last, which puts them into force in one step; it leaves the
other way round. ``policy_table`` has the tables themselves; here is what keys and values mean
(``bpf/types/policy.h``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from glasshive.bpf import Map
from glasshive.errors import ExhaustedError, UsageError
from glasshive.maps.policy_table import RowStore, SlotTable
from glasshive.model.policy import Direction, PeerRows, PortRow, Verdict

PEERS, PORTS, STATE, ROWS = "policy_peers", "policy_ports", "node_state", "policy_rows"
NAMES = (PEERS, PORTS, STATE, ROWS)
"""The maps in the order in which ``PolicyMaps`` takes them."""
GRACE_SECONDS = 1.0
"""How long rows outlive the last endpoint that used them: far longer than any packet takes through a program."""
NUMBER_MAX = 2**31 - 1

_STATE = struct.Struct("=IIII")
_REVISION_CUT = 2**32 - 1
_EGRESS = Direction.EGRESS


class Row(NamedTuple):
    """One row with what it has decided so far. ``port`` None: the peer's row, for what no port row matches."""

    number: int
    direction: Direction
    identity: int
    protocol: int
    port: int | None
    prefix_bits: int
    verdict: Verdict
    rule: int
    packets: int
    bytes: int


PortEntry: TypeAlias = tuple[int, int, int, int, int, int, int]
"""A row of a port: half of a policy, peer identity, protocol, port, prefix bits, verdict, rule."""


def half(number: int, direction: Direction) -> int:
    """The field ``policy`` of keys: which half of which policy."""
    if not 0 < number <= NUMBER_MAX:
        raise UsageError(f"policy number {number} is not between 1 and {NUMBER_MAX}")
    return number << 1 | (direction == _EGRESS)


class PolicyMaps:
    """Typed face of the kernel's maps. Not thread-safe; only one at a time may write."""

    def __init__(self, peers: Map, ports: Map, state: Map, rows: Map) -> None:
        self.state = state
        self.tables = (peers, ports, rows)
        self._peers, self._ports = SlotTable(peers), SlotTable(ports)
        self._row_of: dict[int, int] = {}
        """Peer key -> its row: also of peers whose ports are there before themselves."""
        self._ports_of: dict[int, set[int]] = {}
        """Row of a peer -> keys of its ports."""
        self._keys_of: dict[int, set[int]] = {}
        """Half of a policy -> peer keys."""
        used = self._take_over()
        self._rows = RowStore(rows, used, GRACE_SECONDS)
        self._write_state(self.revision())

    # -- writing

    def write_policy(self, number: int, direction: Direction, rows: Mapping[int, PeerRows]) -> None:
        """Write one half of a policy that no endpoint uses yet: rows by peer identity.

        ExhaustedError when a map is full; nothing stays then.
        """
        key = half(number, direction)
        try:
            self.put_ports([entry for identity, one in rows.items() for entry in _entries(key, identity, one.ports)])
            self.put_peers(
                [(key, identity, one.verdict, one.rule, classes(one.ports)) for identity, one in rows.items()]
            )
        except Exception:
            self._remove_half(key)
            raise

    def add_peer(self, number: int, direction: Direction, identity: int, rows: PeerRows) -> None:
        """Give a policy in use another peer. Its ports come first: the peer's own row puts them into force at once.

        ExhaustedError when a map is full; a peer that was not there before is not there then.
        """
        key = half(number, direction)
        new = key << 32 | identity not in self._peers
        try:
            self._put_all(key, identity, rows)
        except ExhaustedError:
            if new:
                self.remove_peer(number, direction, identity, rows.ports)
            raise

    def remove_peer(self, number: int, direction: Direction, identity: int, ports: Iterable[PortRow]) -> int:
        """Take a peer out of a policy in use, its row first; ``ports`` are those it was added with. How many rows."""
        key = half(number, direction)
        gone = self.drop_peers([(key, identity)])
        return gone + self.drop_ports([(key, identity, row.protocol, row.port, row.prefix_bits) for row in ports])

    def remove_policy(self, number: int) -> int:
        """Take both halves of a policy away that no endpoint has used for ``GRACE_SECONDS``; how many rows."""
        return sum(self._remove_half(half(number, direction)) for direction in Direction)

    def remove_policies(self, numbers: Iterable[int]) -> int:
        """The same for many."""
        return sum(self.remove_policy(number) for number in numbers)

    def put_ports(self, rows: Sequence[PortEntry]) -> None:
        """Write rows of ports. ExhaustedError."""
        if self._ports.are_many(len(rows)) and self._put_many_ports(rows):
            return
        for row in rows:
            self._put_port(row)

    def put_peers(self, rows: Sequence[tuple[int, int, Verdict, int, int]]) -> None:
        """Write rows of peers: (half, peer identity, verdict, rule, classes). ExhaustedError."""
        if self._peers.are_many(len(rows)) and self._put_many_peers(rows):
            return
        for key, identity, verdict, rule, found in rows:
            self._put_peer(key, identity, verdict, rule, found)

    def drop_ports(self, keys: Iterable[tuple[int, int, int, int, int]]) -> int:
        """Delete rows of ports: (half, peer identity, protocol, port, prefix bits); how many were there."""
        gone = 0
        for key, identity, protocol, port, bits in keys:
            peer = key << 32 | identity
            space = self._row_of.get(peer)
            if space is not None and self._drop_port(space, space << 32 | port << 16 | protocol << 8 | bits):
                gone += 1
                self._forget(peer)
        return gone

    def drop_peers(self, keys: Iterable[tuple[int, int]]) -> int:
        """Delete rows of peers: (half, peer identity); how many were there."""
        gone = 0
        for key, identity in keys:
            peer = key << 32 | identity
            if self._peers.delete(peer):
                gone += 1
                self._forget(peer)
        return gone

    def bump_revision(self) -> int:
        """Have every connection judged again: after any change of policies, of identities or of endpoints' policies.

        Tables first, then this. Returns the new revision.
        """
        value = (self.revision() + 1) % _REVISION_CUT
        self._write_state(value)
        return value

    # -- reading

    def revision(self) -> int:
        """The node's policy revision."""
        return int(self.state.get(0)["policy_revision"])

    def numbers(self) -> set[int]:
        """Numbers of the policies that have rows."""
        return {key >> 1 for key in self._keys_of}

    def rows(self, number: int | None = None) -> list[Row]:
        """Rows with their counters, of one policy or of all; in the order in which they would be looked at."""
        return sorted(self._found(number), key=_order)

    def peer_rows(self) -> list[tuple[int, Direction, int, Verdict, int, int]]:
        """The peers' rows: (number, direction, peer identity, verdict, rule, classes)."""
        return [
            (key >> 33, _direction(key >> 32), key & 0xFFFFFFFF, Verdict(value & 0xFF), self._rows.rule(value >> 32),
             value >> 8 & 0x1FFFF)
            for key, value in self._peers.items()
        ]  # fmt: skip

    def entries(self, name: str) -> list[dict[str, int]] | None:
        """One of the two tables as flat rows, keys first, as other maps are shown; None for any other map."""
        if name not in (PEERS, PORTS):
            return None
        found = []
        for row in self.rows():
            entry = {"policy": half(row.number, row.direction), "identity": row.identity}
            if row.port is not None:
                entry |= {"port": row.port, "protocol": row.protocol, "prefix_bits": row.prefix_bits}
            else:
                value = self._peers.get(entry["policy"] << 32 | row.identity)
                entry["classes"] = value >> 8 & 0x1FFFF
            if (row.port is None) == (name == PEERS):
                entry |= {"packets": row.packets, "bytes": row.bytes, "rule": row.rule, "verdict": int(row.verdict)}
                found.append(entry)
        return found

    # -- inside

    def _put_all(self, key: int, identity: int, rows: PeerRows) -> None:
        for entry in _entries(key, identity, rows.ports):
            self._put_port(entry)
        self._put_peer(key, identity, rows.verdict, rows.rule, classes(rows.ports))

    def _put_port(self, row: PortEntry) -> None:
        half_key, identity, protocol, port, bits, verdict, rule = row
        space = self._space(half_key << 32 | identity, rule)
        key = space << 32 | port << 16 | protocol << 8 | bits
        before = self._ports.get(key)
        number = self._rows.take(rule)
        try:
            self._ports.put(key, number << 32 | verdict)
        except ExhaustedError:
            self._rows.release(number)
            self._forget(half_key << 32 | identity)
            raise
        if before:
            self._rows.release(before >> 32)
        self._ports_of[space].add(key)

    def _put_peer(self, half_key: int, identity: int, verdict: int, rule: int, found: int) -> None:
        peer = half_key << 32 | identity
        space = self._space(peer, rule)
        if self._rows.rule(space) != rule:
            self._rows.rewrite(space, rule)
        try:
            self._peers.put(peer, space << 32 | found << 8 | verdict)
        except ExhaustedError:
            self._forget(peer)
            raise

    def _put_many_ports(self, rows: Sequence[PortEntry]) -> bool:
        """The same as ``_put_port`` for each, at once; False when they do not all fit: nothing has changed then."""
        peers = [row[0] << 32 | row[1] for row in rows]
        rules = [row[6] for row in rows]
        new = self._take_spaces(peers, rules)
        if new is None:
            return False
        spaces = [self._row_of[peer] for peer in peers]
        listed = [
            space << 32 | port << 16 | protocol << 8 | bits
            for space, (_, _, protocol, port, bits, _, _) in zip(spaces, rows, strict=True)
        ]
        keys = np.array(listed, np.uint64)
        places = self._ports.places(keys)
        numbers = self._rows.take_many(rules) if places is not None else None
        if places is None or numbers is None:
            self._put_back_spaces(new)
            return False
        before = [self._ports.get(key) for key in listed]
        values = np.array(numbers, np.uint64) << np.uint64(32) | np.array([row[5] for row in rows], np.uint64)
        self._ports.put_many(keys, values, places)
        for value in filter(None, before):
            self._rows.release(value >> 32)
        for space, key in zip(spaces, listed, strict=True):
            self._ports_of[space].add(key)
        return True

    def _put_many_peers(self, rows: Sequence[tuple[int, int, Verdict, int, int]]) -> bool:
        """The same as ``_put_peer`` for each, at once; False when they do not all fit: nothing has changed then."""
        peers = [key << 32 | identity for key, identity, *_ in rows]
        keys = np.array(peers, np.uint64)
        places = self._peers.places(keys)
        rules = [rule for *_, rule, _ in rows]
        if places is None or self._take_spaces(peers, rules) is None:
            return False
        spaces = [self._row_of[peer] for peer in peers]
        known = self._rows.rules(spaces)
        other = [at for at, rule in enumerate(rules) if known[at] != rule]
        self._rows.rewrite_many([spaces[at] for at in other], [rules[at] for at in other])
        values = [space << 32 | row[4] << 8 | row[2] for space, row in zip(spaces, rows, strict=True)]
        self._peers.put_many(keys, np.array(values, np.uint64), places)
        return True

    def _take_spaces(self, peers: Sequence[int], rules: Sequence[int]) -> list[int] | None:
        """Rows for those peers that have none; these peers. None when there are not enough, and none has one then."""
        new = {
            peer: rule for peer, rule in zip(reversed(peers), reversed(rules), strict=True) if peer not in self._row_of
        }
        numbers = self._rows.take_many(list(new.values()))
        if numbers is None:
            return None
        for peer, space in zip(new, numbers, strict=True):
            self._row_of[peer] = space
            self._ports_of[space] = set()
            self._keys_of.setdefault(peer >> 32, set()).add(peer)
        return list(new)

    def _put_back_spaces(self, peers: Sequence[int]) -> None:
        self._rows.put_back([self._row_of[peer] for peer in peers])
        for peer in peers:
            self._drop_peer(peer)

    def _space(self, peer: int, rule: int) -> int:
        """The peer's row, whose number its ports' keys begin with."""
        space = self._row_of.get(peer)
        if space is None:
            space = self._row_of[peer] = self._rows.take(rule)
            self._ports_of[space] = set()
            self._keys_of.setdefault(peer >> 32, set()).add(peer)
        return space

    def _drop_port(self, space: int, key: int) -> bool:
        value = self._ports.get(key)
        if not value:
            return False
        self._ports.delete(key)
        self._rows.release(value >> 32)
        self._ports_of[space].discard(key)
        return True

    def _forget(self, peer: int) -> None:
        """Give the peer's row back when nothing of the peer is left."""
        space = self._row_of[peer]
        if peer in self._peers or self._ports_of[space]:
            return
        self._drop_peer(peer)
        self._rows.release(space)

    def _drop_peer(self, peer: int) -> None:
        del self._ports_of[self._row_of.pop(peer)]
        keys = self._keys_of[peer >> 32]
        keys.discard(peer)
        if not keys:
            del self._keys_of[peer >> 32]

    def _remove_half(self, half_key: int) -> int:
        """Peers go first: without them nobody looks at ports."""
        keys = list(self._keys_of.get(half_key, ()))
        gone = sum(self._peers.delete(peer) for peer in keys)
        for peer in keys:
            space = self._row_of[peer]
            gone += sum(self._drop_port(space, key) for key in list(self._ports_of[space]))
            self._forget(peer)
        return gone

    def _take_over(self) -> set[int]:
        """Learn what the kernel's tables hold; ports whose peer is not there belong to nobody. Rows in use."""
        owners = set()
        for key, value in self._peers.items():
            space = value >> 32
            self._row_of[key] = space
            self._ports_of[space] = set()
            self._keys_of.setdefault(key >> 32, set()).add(key)
            owners.add(space)
        used = set(owners)
        for key, value in list(self._ports.items()):
            if key >> 32 in owners:
                self._ports_of[key >> 32].add(key)
                used.add(value >> 32)
            else:
                self._ports.delete(key)
        return used

    def _write_state(self, revision: int) -> None:
        packed = _STATE.pack(revision, self._peers.mask, self._ports.mask, 0)
        self.state.update([0], np.frombuffer(packed, self.state.value_dtype))

    def _found(self, number: int | None) -> Iterator[Row]:
        for peer, space in self._row_of.items():
            if number is not None and peer >> 33 != number:
                continue
            place = (peer >> 33, _direction(peer >> 32), peer & 0xFFFFFFFF)
            if value := self._peers.get(peer):
                yield Row(
                    *place, 0, None, 0, Verdict(value & 0xFF), self._rows.rule(space), *self._rows.counters(space)
                )
            for key in self._ports_of[space]:
                value = self._ports.get(key)
                row = value >> 32
                yield Row(*place, key >> 8 & 0xFF, key >> 16 & 0xFFFF, key & 0xFF, Verdict(value & 0xFF),
                          self._rows.rule(row), *self._rows.counters(row))  # fmt: skip


def _direction(half_key: int) -> Direction:
    return Direction.EGRESS if half_key & 1 else Direction.INGRESS


def _entries(key: int, identity: int, ports: Iterable[PortRow]) -> list[PortEntry]:
    return [(key, identity, one.protocol, one.port, one.prefix_bits, one.verdict, one.rule) for one in ports]


def classes(ports: Iterable[PortRow]) -> int:
    """The classes of a peer's row: bit n is set when there are ports with a prefix of n bits."""
    found = 0
    for row in ports:
        found |= 1 << row.prefix_bits
    return found


def _order(row: Row) -> tuple[int, ...]:
    """By policy, direction and peer; the peer that stands for any last; ports before what holds without one."""
    port = (0, 0, 0) if row.port is None else (-row.prefix_bits - 1, row.protocol, row.port)
    return (row.number, row.direction == Direction.EGRESS, not row.identity, row.identity, *port)

"""The maps ``policy_peers`` and ``policy_ports``, and the node's policy revision (``bpf/types/policy.h``).

A policy is a number that endpoints point at. Its rows are written completely before the first endpoint does, and
taken away only when no packet can be on its way with the old number any more (see ``GRACE_SECONDS``). A peer that joins
a policy in use gets its port rows first and its peer row last, which puts them into force in one step; it leaves the
other way round. Everything is written in batches: rows are packed by ``struct``, whose layout the constructor compares
with the maps' BTF.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from glasshive.bpf import Map
from glasshive.bpf.layout import Records
from glasshive.errors import UsageError
from glasshive.maps.conntrack import member
from glasshive.maps.element import ElementWriter
from glasshive.model.policy import Direction, PeerRows, PortRow, Verdict

PEERS, PORTS, STATE = "policy_peers", "policy_ports", "node_state"
GRACE_SECONDS = 1.0
"""How long rows outlive the last endpoint that used them: far longer than any packet takes through a program."""
NUMBER_MAX = 2**31 - 1

_FEW = 8
_PEER_KEY, _PORT_KEY = struct.Struct("=II"), struct.Struct("=IIHBB")
_PEER, _PORT = struct.Struct("=QQIIB7x"), struct.Struct("=QQIHBx")
_REVISION = struct.Struct("=II")
_REVISION_CUT = 2**32 - 1


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


def half(number: int, direction: Direction) -> int:
    """The field ``policy`` of keys: which half of which policy."""
    if not 0 < number <= NUMBER_MAX:
        raise UsageError(f"policy number {number} is not between 1 and {NUMBER_MAX}")
    return number << 1 | (direction == Direction.EGRESS)


class PolicyMaps:
    """Typed face of the kernel's maps. Not thread-safe."""

    def __init__(self, peers: Map, ports: Map, state: Map) -> None:
        self.peers, self.ports, self.state = peers, ports, state
        self._peer, self._port = ElementWriter(peers), ElementWriter(ports)
        _check_layout(peers, ports)

    # -- writing

    def write_policy(self, number: int, direction: Direction, rows: Mapping[int, PeerRows]) -> None:
        """Write one half of a policy that no endpoint uses yet: rows by peer identity.

        ExhaustedError when a map is full; nothing stays then.
        """
        key = half(number, direction)
        peers = [(key, identity, one) for identity, one in rows.items()]
        try:
            ports = [(key, identity, row) for _, identity, one in peers for row in one.ports]
            if ports:
                self.ports.update(*_packed_ports(self.ports, ports))
            if peers:
                self.peers.update(*_packed_peers(self.peers, peers))
        except Exception:
            self._remove_halves([key])
            raise

    def add_peer(self, number: int, direction: Direction, identity: int, rows: PeerRows) -> None:
        """Give a policy in use another peer. Its ports come first: the peer's own row puts them into force at once."""
        key = half(number, direction)
        if len(rows.ports) > _FEW:
            self.ports.update(*_packed_ports(self.ports, [(key, identity, row) for row in rows.ports]))
        else:
            for row in rows.ports:
                self._port.put([_port_key(key, identity, row)], _PORT.pack(0, 0, row.rule, 0, row.verdict))
        self._peer.put([_PEER_KEY.pack(key, identity)], _peer_value(rows))

    def remove_peer(self, number: int, direction: Direction, identity: int, ports: Iterable[PortRow]) -> int:
        """Take a peer out of a policy in use, its row first; ``ports`` are those it was added with. How many rows."""
        key = half(number, direction)
        gone = self._peer.delete([_PEER_KEY.pack(key, identity)])
        keys = [_port_key(key, identity, row) for row in ports]
        if len(keys) > _FEW:
            return gone + self.ports.delete(np.frombuffer(b"".join(keys), self.ports.key_dtype))
        return gone + self._port.delete(keys)

    def remove_policy(self, number: int) -> int:
        """Take both halves of a policy away that no endpoint has used for ``GRACE_SECONDS``; how many rows."""
        return self._remove_halves([half(number, direction) for direction in Direction])

    def remove_policies(self, numbers: Iterable[int]) -> int:
        """The same for many, in one pass over the maps."""
        return self._remove_halves([half(number, direction) for number in numbers for direction in Direction])

    def put_ports(self, rows: Sequence[tuple[int, int, PortRow]]) -> None:
        """Write rows of ports: (half, peer identity, row). ExhaustedError."""
        if len(rows) > _FEW:
            self.ports.update(*_packed_ports(self.ports, list(rows)))
            return
        for key, identity, row in rows:
            self._port.put([_port_key(key, identity, row)], _PORT.pack(0, 0, row.rule, 0, row.verdict))

    def put_peers(self, rows: Sequence[tuple[int, int, Verdict, int, int]]) -> None:
        """Write rows of peers: (half, peer identity, verdict, rule, classes). ExhaustedError."""
        if len(rows) > _FEW:
            keys = b"".join([_PEER_KEY.pack(key, identity) for key, identity, *_ in rows])
            values = b"".join([_PEER.pack(0, 0, classes, rule, verdict) for _, _, verdict, rule, classes in rows])
            self.peers.update(np.frombuffer(keys, self.peers.key_dtype), np.frombuffer(values, self.peers.value_dtype))
            return
        for key, identity, verdict, rule, found in rows:
            self._peer.put([_PEER_KEY.pack(key, identity)], _PEER.pack(0, 0, found, rule, verdict))

    def drop_ports(self, keys: Sequence[tuple[int, int, int, int, int]]) -> int:
        """Delete rows of ports: (half, peer identity, protocol, port, prefix bits); how many were there."""
        packed = [
            _PORT_KEY.pack(key, identity, _swapped(port), protocol, bits)
            for key, identity, protocol, port, bits in keys
        ]
        if len(packed) > _FEW:
            return self.ports.delete(np.frombuffer(b"".join(packed), self.ports.key_dtype))
        return self._port.delete(packed)

    def drop_peers(self, keys: Sequence[tuple[int, int]]) -> int:
        """Delete rows of peers: (half, peer identity); how many were there."""
        packed = [_PEER_KEY.pack(*key) for key in keys]
        if len(packed) > _FEW:
            return self.peers.delete(np.frombuffer(b"".join(packed), self.peers.key_dtype))
        return self._peer.delete(packed)

    def bump_revision(self) -> int:
        """Have every connection judged again: after any change of policies, of identities or of endpoints' policies.

        Tables first, then this. Returns the new revision.
        """
        value = (self.revision() + 1) % _REVISION_CUT
        self.state.update([0], np.frombuffer(_REVISION.pack(value, 0), self.state.value_dtype))
        return value

    # -- reading

    def revision(self) -> int:
        """The node's policy revision."""
        return int(self.state.get(0)["policy_revision"])

    def numbers(self) -> set[int]:
        """Numbers of the policies that have rows."""
        halves = {number for kernel in (self.peers, self.ports) for number in kernel.keys()["policy"].tolist()}
        return {number >> 1 for number in halves}

    def rows(self, number: int | None = None) -> list[Row]:
        """Rows with their counters, of one policy or of all; in the order in which they would be looked at."""
        found = [
            _row(policy, identity, 0, None, 0, value)
            for (policy, identity), value in _entries(self.peers, _PEER_KEY, number)
        ]
        for (policy, identity, port, protocol, bits), value in _entries(self.ports, _PORT_KEY, number):
            found.append(_row(policy, identity, protocol, _swapped(port), bits, value))
        return sorted(found, key=_order)

    def peer_rows(self) -> list[tuple[int, Direction, int, Verdict, int, int]]:
        """Every peer's row without counters: number, direction, identity, verdict, rule, classes."""
        keys, values = self.peers.items()
        columns = (keys["policy"], keys["identity"], values["verdict"], values["rule"], values["classes"])
        return [
            (
                policy >> 1,
                Direction.EGRESS if policy & 1 else Direction.INGRESS,
                identity,
                Verdict(verdict),
                rule,
                found,
            )
            for policy, identity, verdict, rule, found in zip(*(one.tolist() for one in columns), strict=True)
        ]

    # -- inside

    def _remove_halves(self, halves: list[int]) -> int:
        """Peers go first: without them nobody looks at ports."""
        gone, wanted = 0, np.sort(np.asarray(halves, np.uint64))
        for kernel in (self.peers, self.ports):
            keys = kernel.keys()
            mask = member(keys["policy"].astype(np.uint64), wanted)
            if mask.any():
                gone += kernel.delete(keys[mask])
        return gone


def classes(ports: Iterable[PortRow]) -> int:
    """The field ``classes`` of a peer's row: bit n is set when there are ports with a prefix of n bits."""
    found = 0
    for row in ports:
        found |= 1 << row.prefix_bits
    return found


def _peer_value(rows: PeerRows) -> bytes:
    return _PEER.pack(0, 0, classes(rows.ports), rows.rule, rows.verdict)


def _port_key(key: int, identity: int, row: PortRow) -> bytes:
    return _PORT_KEY.pack(key, identity, _swapped(row.port), row.protocol, row.prefix_bits)


def _swapped(port: int) -> int:
    """A port in network order, as a number of this machine, or back."""
    return socket.htons(port)


def _packed_peers(kernel: Map, peers: list[tuple[int, int, PeerRows]]) -> tuple[Records, Records]:
    keys = b"".join([_PEER_KEY.pack(key, identity) for key, identity, _ in peers])
    values = b"".join([_peer_value(rows) for _, _, rows in peers])
    return np.frombuffer(keys, kernel.key_dtype), np.frombuffer(values, kernel.value_dtype)


def _packed_ports(kernel: Map, ports: list[tuple[int, int, PortRow]]) -> tuple[Records, Records]:
    keys = b"".join([_port_key(key, identity, row) for key, identity, row in ports])
    values = b"".join([_PORT.pack(0, 0, row.rule, 0, row.verdict) for _, _, row in ports])
    return np.frombuffer(keys, kernel.key_dtype), np.frombuffer(values, kernel.value_dtype)


def _entries(kernel: Map, key: struct.Struct, number: int | None) -> Iterable[tuple[tuple[int, ...], Records]]:
    keys, values = kernel.items()
    if number is not None:
        mask = keys["policy"] >> 1 == number
        keys, values = keys[mask], values[mask]
    return zip(key.iter_unpack(keys.tobytes()), values, strict=True)


def _row(policy: int, identity: int, protocol: int, port: int | None, bits: int, value: Records) -> Row:  # noqa: PLR0917
    direction = Direction.EGRESS if policy & 1 else Direction.INGRESS
    return Row(
        policy >> 1, direction, identity, protocol, port, bits, Verdict(int(value["verdict"])), int(value["rule"]),
        int(value["packets"]), int(value["bytes"]),
    )  # fmt: skip


def _order(row: Row) -> tuple[int, ...]:
    """By policy, direction and peer; the peer that stands for any last; ports before what holds without one."""
    port = (0, 0, 0) if row.port is None else (-row.prefix_bits - 1, row.protocol, row.port)
    return (row.number, row.direction == Direction.EGRESS, not row.identity, row.identity, *port)


def _check_layout(peers: Map, ports: Map) -> None:
    """The packing above against the maps' own BTF."""
    key = np.frombuffer(_PORT_KEY.pack(1, 2, _swapped(3), 4, 5), ports.key_dtype)[0]
    told = tuple(int(key[name]) for name in ("policy", "identity", "port", "protocol", "prefix_bits"))
    assert told == (1, 2, 3, 4, 5), "struct gh_policy_port_key and maps/policy.py differ"
    port = np.frombuffer(_PORT.pack(1, 2, 3, 4, 5), ports.value_dtype)[0]
    assert tuple(int(port[name]) for name in ("packets", "bytes", "rule", "verdict")) == (1, 2, 3, 5), "gh_policy_port"
    peer_key = np.frombuffer(_PEER_KEY.pack(1, 2), peers.key_dtype)[0]
    assert (int(peer_key["policy"]), int(peer_key["identity"])) == (1, 2), "struct gh_policy_peer_key differs"
    peer = np.frombuffer(_PEER.pack(1, 2, 3, 4, 5), peers.value_dtype)[0]
    names = ("packets", "bytes", "classes", "rule", "verdict")
    assert tuple(int(peer[name]) for name in names) == (1, 2, 3, 4, 5), "struct gh_policy_peer differs"

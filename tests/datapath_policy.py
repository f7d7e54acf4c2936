"""Policies for packet tests: rows in short form, endpoints put under them, and a model of the look-up in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import datapath as dp
import packets as pk
from datapath_node import LO, STRANGER
from glasshive.bpf.layout import dtype_of
from glasshive.bpf.ring import RingBuffer
from glasshive.maps import policy
from glasshive.maps.policy import PolicyMaps
from glasshive.model.policy import Direction, PeerRows, PortRow, Verdict

ALLOW, DEFAULT, DENY = Verdict.ALLOW, Verdict.DENY_DEFAULT, Verdict.DENY_RULE
TCP, UDP, SCTP, ICMP, ICMPV6, GRE = 6, 17, 132, 1, 58, 47
NONE, L3_ONLY, L3_L4, L4_ONLY, ALL, L3_PROTO, PROTO_ONLY = range(7)

IDENTITIES = {"client": 1001, "server": 1002, "stranger": 1003, "remote": 2001, "other-node": 6}
WORLD = {4: 9, 6: 10}
DEVICES = {"client": LO, "server": LO, "stranger": STRANGER, "node": 2, "router": 3}
"""Client and server are behind the same device, so that packets of both directions can pass from_pod."""
FLAGS = dp.NODE_MASQUERADE | dp.NODE_IPV4 | dp.NODE_IPV6 | dp.NODE_ALLOW_LOCALHOST | dp.NODE_VERDICT_RECORDS

Rows = Mapping[int, PeerRows]


def port(protocol: int, number: int, verdict: Verdict = ALLOW, *, bits: int = 16, rule: int = 7) -> PortRow:
    """One port row; ``bits`` below 16: a range that begins at ``number``."""
    return PortRow(protocol, number, bits, verdict, rule)


def peer(*ports: PortRow, verdict: Verdict = DEFAULT, rule: int = 3) -> PeerRows:
    """All rows of a peer."""
    return PeerRows(verdict, rule, ports)


def span(protocol: int, first: int, last: int, verdict: Verdict = ALLOW) -> list[PortRow]:
    """A range of ports in as few prefixes as possible."""
    rows = []
    while first <= last:
        size = first & -first or 65536
        while first + size - 1 > last:
            size //= 2
        rows.append(port(protocol, first, verdict, bits=17 - size.bit_length()))
        first += size
    return rows


def maps(path: dp.Datapath) -> PolicyMaps:
    """The typed maps of a loaded datapath."""
    return PolicyMaps(*(path.maps[name] for name in policy.NAMES))


def place(path: dp.Datapath, who: str, policy: int = 0, flags: int = 0) -> None:
    """Write a member of the cast that lives on the node, under a policy or under none."""
    host = {"node": dp.HOST, "router": dp.HOST | dp.ROUTER}.get(who, 0)
    number = list(DEVICES).index(who) + 1
    for family in pk.FAMILIES:
        path.add_endpoint(pk.address(who, family), DEVICES[who], identity=IDENTITIES.get(who, 1), number=number,
                          flags=flags | host, policy=policy)  # fmt: skip


def enforce(path: dp.Datapath, who: str, number: int, *, ingress: Rows | None = None, egress: Rows | None = None,
            audit: bool = False) -> None:  # fmt: skip
    """Put somebody under a policy with these rows, and have all connections judged again."""
    table = maps(path)
    flags = dp.AUDIT if audit else 0
    for direction, rows, flag in (
        (Direction.INGRESS, ingress, dp.INGRESS_ENFORCED), (Direction.EGRESS, egress, dp.EGRESS_ENFORCED),
    ):  # fmt: skip
        if rows is not None:
            table.write_policy(number, direction, rows)
            flags |= flag
    place(path, who, number, flags)
    table.bump_revision()


def release(path: dp.Datapath) -> None:
    """Nobody is under any policy, nothing is remembered."""
    table = maps(path)
    table.remove_policies(table.numbers())
    path.clear("conntrack", "nat", "fragments", "drops")
    for who in DEVICES:
        place(path, who)


class Records:
    """The ring of records, read as it grows."""

    def __init__(self, path: dp.Datapath) -> None:
        self._ring = RingBuffer(path.maps["events"], dtype_of(path.btf, "gh_record"))

    def take(self) -> list[dict[str, Any]]:
        """What has come since the last time, field by field."""
        return [{name: record[name] for name in record.dtype.names} for record in self._ring.take()]

    def close(self) -> None:
        self._ring.close()


class Judgement(NamedTuple):
    verdict: Verdict
    match: int
    rule: int
    row: tuple[int, ...]
    """Key of the row that decided and counts: (identity,) or (identity, protocol, port, bits); () for none."""


def judged(rows: Rows, identity: int, protocol: int, number: int) -> Judgement:
    """What the two look-ups say: the model that the programs are compared with."""
    owner = identity if identity in rows else 0
    if owner not in rows:
        return Judgement(DEFAULT, NONE, 0, ())
    for bits in range(16, -1, -1):
        masked = number >> (16 - bits) << (16 - bits)
        for row in rows[owner].ports:
            if (row.protocol, row.prefix_bits, row.port) == (protocol, bits, masked):
                match = (L3_L4 if bits else L3_PROTO) if owner else (L4_ONLY if bits else PROTO_ONLY)
                return Judgement(row.verdict, match, row.rule, (owner, protocol, masked, bits))
    found = rows[owner]
    match = NONE if found.verdict == DEFAULT else L3_ONLY if owner else ALL
    return Judgement(found.verdict, match, found.rule, (owner,))

"""Services for packet tests: frontends and backends as an agent would write them, and what a walk makes of a packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

import datapath as dp
import packets as pk
from glasshive.bpf import Map
from glasshive.bpf.uapi import MapType
from glasshive.model.address import is_ipv4, parse

CLUSTER_IP, NODE_PORT, EXTERNAL_IP, LOAD_BALANCER, HOST_PORT, LOCAL_REDIRECT = 1, 2, 3, 4, 5, 6
AFFINITY, SOURCE_RANGES, SOURCE_DENY, EXTERNAL_LOCAL, REJECT, ROUTABLE, MAGLEV = 1, 2, 4, 8, 64, 128, 256
ACTIVE, TERMINATING, QUARANTINED, GONE = 0, 1, 2, 4
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
VIP = {4: "10.96.0.10", 6: "fd00:96::10"}
OTHER_VIP = {4: "10.96.0.11", 6: "fd00:96::11"}
ANY = {4: "0.0.0.0", 6: "::"}
MAPS = ("frontends", "affinity", "source_ranges", "conntrack", "nat", "fragments", "drops")

Place = tuple[str, int]
"""A backend: a member of the cast of ``packets``, and its port."""


@dataclass
class Services:
    """Numbers that are given out as an agent would: no number twice."""

    path: dp.Datapath
    backends: int = 0
    slots: int = 0
    frontends: int = 0
    numbers: dict[tuple[Place, int], int] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget all services and connections."""
        self.path.clear(*MAPS)
        self.backends = self.slots = self.frontends = 0
        self.numbers = {}

    def backend(self, place: Place, family: int, kind: str, state: int = ACTIVE) -> int:
        """Write a backend; its number."""
        who, port = place
        number = self.numbers.get((place, family))
        if number is None:
            self.backends += 1
            number = self.numbers[place, family] = self.backends
        self.path.maps["backends"].update([number], [{
            "addr": parse(pk.address(who, family)), "port": port, "protocol": PROTOCOLS[kind], "state": state,
            "flags": int(who in ("client", "server", "stranger", "node")), "weight": 1,
        }])  # fmt: skip
        return number

    def run_of(self, numbers: Sequence[int]) -> dict[str, int]:
        """Write a set of backends."""
        first = self.slots
        self.slots += len(numbers)
        if numbers:
            self.path.maps["backend_slots"].update(list(range(first, self.slots)), list(numbers))
        return {"first": first, "count": len(numbers), "table": 0}

    def add(self, address: str, port: int, kind: str, places: Sequence[Place], *,
            external: Sequence[Place] | None = None, type_: int = CLUSTER_IP, flags: int = 0, affinity_s: int = 0,
            table: int = 0, number: int = 0) -> int:  # fmt: skip
        """Write a frontend with its backends; its id."""
        family = 4 if is_ipv4(parse(address)) else 6
        inside = self.run_of([self.backend(each, family, kind) for each in places])
        outside = inside if external is None else self.run_of([self.backend(each, family, kind) for each in external])
        if not number:
            self.frontends += 1
            number = self.frontends
        value = {
            "sets": [inside, {**outside, "table": table}], "id": number, "affinity_s": affinity_s, "flags": flags,
            "type": type_,
        }  # fmt: skip
        row = np.zeros(1, self.path.maps["frontends"].value_dtype)
        for name, content in value.items():
            if name != "sets":
                row[name] = content
        for at, made in enumerate(value["sets"]):
            for name, content in made.items():
                row["sets"][0, at][name] = content
        key = {"addr": parse(address), "port": port, "protocol": PROTOCOLS[kind]}
        self.path.maps["frontends"].update([key], row)
        return number

    def source_range(self, frontend: int, prefix: str) -> None:
        """Write one prefix of a frontend's source ranges."""
        text, _, length = prefix.partition("/")
        address = parse(text)
        bits = 32 + int(length) + (96 if is_ipv4(address) else 0)
        self.path.maps["source_ranges"].update([{"prefixlen": bits, "frontend": frontend, "addr": address}], [1])

    def maglev(self, table: int, slots: Sequence[int]) -> None:
        """Write a Maglev table, numbers of backends by slot."""
        rows = -(-len(slots) // 16)
        padded = np.zeros(rows * 16, np.uint32)
        padded[: len(slots)] = slots
        with Map.create(MapType.ARRAY, 4, 64, rows, name="maglev_table", flags=1 << 12) as made:
            made.update(np.arange(rows, dtype=np.uint32), padded.view("V64"))
            self.path.maps["maglev_tables"].update([table], [made.fd])


def call(kind: str, src: str, dst: str, family: int, *, sport: int = 40_001, dport: int = 80, ttl: int = 64,
         flags: str = "S") -> pk.Packet:  # fmt: skip
    """A packet of a kind from ``PROTOCOLS``; TCP opens unless told otherwise."""
    if kind == "tcp":
        return pk.tcp(src, dst, family, sport=sport, dport=dport, flags=flags, ttl=ttl)
    return getattr(pk, kind)(src, dst, family, sport=sport, dport=dport, ttl=ttl)


def ends(packet: pk.Packet) -> tuple[str, int, str, int]:
    """(source, its port, destination, its port) of a frame."""
    l3 = packet.payload
    return (l3.src, int(l3.payload.sport), l3.dst, int(l3.payload.dport))

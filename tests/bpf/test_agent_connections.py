"""Housekeeping on the real maps: what expires, what is orphaned, what a departed pod leaves."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from glasshive.agent import objects
from glasshive.agent.config import objects_directory
from glasshive.agent.connections import Connections
from glasshive.agent.objects import Objects
from glasshive.errors import NotFoundError
from glasshive.maps.nat import CALL, REPLY
from glasshive.maps.render import rows_of
from glasshive.model.address import Prefix, parse

pytestmark = pytest.mark.root

PINS = Path("/sys/fs/bpf/glasshive/f-connections")
SECOND = 1_000_000_000
POD, WORLD, NODE = "10.244.1.5", "203.0.113.10", "172.30.0.11"
TCP, OPENING, ESTABLISHED, CLOSING = 6, 1, 2, 3
OUT, IN, HOST = 0, 1, 1


@pytest.fixture
def loaded() -> Iterator[Objects]:
    yield objects.load(objects_directory(), PINS, lambda _: {"device_ifindex": 2}, tunnel=True, map_entries={})
    subprocess.run(["rm", "-rf", str(PINS)], check=True)


def now() -> int:
    return time.monotonic_ns()


def track(loaded: Objects, low: str, low_port: int, high: str, high_port: int, *, state: int, age: float) -> None:
    key = {"low": parse(low), "high": parse(high), "low_port": low_port, "high_port": high_port, "protocol": TCP}
    seen = max(0, now() - int(age * SECOND))
    loaded.maps["conntrack"].update(key, {"seen_ns": seen, "created_ns": seen, "state": state})


def translate(loaded: Objects, pod_port: int, node_port: int, age: float = 60, pod: str = POD) -> None:
    created = {"created_ns": max(0, now() - int(age * SECOND))}
    nat = loaded.maps["nat"]
    there = {"src": parse(pod), "dst": parse(WORLD), "sport": pod_port, "dport": 80, "protocol": TCP, "direction": OUT}
    nat.update(there, {"addr": parse(NODE), "port": node_port, **created})
    back = {"src": parse(WORLD), "dst": parse(NODE), "sport": 80, "dport": node_port, "protocol": TCP, "direction": IN}
    nat.update(back, {"addr": parse(pod), "port": pod_port, **created})


def ports(loaded: Objects) -> set[int]:
    return {row["low_port"] for row in rows_of(loaded.maps["conntrack"])}


def translated(loaded: Objects) -> list[int]:
    return sorted(row["sport"] for row in rows_of(loaded.maps["nat"]) if row["direction"] == OUT)


def test_a_round_ends_what_was_silent_and_frees_its_ports(loaded: Objects) -> None:
    for port, state, age in ((1, ESTABLISHED, 1), (2, CLOSING, 11), (3, CLOSING, 1), (4, OPENING, 61), (5, OPENING, 1)):
        track(loaded, POD, port, WORLD, 80, state=state, age=age)
        translate(loaded, port, 50_000 + port)
    translate(loaded, 6, 50_006, age=1)
    found = Connections.of(loaded).collect()
    assert (found.connections, found.expired) == (5, 2)
    assert (found.translations, found.orphans) == (12, 4)
    assert ports(loaded) == {1, 3, 5}
    assert translated(loaded) == [1, 3, 5, 6], "the youngest stays although no connection is known yet"


def test_directions_are_those_of_the_programs(loaded: Objects) -> None:
    assert loaded.number("gh_nat_direction", "GH_NAT_CALL") == CALL
    assert loaded.number("gh_nat_direction", "GH_NAT_REPLY") == REPLY


def test_a_departed_pod_is_forgotten_and_nobody_else(loaded: Objects) -> None:
    other = "10.244.1.6"
    track(loaded, POD, 1, WORLD, 80, state=ESTABLISHED, age=1)
    track(loaded, other, 2, POD, 80, state=ESTABLISHED, age=1)
    track(loaded, other, 3, WORLD, 80, state=ESTABLISHED, age=1)
    translate(loaded, 1, 50_001)
    translate(loaded, 3, 50_003, pod=other)
    connections = Connections.of(loaded)
    connections.forget(frozenset([parse(POD)]))
    assert ports(loaded) == {3}
    assert translated(loaded) == [3]
    connections.forget_departed([Prefix.parse("10.244.1.0/24"), Prefix.parse("fd00::/64")], [parse(other)])
    assert ports(loaded) == {3}
    connections.forget_departed([Prefix.parse("10.244.1.0/24")], [])
    assert ports(loaded) == set()
    assert translated(loaded) == []


def test_a_full_table_takes_milliseconds(loaded: Objects) -> None:
    table = loaded.maps["conntrack"]
    count = 50_000
    keys = np.zeros(count, table.key_dtype)
    keys["low"]["bytes"] = np.frombuffer(parse(POD), np.uint8)
    keys["high"]["words"][:, 3] = np.arange(count)
    keys["protocol"] = TCP
    values = np.zeros(count, table.value_dtype)
    values["state"], values["seen_ns"] = ESTABLISHED, now()
    values["seen_ns"][::2] = 0
    values["state"][::2] = CLOSING
    table.update(keys, values)
    found = Connections.of(loaded).collect()
    assert found.connections == pytest.approx(count, rel=0.02), "an LRU map may evict a few early"
    assert found.expired == pytest.approx(count / 2, rel=0.02)
    assert found.milliseconds < 1000


def test_maps_are_taken_over_and_incompatible_ones_made_anew(loaded: Objects, caplog: pytest.LogCaptureFixture) -> None:
    track(loaded, POD, 1, WORLD, 80, state=ESTABLISHED, age=1)
    again = objects.load(objects_directory(), PINS, lambda _: {}, tunnel=False, map_entries={})
    assert again.maps["conntrack"].id == loaded.maps["conntrack"].id
    assert "conntrack" in again.taken_over
    assert "from_overlay" not in again.programs
    anew = objects.load(objects_directory(), PINS, lambda _: {}, tunnel=False, map_entries={"conntrack": 1024})
    assert anew.maps["conntrack"].id != loaded.maps["conntrack"].id
    assert anew.maps["conntrack"].max_entries == 1024
    assert "starting with empty maps" in caplog.text
    with pytest.raises(NotFoundError, match="no map nonsense"):
        objects.needed(anew, "maps", "nonsense")


def test_every_map_can_be_shown(loaded: Objects) -> None:
    track(loaded, POD, 1, "fd00::9", 80, state=ESTABLISHED, age=1)
    for one in loaded.maps.values():
        if one.info.key_size:
            rows_of(one)
    (row,) = rows_of(loaded.maps["conntrack"])
    assert (row["low"], row["high"], row["low_port"]) == (POD, "fd00::9", 1)
    assert rows_of(loaded.maps["conntrack"], limit=0) == []

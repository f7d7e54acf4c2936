"""The typed maps of policy: what is written is what is listed, in which order things happen, and what is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import datapath as dp
import datapath_policy as pol
from datapath_policy import ALLOW, DENY, TCP, UDP, peer, port
from glasshive.errors import ExhaustedError, UsageError
from glasshive.maps.policy import PolicyMaps, Row
from glasshive.model.policy import Direction, PortRow, Verdict

pytestmark = pytest.mark.root

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS


@pytest.fixture(scope="module")
def path() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config(), {"policy_peers": 512, "policy_ports": 512, "policy_rows": 32768}) as made:
        yield made


@pytest.fixture
def maps(path: dp.Datapath) -> PolicyMaps:
    found = pol.maps(path)
    found.remove_policies(found.numbers())
    return found


def test_rows_read_as_they_were_written(maps: PolicyMaps) -> None:
    maps.write_policy(7, INGRESS, {
        0: peer(rule=1),
        1001: peer(port(TCP, 80, rule=2), port(UDP, 4096, DENY, bits=4, rule=3), verdict=ALLOW, rule=4),
    })  # fmt: skip
    maps.write_policy(7, EGRESS, {2**24 + 5: peer(port(TCP, 0, bits=0))})
    assert maps.numbers() == {7}
    assert maps.rows(7) == maps.rows() == [
        Row(7, INGRESS, 1001, TCP, 80, 16, ALLOW, 2, 0, 0),
        Row(7, INGRESS, 1001, UDP, 4096, 4, DENY, 3, 0, 0),
        Row(7, INGRESS, 1001, 0, None, 0, ALLOW, 4, 0, 0),
        Row(7, INGRESS, 0, 0, None, 0, Verdict.DENY_DEFAULT, 1, 0, 0),
        Row(7, EGRESS, 2**24 + 5, TCP, 0, 0, ALLOW, 7, 0, 0),
        Row(7, EGRESS, 2**24 + 5, 0, None, 0, Verdict.DENY_DEFAULT, 3, 0, 0),
    ]  # fmt: skip
    assert maps.rows(8) == []


def test_policies_go_as_a_whole_and_alone(maps: PolicyMaps) -> None:
    for number in (1, 2, 3):
        for direction in Direction:
            maps.write_policy(number, direction, {0: peer(port(TCP, 80)), 5: peer()})
    assert maps.remove_policy(2) == 6
    assert maps.numbers() == {1, 3}
    assert maps.remove_policies([1, 3, 9]) == 12
    assert maps.rows() == []


@pytest.mark.parametrize("count", [0, 3, 40])
def test_a_peer_comes_and_goes(maps: PolicyMaps, count: int) -> None:
    maps.write_policy(1, INGRESS, {0: peer()})
    rows = peer(*[port(TCP, number) for number in range(count)], verdict=ALLOW)
    maps.add_peer(1, INGRESS, 500, rows)
    assert [(row.identity, row.port) for row in maps.rows(1)] == [
        *[(500, number) for number in range(count)], (500, None), (0, None),
    ]  # fmt: skip
    assert maps.remove_peer(1, INGRESS, 500, rows.ports) == count + 1
    assert [row.identity for row in maps.rows(1)] == [0]
    assert maps.remove_peer(1, INGRESS, 500, rows.ports) == 0


class Watched:
    """A table whose changes are written down."""

    def __init__(self, table: Any, name: str, log: list[tuple[str, str]]) -> None:
        self._table, self._name, self._log = table, name, log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def __contains__(self, key: int) -> bool:
        return key in self._table

    def put(self, key: int, value: int) -> None:
        self._log.append((self._name, "write"))
        self._table.put(key, value)

    def delete(self, key: int) -> bool:
        self._log.append((self._name, "delete"))
        return bool(self._table.delete(key))


def test_ports_are_there_before_the_peer_and_after(maps: PolicyMaps) -> None:
    log: list[tuple[str, str]] = []
    maps._peers, maps._ports = Watched(maps._peers, "peers", log), Watched(maps._ports, "ports", log)  # type: ignore[assignment]
    maps.write_policy(1, INGRESS, {9: peer(port(TCP, 80))})
    maps.remove_policy(1)
    maps.add_peer(1, INGRESS, 9, peer(port(TCP, 80)))
    maps.remove_peer(1, INGRESS, 9, [port(TCP, 80)])
    assert log == [("ports", "write"), ("peers", "write"), ("peers", "delete"), ("ports", "delete")] * 2


def test_the_next_one_to_open_the_tables_finds_everything(path: dp.Datapath, maps: PolicyMaps) -> None:
    """Rows, counters and what is free: an agent that comes back goes on where the last one stopped."""
    maps.write_policy(1, INGRESS, {0: peer(verdict=DENY), 9: peer(port(TCP, 80), port(UDP, 0, bits=0))})
    maps.put_ports([(2, 77, TCP, 1, 16, ALLOW, 7)])  # cut short: ports without a peer
    again = pol.maps(path)
    assert again.rows() == [row for row in maps.rows() if row.identity != 77]
    assert sorted(again.peer_rows()) == sorted(maps.peer_rows())
    again.write_policy(2, EGRESS, {5: peer(port(TCP, 443))})
    assert [row.rule for row in again.rows(2)] == [7, 3]
    assert again.remove_policies([1, 2]) == 6
    assert pol.maps(path).rows() == []


def test_a_policy_that_does_not_fit_leaves_nothing(maps: PolicyMaps) -> None:
    maps.write_policy(1, INGRESS, {0: peer()})
    many = {number: peer() for number in range(1, 5000)}
    with pytest.raises(ExhaustedError, match=r"policy_peers is full: .* of at most 4096"):
        maps.write_policy(2, INGRESS, many)
    ports = peer(*[PortRow(TCP, number, 16, ALLOW, 1) for number in range(5000)])
    with pytest.raises(ExhaustedError, match="policy_ports is full"):
        maps.write_policy(2, INGRESS, {1: ports})
    assert maps.numbers() == {1}


def test_three_quarters_always_fit() -> None:
    """What the size of a table promises, for the keys that occur: identities in a row, and ports."""
    with dp.loaded(dp.config(), {"policy_peers": 1024, "policy_ports": 1024, "policy_rows": 32768}) as path:
        maps = pol.maps(path)
        for number in range(1, 13):
            maps.write_policy(number, INGRESS, {first: peer() for first in range(256, 256 + 512)})
        maps.add_peer(20, EGRESS, 1, peer(*[PortRow(TCP, number, 16, ALLOW, 1) for number in range(6000)]))
        assert len(maps.rows()) == 12 * 512 + 6001


def test_rows_rest_before_they_are_used_again() -> None:
    """A packet may be on its way with a row's number: the next owner gets another row."""
    with dp.loaded(dp.config(), {"policy_rows": 4}) as path:
        maps = pol.maps(path)
        for _ in range(3):
            maps.add_peer(1, INGRESS, 9, peer())
            maps.remove_peer(1, INGRESS, 9, [])
        with pytest.raises(ExhaustedError, match="policy_rows is full: 3 rows"):
            maps.add_peer(1, INGRESS, 9, peer())


def test_revisions_move_and_never_mean_cut(maps: PolicyMaps) -> None:
    first = maps.revision()
    assert maps.bump_revision() == first + 1 == maps.revision()
    maps.state.update([0], [{"policy_revision": 2**32 - 2, "peer_mask": 511, "port_mask": 511}])
    assert maps.bump_revision() == 0
    assert int(maps.state.get(0)["peer_mask"]) == 511


def test_numbers_must_fit(maps: PolicyMaps) -> None:
    for number in (0, -1, 2**31):
        with pytest.raises(UsageError, match="policy number"):
            maps.write_policy(number, INGRESS, {0: peer()})


def test_entries_are_shown_as_those_of_other_maps(maps: PolicyMaps) -> None:
    maps.write_policy(3, EGRESS, {9: peer(port(TCP, 80, rule=2), verdict=DENY, rule=4)})
    assert maps.entries("policy_peers") == [
        {"policy": 7, "identity": 9, "classes": 1 << 16, "packets": 0, "bytes": 0, "rule": 4, "verdict": 3}
    ]
    assert maps.entries("policy_ports") == [
        {"policy": 7, "identity": 9, "port": 80, "protocol": 6, "prefix_bits": 16, "packets": 0, "bytes": 0, "rule": 2,
         "verdict": 1}
    ]  # fmt: skip
    assert maps.entries("conntrack") is None

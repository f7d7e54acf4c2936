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
    with dp.loaded(dp.config(), {"policy_peers": 4096, "policy_ports": 4096}) as made:
        yield made


@pytest.fixture
def maps(path: dp.Datapath) -> PolicyMaps:
    path.clear("policy_peers", "policy_ports")
    return pol.maps(path)


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
    """A map whose changes are written down."""

    def __init__(self, kernel: Any, name: str, log: list[tuple[str, str]]) -> None:
        self._kernel, self._name, self._log = kernel, name, log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    def update(self, *given: Any) -> Any:
        self._log.append((self._name, "write"))
        return self._kernel.update(*given)

    def delete(self, *given: Any) -> Any:
        self._log.append((self._name, "delete"))
        return self._kernel.delete(*given)


def test_ports_are_there_before_the_peer_and_after(maps: PolicyMaps) -> None:
    log: list[tuple[str, str]] = []
    maps.peers, maps.ports = Watched(maps.peers, "peers", log), Watched(maps.ports, "ports", log)  # type: ignore[assignment]
    maps.write_policy(1, INGRESS, {9: peer(port(TCP, 80))})
    maps.remove_policy(1)
    assert log == [("ports", "write"), ("peers", "write"), ("peers", "delete"), ("ports", "delete")]


def test_a_policy_that_does_not_fit_leaves_nothing(maps: PolicyMaps) -> None:
    maps.write_policy(1, INGRESS, {0: peer()})
    many = {number: peer() for number in range(1, 5000)}
    with pytest.raises(ExhaustedError, match="policy_peers is full: 4096 entries"):
        maps.write_policy(2, INGRESS, many)
    ports = peer(*[PortRow(TCP, number, 16, ALLOW, 1) for number in range(5000)])
    with pytest.raises(ExhaustedError, match="policy_ports is full"):
        maps.write_policy(2, INGRESS, {1: ports})
    assert maps.numbers() == {1}


def test_revisions_move_and_never_mean_cut(maps: PolicyMaps) -> None:
    first = maps.revision()
    assert maps.bump_revision() == first + 1 == maps.revision()
    maps.state.update([0], [{"policy_revision": 2**32 - 2}])
    assert maps.bump_revision() == 0


def test_numbers_must_fit(maps: PolicyMaps) -> None:
    for number in (0, -1, 2**31):
        with pytest.raises(UsageError, match="policy number"):
            maps.write_policy(number, INGRESS, {0: peer()})

"""Columns of connections and translations: who is expired, orphaned, departed; and routes a node wants."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import pytest

from glasshive.agent.connections import LONGEST_SECONDS, SHORTEST_SECONDS, next_interval
from glasshive.maps import conntrack, nat
from glasshive.model.address import Prefix, parse
from glasshive.model.node import NodeFacts
from glasshive.node.config import Devices, node_config, pod_mtu
from glasshive.routing.desired import Route, Ways, desired

SECOND = 1_000_000_000
ADDRESS = np.dtype({"names": ["bytes", "quads"], "formats": [("u1", 16), ("u8", 2)], "offsets": [0, 0], "itemsize": 16})
CT_KEY = np.dtype(
    [
        ("low", ADDRESS),
        ("high", ADDRESS),
        ("low_port", ">u2"),
        ("high_port", ">u2"),
        ("protocol", "u1"),
        ("pad", "u1", 3),
    ]
)
CT_VALUE = np.dtype([("seen_ns", "u8"), ("state", "u1")])
NAT_KEY = np.dtype(
    [("src", ADDRESS), ("dst", ADDRESS), ("sport", ">u2"), ("dport", ">u2"), ("protocol", "u1"), ("direction", "u1")]
)
NAT_VALUE = np.dtype([("addr", ADDRESS), ("port", ">u2"), ("flags", "u2"), ("created_ns", "u8")])
OUT, IN, HOST = 0, 1, 1


class GhCtTimeout(IntEnum):
    GH_CT_TIMEOUT_TCP_OPENING_S = 60
    GH_CT_TIMEOUT_TCP_ESTABLISHED_S = 8000
    GH_CT_TIMEOUT_TCP_CLOSING_S = 10
    GH_CT_TIMEOUT_UDP_S = 60
    GH_CT_TIMEOUT_UDP_ESTABLISHED_S = 180
    GH_CT_TIMEOUT_ICMP_S = 30
    GH_CT_TIMEOUT_OTHER_S = 120


class GhCtState(IntEnum):
    GH_CT_OPENING = 1
    GH_CT_ESTABLISHED = 2
    GH_CT_CLOSING = 3


TIMEOUTS = conntrack.Timeouts.of(GhCtTimeout, GhCtState)


def connection(low: str, low_port: int, high: str, high_port: int, protocol: int) -> np.ndarray:
    row = np.zeros(1, CT_KEY)
    row["low"]["bytes"] = np.frombuffer(parse(low), np.uint8)
    row["high"]["bytes"] = np.frombuffer(parse(high), np.uint8)
    row["low_port"], row["high_port"], row["protocol"] = low_port, high_port, protocol
    return row


def joined(*rows: np.ndarray) -> np.ndarray:
    """Rows one after the other. (numpy's concatenate would pull overlapping fields apart.)"""
    return np.frombuffer(b"".join(row.tobytes() for row in rows), rows[0].dtype)


def translation(direction, src, sport, dst, dport, to, port, **more: int):  # noqa: PLR0917
    key, value = np.zeros(1, NAT_KEY), np.zeros(1, NAT_VALUE)
    for row, name, text in ((key, "src", src), (key, "dst", dst), (value, "addr", to)):
        row[name]["bytes"] = np.frombuffer(parse(text), np.uint8)
    key["sport"], key["dport"], key["protocol"], key["direction"] = sport, dport, 6, direction
    value["port"] = port
    for name, number in more.items():
        value[name] = number
    return key, value


@pytest.mark.parametrize(
    ("protocol", "state", "seconds"),
    [
        (6, GhCtState.GH_CT_OPENING, 60),
        (6, GhCtState.GH_CT_ESTABLISHED, 8000),
        (6, GhCtState.GH_CT_CLOSING, 10),
        (17, GhCtState.GH_CT_OPENING, 60),
        (17, GhCtState.GH_CT_ESTABLISHED, 180),
        (1, GhCtState.GH_CT_OPENING, 30),
        (58, GhCtState.GH_CT_ESTABLISHED, 30),
        (47, GhCtState.GH_CT_OPENING, 120),
    ],
)
def test_a_connection_ends_when_it_was_silent_for_its_time(protocol: int, state: int, seconds: int) -> None:
    keys = connection("10.0.0.1", 1, "10.0.0.2", 2, protocol)
    values = np.zeros(1, CT_VALUE)
    values["state"], values["seen_ns"] = state, 5 * SECOND
    assert not conntrack.expired(keys, values, (5 + seconds) * SECOND, TIMEOUTS)[0]
    assert conntrack.expired(keys, values, (5 + seconds) * SECOND + 1, TIMEOUTS)[0]
    assert not conntrack.expired(keys, values, 4 * SECOND, TIMEOUTS)[0], "seen after the clock was read"


def test_a_connection_s_hash_does_not_depend_on_the_order_of_its_ends() -> None:
    one = connection("10.0.0.1", 4000, "fd00::2", 80, 6)
    other = connection("fd00::2", 80, "10.0.0.1", 4000, 6)
    swapped_ports = connection("10.0.0.1", 80, "fd00::2", 4000, 6)
    udp = connection("10.0.0.1", 4000, "fd00::2", 80, 17)
    assert conntrack.hashes(one) == conntrack.hashes(other)
    assert conntrack.hashes(one) != conntrack.hashes(swapped_ports)
    assert conntrack.hashes(one) != conntrack.hashes(udp)


def test_many_connections_have_many_hashes() -> None:
    rng = np.random.default_rng(1)
    keys = np.frombuffer(rng.bytes(CT_KEY.itemsize * 20_000), CT_KEY)
    assert len(set(conntrack.hashes(keys).tolist())) == 20_000


def test_membership_is_exact() -> None:
    wanted = np.sort(np.array([3, 9, 2**63], np.uint64))
    assert conntrack.member(np.array([3, 4, 9, 2**64 - 1, 2**63, 0], np.uint64), wanted).tolist() == [
        True, False, True, False, True, False,
    ]  # fmt: skip
    assert conntrack.member(np.array([1], np.uint64), wanted[:0]).tolist() == [False]


def test_connections_of_pods_are_found_at_either_end() -> None:
    keys = joined(
        connection("10.244.1.5", 1, "10.244.2.9", 2, 6),
        connection("10.0.0.1", 1, "10.244.1.5", 2, 6),
        connection("10.0.0.1", 1, "10.244.1.6", 2, 6),
    )
    assert conntrack.touching(keys, conntrack.among([parse("10.244.1.5")])).tolist() == [True, True, False]
    assert conntrack.touching(keys, conntrack.among([])).tolist() == [False] * 3
    assert conntrack.touching(keys, conntrack.inside(Prefix.parse("10.244.2.0/24"))).tolist() == [True, False, False]
    assert conntrack.touching(keys, conntrack.inside(Prefix.parse("fd00::/48"))).tolist() == [False] * 3


def table(*rows: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return joined(*(key for key, _ in rows)), joined(*(value for _, value in rows))


def test_translations_live_as_long_as_their_connection() -> None:
    live = np.sort(conntrack.hashes(connection("10.244.1.5", 4000, "203.0.113.10", 80, 6)))
    keys, values = table(
        translation(OUT, "10.244.1.5", 4000, "203.0.113.10", 80, "172.30.0.11", 50000),
        translation(IN, "203.0.113.10", 80, "172.30.0.11", 50000, "10.244.1.5", 4000),
        translation(OUT, "10.244.1.5", 4001, "203.0.113.10", 80, "172.30.0.11", 50001),
        translation(IN, "203.0.113.10", 80, "172.30.0.11", 50001, "10.244.1.5", 4001),
        translation(OUT, "10.244.1.5", 4002, "203.0.113.10", 80, "172.30.0.11", 50002, created_ns=3600 * SECOND),
        translation(IN, "203.0.113.10", 80, "172.30.0.11", 50003, "172.30.0.11", 50003, flags=HOST),
    )
    found = nat.orphans(keys, values, live, 3605 * SECOND, direction_in=IN, host_flag=HOST)
    assert found.tolist() == [False, False, True, True, False, True]
    early = nat.orphans(keys, values, live, 3000 * SECOND, direction_in=IN, host_flag=HOST)
    assert not early[5], "a port of the node's own stays reserved for an hour"


def test_translations_of_a_pod_are_found_in_both_directions() -> None:
    keys, values = table(
        translation(OUT, "10.244.1.5", 4000, "203.0.113.10", 80, "172.30.0.11", 50000),
        translation(IN, "203.0.113.10", 80, "172.30.0.11", 50000, "10.244.1.5", 4000),
        translation(IN, "203.0.113.10", 80, "172.30.0.11", 50001, "10.244.1.6", 4000),
    )
    assert nat.of_pods(keys, values, conntrack.among([parse("10.244.1.5")]), IN).tolist() == [True, True, False]


def test_a_services_translations_belong_to_caller_and_backend() -> None:
    live = np.sort(conntrack.hashes(connection("203.0.113.10", 4000, "10.244.1.5", 8080, 6)))
    keys, values = table(
        translation(nat.CALL, "203.0.113.10", 4000, "10.96.0.1", 80, "10.244.1.5", 8080),
        translation(nat.REPLY, "10.244.1.5", 8080, "203.0.113.10", 4000, "10.96.0.1", 80),
        translation(OUT, "203.0.113.10", 4000, "10.244.1.5", 8080, "172.30.0.11", 50000),
        translation(nat.CALL, "203.0.113.10", 4001, "10.96.0.1", 80, "10.244.1.5", 8080),
        translation(nat.REPLY, "10.244.1.5", 8080, "203.0.113.10", 4001, "10.96.0.1", 80),
        translation(nat.CALL, "203.0.113.10", 4000, "10.96.0.1", 80, "10.244.1.6", 8080),
    )
    found = nat.orphans(keys, values, live, 3600 * SECOND, direction_in=IN, host_flag=HOST)
    assert found.tolist() == [False, False, False, True, True, True]
    backend = nat.of_pods(keys, values, conntrack.among([parse("10.244.1.5")]), IN)
    assert backend.tolist() == [True, True, False, True, True, False]
    caller = nat.of_pods(keys, values, conntrack.among([parse("203.0.113.10")]), IN)
    assert caller.tolist() == [True] * 6


def test_the_interval_follows_what_was_found() -> None:
    assert next_interval(8, 100, 50) == 4
    assert next_interval(8, 100, 10) == 8
    assert next_interval(8, 100, 1) == 12
    assert next_interval(8, 0, 0) == 12
    assert next_interval(2, 100, 100) == SHORTEST_SECONDS
    assert next_interval(59, 0, 0) == LONGEST_SECONDS


NODES = [
    NodeFacts(
        "node1", (parse("172.30.0.11"), parse("fd30::b")), (Prefix.parse("10.244.1.0/24"), Prefix.parse("fd00::/64"))
    ),
    NodeFacts("node2", (parse("172.30.0.12"),), (Prefix.parse("10.244.2.0/24"), Prefix.parse("fd00:0:0:1::/64"))),
]


def test_native_routes_lead_to_the_other_node_s_address_of_the_same_family() -> None:
    routes = desired(NODES, "node1", Ways(2, 90001, tunnel=False, pod_mtu=1500))
    assert {str(prefix): route for prefix, route in routes.items()} == {
        "10.244.1.0/24": Route(90001, source=parse("10.244.1.1")),
        "fd00::/64": Route(90001, source=parse("fd00::1")),
        "10.244.2.0/24": Route(2, gateway=parse("172.30.0.12")),
    }, "node2 has no IPv6 address, so its IPv6 prefix cannot be reached"


def test_tunnelled_prefixes_lead_to_the_own_door() -> None:
    routes = desired(NODES, "node1", Ways(2, 90001, tunnel=True, pod_mtu=1450))
    assert routes[Prefix.parse("10.244.2.0/24")] == Route(90001, source=parse("10.244.1.1"), mtu=1450)
    assert routes[Prefix.parse("fd00:0:0:1::/64")] == Route(90001, source=parse("fd00::1"), mtu=1450)


def test_mtu_of_pods() -> None:
    assert pod_mtu(1500, tunnel=False, underlay_ipv4=True) == 1500
    assert pod_mtu(1500, tunnel=True, underlay_ipv4=True) == 1450
    assert pod_mtu(1500, tunnel=True, underlay_ipv4=False) == 1430
    with pytest.raises(Exception, match="IPv6 needs 1280"):
        pod_mtu(1300, tunnel=True, underlay_ipv4=False)


def test_node_config_names_what_the_programs_must_know() -> None:
    flags = {"GH_NODE_TUNNEL": 1, "GH_NODE_MASQUERADE": 2, "GH_NODE_IPV4": 4, "GH_NODE_IPV6": 8,
             "GH_NODE_ALLOW_LOCALHOST": 16, "GH_NODE_VERDICT_RECORDS": 32}  # fmt: skip
    made = Devices(2, b"\2\0\0\0\0\1", 1500, 90001, 90002)
    told = node_config(NODES[0], made, flags, tunnel=True, masquerade=True, families=["ipv4", "ipv6"])
    assert told["flags"] == 63
    assert (told["device_ifindex"], told["host_ifindex"], told["overlay_ifindex"]) == (2, 90001, 90002)
    assert told["overlay_port"] == 8472
    assert told["router_ipv4"] == parse("10.244.1.1")
    single = node_config(NODES[1], made, flags, tunnel=False, masquerade=False, families=["ipv4"],
                         allow_localhost=False, verdict_records=False)  # fmt: skip
    assert single["flags"] == 4
    assert single["overlay_port"] == 0
    assert single["node_ipv6"] == bytes(16)

"""Masquerade: ports never collide, answers restore exactly what the pod sent, checksums hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import datapath as dp
import packets as pk
from datapath_node import EGRESS, LO, furnish
from packets import FAMILIES

pytestmark = pytest.mark.root

KINDS = ("tcp", "udp", "echo", "sctp")
PORTS = (40_000, 60_000)
FEW = (50_000, 50_015)


@pytest.fixture(scope="module")
def path() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config()) as made:
        furnish(made)
        for family in FAMILIES:  # a second pod that may send by the test's device
            made.add_endpoint(pk.address("server", family), LO, identity=1002)
        yield made


@pytest.fixture(scope="module")
def narrow() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config(nat_port_min=FEW[0], nat_port_max=FEW[1])) as made:
        furnish(made)
        for family in FAMILIES:
            made.add_endpoint(pk.address("server", family), LO, identity=1002)
        yield made


@pytest.fixture(autouse=True)
def _fresh(path: dp.Datapath, narrow: dp.Datapath) -> None:
    for each in (path, narrow):
        each.clear("conntrack", "nat", "fragments", "drops")


def build(kind: str, src: str, dst: str, family: int, port: int, *, dport: int = 53) -> pk.Packet:
    if kind == "echo":
        return pk.echo(src, dst, family, ident=port)
    return getattr(pk, kind)(src, dst, family, sport=port, dport=dport)


def l4(packet: pk.Packet) -> Any:
    return packet.payload.payload


def port_of(kind: str, packet: pk.Packet) -> int:
    return int(l4(packet).id if kind == "echo" else l4(packet).sport)


def answer_to(kind: str, sent: pk.Packet, family: int) -> pk.Packet:
    """What the world sends back to a packet that it got."""
    if kind == "echo":
        return pk.echo_reply(sent.payload.dst, sent.payload.src, family, ident=int(l4(sent).id))
    return pk.reply(sent, ttl=64)


def masqueraded(path: dp.Datapath, packet: pk.Packet) -> pk.Packet:
    ran = path.run("from_pod", bytes(packet))
    assert ran.retval == dp.REDIRECT
    assert pk.checksums_are_right(ran.data_out)
    return pk.Ether(ran.data_out)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(path: dp.Datapath, kind: str, family: int) -> None:
    packet = build(kind, "client", "world", family, 1234)
    sent = masqueraded(path, packet)
    assert (sent.payload.src, sent.payload.dst) == (pk.address("node", family), pk.address("world", family))
    port = port_of(kind, sent)
    assert port == 1234 if kind == "sctp" else PORTS[0] <= port <= PORTS[1]
    back = answer_to(kind, sent, family)
    ran = path.run("from_netdev", bytes(back))
    assert ran.retval == dp.REDIRECT
    assert pk.checksums_are_right(ran.data_out)
    expected = answer_to(kind, packet, family)
    assert ran.data_out == pk.delivered(expected)
    assert len(path.rows("conntrack")) == 1
    assert len(path.rows("nat")) == 2


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_port_in_the_range_is_kept(path: dp.Datapath, kind: str, family: int) -> None:
    assert port_of(kind, masqueraded(path, build(kind, "client", "world", family, 45_678))) == 45_678
    other = build(kind, "server", "world", family, 45_678)
    if kind == "sctp":  # its checksum covers the ports, so they cannot be changed
        assert path.run("from_pod", bytes(other)).retval == dp.SHOT
        assert path.drops() == {("GH_DROP_NAT_EXHAUSTED", EGRESS): 1}
    else:
        assert port_of(kind, masqueraded(path, other)) != 45_678


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_connection_keeps_its_port(path: dp.Datapath, family: int) -> None:
    ports = {port_of("udp", masqueraded(path, build("udp", "client", "world", family, 99))) for _ in range(5)}
    assert len(ports) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_an_evicted_answer_entry_is_claimed_again(path: dp.Datapath, family: int) -> None:
    packet = build("tcp", "client", "world", family, 99)
    port = port_of("tcp", masqueraded(path, packet))
    keys, _ = path.maps["nat"].items()
    path.maps["nat"].delete(keys[keys["direction"] == 1])
    assert port_of("tcp", masqueraded(path, packet)) == port
    assert len(path.rows("nat")) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_a_port_that_another_took_is_not_used_any_more(path: dp.Datapath, family: int) -> None:
    """The answer entry was evicted and given to another pod: the first one moves to a new port."""
    packet = build("tcp", "client", "world", family, 99)
    port = port_of("tcp", masqueraded(path, packet))
    keys, _ = path.maps["nat"].items()
    path.maps["nat"].delete(keys[keys["direction"] == 1])
    assert port_of("tcp", masqueraded(path, build("tcp", "server", "world", family, port))) == port
    assert port_of("tcp", masqueraded(path, packet)) != port


@pytest.mark.parametrize("family", FAMILIES)
def test_exhaustion_has_its_own_reason(narrow: dp.Datapath, family: int) -> None:
    room = FEW[1] - FEW[0] + 1
    ports = [
        port_of("udp", masqueraded(narrow, build("udp", "client", "world", family, n))) for n in range(1, room + 1)
    ]
    assert sorted(ports) == list(range(FEW[0], FEW[1] + 1))
    assert narrow.run("from_pod", bytes(build("udp", "client", "world", family, 9999))).retval == dp.SHOT
    assert narrow.drops() == {("GH_DROP_NAT_EXHAUSTED", EGRESS): 1}
    # another destination has all its ports still
    assert masqueraded(narrow, build("udp", "client", "moon", family, 9999))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_nodes_own_connection_is_not_given_away(narrow: dp.Datapath, family: int) -> None:
    own = build("tcp", "node", "world", family, FEW[0])
    assert narrow.run("to_netdev", bytes(own)).retval == dp.OK
    taken = {port_of("tcp", masqueraded(narrow, build("tcp", "client", "world", family, n))) for n in range(1, 16)}
    assert FEW[0] not in taken
    back = pk.reply(own)
    ran = narrow.run("from_netdev", bytes(back))
    assert (ran.retval, ran.data_out) == (dp.OK, bytes(back))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_node_may_not_take_a_pods_place(narrow: dp.Datapath, family: int) -> None:
    port = port_of("tcp", masqueraded(narrow, build("tcp", "client", "world", family, 1)))
    assert narrow.run("to_netdev", bytes(build("tcp", "node", "world", family, port))).retval == dp.SHOT
    assert narrow.drops() == {("GH_DROP_NAT_COLLISION", EGRESS): 1}


@pytest.mark.parametrize("family", FAMILIES)
def test_protocols_without_ports_cannot_share_an_address(path: dp.Datapath, family: int) -> None:
    packet = pk.ip("client", "world", family, **({"proto": 47} if family == 4 else {"nh": 47})) / pk.Raw(b"\0" * 8)
    assert path.run("from_pod", bytes(packet)).retval == dp.SHOT
    assert path.drops() == {("GH_DROP_NAT_UNSUPPORTED", EGRESS): 1}


def test_a_node_without_the_family() -> None:
    with dp.loaded(dp.config(node_ipv6="")) as path:
        furnish(path)
        assert path.run("from_pod", bytes(pk.udp("client", "world", 6))).retval == dp.SHOT
        assert path.drops() == {("GH_DROP_NAT_NO_ADDRESS", EGRESS): 1}


def test_without_masquerade_pods_keep_their_address() -> None:
    with dp.loaded(dp.config(flags=dp.NODE_IPV4 | dp.NODE_IPV6)) as path:
        furnish(path)
        packet = pk.udp("client", "world", 4)
        assert path.run("from_pod", bytes(packet)).data_out == pk.forwarded(packet)
        assert path.run("to_netdev", bytes(packet)).data_out == bytes(packet)


@pytest.mark.parametrize("zero", [True, False])
def test_udp_checksum_of_zero_stays(path: dp.Datapath, zero: bool) -> None:
    packet = pk.udp("client", "world", 4)
    raw = bytearray(bytes(packet))
    if zero:
        raw[40:42] = b"\0\0"
    out = path.run("from_pod", bytes(raw)).data_out
    assert (out[40:42] == b"\0\0") == zero


@pytest.mark.parametrize(("family", "quoted"), [(4, 28), (4, 48), (4, 500), (6, 48), (6, 500)])
@pytest.mark.parametrize("error", pk.ERRORS)
@pytest.mark.parametrize("kind", KINDS)
def test_errors_from_the_world_find_the_pod(path: dp.Datapath, kind: str, error: str, family: int, quoted: int) -> None:
    """Header, ports and checksums of the quoted packet become those that the pod sent."""
    packet = build(kind, "client", "world", family, 1234)
    sent = masqueraded(path, packet)
    complaint = pk.error(error, sent, src="moon", quoted=quoted)
    ran = path.run("from_netdev", bytes(complaint))
    assert ran.retval == dp.REDIRECT
    expected = pk.error(error, pk.Ether(pk.forwarded(packet)), src="moon", quoted=quoted)
    assert pk.checksums_are_right(ran.data_out)
    assert ran.data_out == pk.delivered(expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("error", pk.ERRORS)
@pytest.mark.parametrize("kind", ["tcp", "udp", "echo"])
def test_errors_to_the_world_come_from_the_node(path: dp.Datapath, kind: str, error: str, family: int) -> None:
    packet = build(kind, "client", "world", family, 1234)
    back = answer_to(kind, masqueraded(path, packet), family)
    got = pk.Ether(path.run("from_netdev", bytes(back)).data_out)
    complaint = pk.error(error, got, src="client", dst="world")
    ran = path.run("from_pod", bytes(complaint))
    assert ran.retval == dp.REDIRECT
    expected = pk.error(error, pk.Ether(pk.forwarded(back)), src="node", dst="world", ttl=63)
    expected.src, expected.dst = complaint.src, complaint.dst
    assert pk.checksums_are_right(ran.data_out)
    assert ran.data_out == bytes(expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_errors_about_nothing_are_the_nodes(path: dp.Datapath, family: int) -> None:
    complaint = bytes(pk.error("unreachable", build("tcp", "node", "world", family, 45_000), src="moon"))
    ran = path.run("from_netdev", complaint)
    assert (ran.retval, ran.data_out) == (dp.OK, complaint)


@pytest.mark.parametrize("family", FAMILIES)
def test_fragments_there_and_back(path: dp.Datapath, family: int) -> None:
    packet = pk.udp("client", "world", family, sport=1234, data=b"x" * 2500)
    sent = [masqueraded_fragment(path, each) for each in pk.fragments(packet)]
    assert {each.payload.src for each in sent} == {pk.address("node", family)}
    port = pk.UDP(bytes(sent[0])[34 if family == 4 else 62 :]).sport
    back = pk.fragments(pk.udp("world", "node", family, sport=53, dport=port, data=b"y" * 2500), ident=99)
    wanted = pk.fragments(pk.udp("world", "client", family, sport=53, dport=1234, data=b"y" * 2500), ident=99)
    for each, as_seen in zip(back, wanted, strict=True):
        ran = path.run("from_netdev", bytes(each))
        assert (ran.retval, ran.data_out) == (dp.REDIRECT, pk.delivered(as_seen))


def masqueraded_fragment(path: dp.Datapath, packet: pk.Packet) -> pk.Packet:
    ran = path.run("from_pod", bytes(packet))
    assert ran.retval == dp.REDIRECT
    return pk.Ether(ran.data_out)


flow = st.tuples(
    st.sampled_from(["client", "server"]), st.sampled_from(["world", "moon"]), st.sampled_from(["tcp", "udp", "echo"]),
    st.integers(1, 65535), st.sampled_from([53, 80]),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(family=st.sampled_from(FAMILIES), flows=st.lists(flow, min_size=1, max_size=40), evict=st.booleans())
def test_no_two_connections_share_an_answer(
    narrow: dp.Datapath, family: int, flows: list[tuple[str, str, str, int, int]], evict: bool
) -> None:
    """With sixteen ports for all: whoever gets through owns its answers, whoever does not is told so."""
    narrow.clear("nat", "conntrack", "drops")
    owner: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    refused = 0
    for number, each in enumerate(flows):
        src, dst, kind, port, dport = each
        key = (src, dst, kind, port, 0 if kind == "echo" else dport)
        packet = build(kind, src, dst, family, port, dport=dport)
        ran = narrow.run("from_pod", bytes(packet))
        if ran.retval == dp.SHOT:
            refused += 1
            continue
        assert pk.checksums_are_right(ran.data_out)
        sent = pk.Ether(ran.data_out)
        taken = (dst, kind, key[4], port_of(kind, sent))
        assert FEW[0] <= taken[3] <= FEW[1]
        assert owner.setdefault(taken, key) == key
        back = answer_to(kind, sent, family)
        restored = narrow.run("from_netdev", bytes(back))
        assert restored.retval == dp.REDIRECT
        assert restored.data_out == pk.delivered(answer_to(kind, packet, family))
        if evict and number % 3 == 0:  # the asking entry is only a memory: losing it must not break ownership
            keys, _ = narrow.maps["nat"].items()
            narrow.maps["nat"].delete(keys[keys["direction"] == 0][:1])
            owner = {}
            narrow.clear("nat")
    assert narrow.drops() == ({("GH_DROP_NAT_EXHAUSTED", EGRESS): refused} if refused else {})

"""from_pod and to_pod: what a pod may send, where it goes, and what it looks like when it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import datapath as dp
import packets as pk
from datapath_node import EGRESS, INGRESS, LO, furnish
from packets import FAMILIES

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def path() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config()) as made:
        furnish(made)
        yield made


@pytest.fixture(autouse=True)
def _fresh(path: dp.Datapath) -> None:
    path.clear("conntrack", "nat", "fragments", "drops")


Build = Callable[[int], pk.Packet]


@dataclass(frozen=True)
class Row:
    """One line of the table. ``out``: what the frame becomes, None when it is not to change."""

    what: str
    packet: Build
    verdict: int
    out: Callable[[pk.Packet], bytes] | None = None
    drop: str = ""
    families: tuple[int, ...] = FAMILIES
    connections: int = 1


def dropped(what: str, packet: Build, reason: str, families: tuple[int, ...] = FAMILIES, connections: int = 0) -> Row:
    return Row(what, packet, dp.SHOT, None, f"GH_DROP_{reason}", families, connections)


def broken(packet: pk.Packet, offset: int, value: bytes) -> bytes:
    raw = bytearray(bytes(packet))
    raw[offset : offset + len(value)] = value
    return bytes(raw)


TABLE = [
    Row("SYN to a pod of the node", lambda v: pk.tcp("client", "server", v, flags="S"), dp.REDIRECT, pk.delivered),
    Row(
        "data to a pod of the node", lambda v: pk.tcp("client", "server", v, data=b"x" * 900), dp.REDIRECT, pk.delivered
    ),
    Row("UDP to a pod of the node", lambda v: pk.udp("client", "server", v), dp.REDIRECT, pk.delivered),
    Row("SCTP to a pod of the node", lambda v: pk.sctp("client", "server", v), dp.REDIRECT, pk.delivered),
    Row("echo to a pod of the node", lambda v: pk.echo("client", "server", v), dp.REDIRECT, pk.delivered),
    Row(
        "a protocol without ports",
        lambda v: pk.ip("client", "server", v, **({"proto": 47} if v == 4 else {"nh": 47})) / pk.Raw(b"\0" * 8),
        dp.REDIRECT,
        pk.delivered,
    ),
    Row(
        "header options or extensions",
        lambda v: pk.with_options(pk.tcp("client", "server", v)),
        dp.REDIRECT,
        pk.delivered,
    ),
    Row("the pod itself", lambda v: pk.tcp("client", "client", v), dp.REDIRECT, pk.delivered),
    Row("the node's address", lambda v: pk.tcp("client", "node", v, flags="S"), dp.OK),
    Row("the gateway's address", lambda v: pk.echo("client", "router", v), dp.OK),
    Row("an address that no pod has: the stack decides", lambda v: pk.udp("client", "nobody", v), dp.OK),
    Row("a pod of another node", lambda v: pk.tcp("client", "remote", v, flags="S"), dp.REDIRECT, pk.forwarded),
    Row("last hop to a local pod: the stack answers", lambda v: pk.udp("client", "server", v, ttl=1), dp.OK),
    Row("last hop to a remote pod: the stack answers", lambda v: pk.udp("client", "remote", v, ttl=1), dp.OK),
    dropped("another pod's address as source", lambda v: pk.tcp("stranger", "server", v), "INVALID_SOURCE_IP"),
    dropped("the node's address as source", lambda v: pk.tcp("node", "server", v), "INVALID_SOURCE_IP"),
    dropped("nobody's address as source", lambda v: pk.tcp("moon", "server", v), "INVALID_SOURCE_IP"),
    dropped(
        "multicast", lambda v: pk.udp("client", "224.0.0.251" if v == 4 else "ff02::fb", v), "MULTICAST", connections=1
    ),
    dropped("broadcast", lambda v: pk.udp("client", "255.255.255.255", v), "MULTICAST", (4,), 1),
    dropped("loopback", lambda v: pk.udp("client", "127.0.0.1" if v == 4 else "::1", v), "UNROUTABLE", connections=1),
    dropped(
        "link-local", lambda v: pk.udp("client", "169.254.9.9" if v == 4 else "fe80::9", v), "UNROUTABLE", connections=1
    ),
    dropped("wrong IP version", lambda v: broken(pk.tcp("client", "server", v), 14, b"\x25"), "INVALID_PACKET"),
    dropped(
        "IPv4 header too short", lambda v: broken(pk.tcp("client", "server", v), 14, b"\x44"), "INVALID_PACKET", (4,)
    ),
    dropped(
        "longer than the frame",
        lambda v: broken(pk.tcp("client", "server", v), 16 if v == 4 else 18, b"\x7f\xff"),
        "INVALID_PACKET",
    ),
    dropped(
        "TCP data offset below five",
        lambda v: broken(pk.tcp("client", "server", v), 46 if v == 4 else 66, b"\x40"),
        "INVALID_L4_HEADER",
    ),
    dropped(
        "cut inside the UDP header",
        lambda v: pk.ip("client", "server", v, **({"proto": 17} if v == 4 else {"nh": 17})) / pk.Raw(b"\0\1\0\2"),
        "INVALID_L4_HEADER",
    ),
    dropped(
        "ICMP of the other family",
        lambda v: (
            pk.ip("client", "server", v, **({"proto": 58} if v == 4 else {"nh": 1})) / pk.Raw(b"\x80\0\0\0\0\1\0\1")
        ),
        "INVALID_L4_HEADER",
    ),
    dropped("source routing", lambda v: pk.source_routed(pk.tcp("client", "server", v)), "INVALID_EXTENSION", (6,)),
    dropped(
        "too many extension headers",
        lambda v: pk.extended(pk.tcp("client", "server", v), *[pk.IPv6ExtHdrDestOpt() for _ in range(8)]),
        "INVALID_EXTENSION",
        (6,),
    ),
    dropped(
        "an error about nobody's connection",
        lambda v: pk.error("unreachable", pk.udp("server", "client", v), src="client"),
        "ICMP_UNRELATED",
    ),
    dropped(
        "an error that quotes too little",
        lambda v: pk.error("unreachable", pk.udp("server", "client", v), src="client", quoted=20 if v == 4 else 40),
        "INVALID_L4_HEADER",
    ),
    dropped(
        "neither IP nor ARP",
        lambda _: pk.Ether(src=pk.POD_MAC, dst=pk.HOST_MAC, type=0x88CC) / pk.Raw(b"\0" * 46),
        "UNSUPPORTED_L3",
        (4,),
    ),
    dropped("ARP for somebody else", lambda _: pk.arp(target="server"), "NEIGHBOUR", (4,)),
    dropped("ARP answer", lambda _: pk.arp(op=2), "NEIGHBOUR", (4,)),
    dropped("ARP with another pod's address", lambda _: pk.arp(who="stranger"), "INVALID_SOURCE_IP", (4,)),
    dropped("solicitation for somebody else", lambda _: pk.solicitation(target="server"), "NEIGHBOUR", (6,)),
    dropped("solicitation from afar", lambda _: pk.solicitation(hop_limit=64), "INVALID_PACKET", (6,)),
    dropped(
        "solicitation with another pod's address", lambda _: pk.solicitation(who="stranger"), "INVALID_SOURCE_IP", (6,)
    ),
]

CASES = [pytest.param(row, v, id=f"{row.what}-{v}") for row in TABLE for v in row.families]


@pytest.mark.parametrize("row, family", CASES)
def test_from_pod(path: dp.Datapath, row: Row, family: int) -> None:
    packet = row.packet(family)
    ran = path.run("from_pod", bytes(packet))
    assert ran.retval == row.verdict
    assert ran.data_out == (row.out(packet) if row.out else bytes(packet))
    assert path.drops() == ({(row.drop, EGRESS): 1} if row.drop else {})
    assert len(path.rows("conntrack")) == row.connections


def test_vlan_tag_is_refused(path: dp.Datapath) -> None:
    frame = bytes(pk.Ether(src=pk.POD_MAC, dst=pk.HOST_MAC) / pk.tcp("client", "server", 4).payload)
    tagged = frame[:12] + b"\x81\x00\x00\x05" + frame[12:]
    assert path.run("from_pod", tagged).retval == dp.SHOT
    assert sum(path.drops().values()) == 1


def test_arp_for_the_gateway_is_answered(path: dp.Datapath) -> None:
    ran = path.run("from_pod", bytes(pk.arp()))
    assert ran.retval == dp.REDIRECT
    answer = pk.Ether(ran.data_out)
    assert (answer.dst, answer.src) == (pk.POD_MAC, pk.HOST_MAC)
    assert (answer.op, answer.hwsrc, answer.psrc) == (2, pk.HOST_MAC, pk.address("router", 4))
    assert (answer.hwdst, answer.pdst) == (pk.POD_MAC, pk.address("client", 4))


@pytest.mark.parametrize("option", [True, False])
def test_solicitation_for_the_gateway_is_answered(path: dp.Datapath, option: bool) -> None:
    ran = path.run("from_pod", bytes(pk.solicitation(option=option)))
    assert ran.retval == dp.REDIRECT
    answer = pk.Ether(ran.data_out)
    assert (answer.dst, answer.src) == (pk.POD_MAC, pk.HOST_MAC)
    assert (answer[pk.IPv6].src, answer[pk.IPv6].dst) == (pk.address("router", 6), pk.address("client", 6))
    assert (answer.hlim, answer.R, answer.S, answer.O) == (255, 1, 1, 1)
    assert (answer.tgt, answer.lladdr) == (pk.address("router", 6), pk.HOST_MAC)
    assert pk.checksums_are_right(ran.data_out)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", pk.ERRORS)
def test_errors_about_known_connections_pass(path: dp.Datapath, kind: str, family: int) -> None:
    """The server complains about the client's datagram, seen from the client's side of things."""
    request = pk.udp("server", "client", family)
    path.run("to_pod", bytes(request), ifindex=LO)
    complaint = pk.error(kind, request, src="client")
    ran = path.run("from_pod", bytes(complaint))
    assert (ran.retval, ran.data_out) == (dp.REDIRECT, pk.delivered(complaint))
    assert len(path.rows("conntrack")) == 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("to", ["server", "remote", "world"])
def test_later_fragments_follow_the_first(path: dp.Datapath, family: int, to: str) -> None:
    first, *later = pk.fragments(pk.udp("client", to, family, data=b"x" * 3000))
    for each in later:
        assert path.run("from_pod", bytes(each)).retval == dp.SHOT
    assert path.drops() == {("GH_DROP_FRAGMENT_UNKNOWN", EGRESS): len(later)}
    for each in (first, *later):
        assert path.run("from_pod", bytes(each)).retval == dp.REDIRECT
    assert len(path.rows("conntrack")) == 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("to", ["remote", "world"])
def test_too_big_is_answered(path: dp.Datapath, family: int, to: str) -> None:
    packet = pk.udp("client", to, family, data=b"x" * 1600)
    ran = path.run("from_pod", bytes(packet))
    assert ran.retval == dp.REDIRECT
    answer = pk.Ether(ran.data_out)
    assert pk.checksums_are_right(ran.data_out)
    assert (answer.payload.src, answer.payload.dst) == (pk.address("router", family), pk.address("client", family))
    body: Any = answer[pk.ICMP] if family == 4 else answer[pk.ICMPv6PacketTooBig]
    assert (body.nexthopmtu if family == 4 else body.mtu) == 1500
    quote = bytes(body.payload)
    assert bytes(packet)[14:].startswith(quote)
    assert len(quote) == (28 if family == 4 else 48)


def test_too_big_may_be_fragmented_by_the_stack(path: dp.Datapath) -> None:
    packet = pk.udp("client", "remote", 4, data=b"x" * 1600, flags=0)
    assert path.run("from_pod", bytes(packet)).retval == dp.OK


@pytest.mark.parametrize("family", FAMILIES)
def test_segments_are_measured_not_the_packet(path: dp.Datapath, family: int) -> None:
    """Segmentation is left to the device: only what one segment measures counts."""
    packet = bytes(pk.tcp("client", "remote", family, data=b"x" * 3500))
    headers = 40 if family == 4 else 60
    assert path.run("from_pod", packet, gso_size=1500 - headers).data_out[:6] == pk.Ether(packet).build()[:6]
    assert len(path.run("from_pod", packet, gso_size=1500 - headers).data_out) == len(packet)
    assert len(path.run("from_pod", packet, gso_size=1501 - headers).data_out) < 200


@pytest.mark.parametrize("family", FAMILIES)
def test_to_pod(path: dp.Datapath, family: int) -> None:
    """What the stack itself sends into a pod is tracked; what is not the pod's is stopped."""
    packet = bytes(pk.tcp("router", "client", family, flags="S"))
    ran = path.run("to_pod", packet)
    assert (ran.retval, ran.data_out, len(path.rows("conntrack"))) == (dp.OK, packet, 1)
    assert path.run("to_pod", bytes(pk.tcp("router", "server", family))).retval == dp.SHOT
    assert path.run("to_pod", bytes(pk.arp())).retval == dp.OK
    assert path.drops() == {("GH_DROP_WRONG_POD", INGRESS): 1}


def test_marked_packets_are_not_looked_at_twice(path: dp.Datapath) -> None:
    assert path.run("to_pod", bytes(pk.tcp("router", "server", 4)), mark=0x47480001).retval == dp.OK
    assert path.drops() == {}

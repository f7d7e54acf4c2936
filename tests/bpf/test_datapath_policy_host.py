"""Host firewall: policy on the node's own addresses, and what must work whatever it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import datapath as dp
import datapath_policy as pol
import packets as pk
from datapath_node import EGRESS, INGRESS, furnish
from datapath_policy import ALLOW, TCP, UDP, enforce, peer, port
from packets import FAMILIES

pytestmark = pytest.mark.root

VXLAN = 8472


@pytest.fixture(scope="module")
def path() -> Iterator[dp.Datapath]:
    flags = pol.FLAGS | dp.NODE_TUNNEL
    with dp.loaded(dp.config(flags=flags, overlay_ifindex=4, overlay_port=VXLAN)) as made:
        furnish(made)
        yield made


@pytest.fixture(autouse=True)
def _fresh(path: dp.Datapath) -> None:
    pol.release(path)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_policy_the_node_is_not_tracked(path: dp.Datapath, family: int) -> None:
    assert path.run("from_netdev", bytes(pk.tcp("world", "node", family, flags="S"))).retval == dp.OK
    assert path.run("to_netdev", bytes(pk.tcp("node", "world", family, flags="S"))).retval == dp.OK
    assert not path.rows("conntrack")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_nodes_connections_are_answered(path: dp.Datapath, family: int) -> None:
    """Nobody may call the node; whom it calls may answer, from the fabric and from its own pods."""
    enforce(path, "node", 1, ingress={})
    for there, back, forth in (("world", "from_netdev", "to_netdev"), ("client", "from_pod", "from_host")):
        call = pk.udp("node", there, family, dport=53)
        assert path.run(back, bytes(pk.reply(call))).retval == dp.SHOT
        path.run(forth, bytes(call))
        assert path.run(back, bytes(pk.reply(call))).retval == dp.OK
        path.run(forth, bytes(pk.error("unreachable", pk.reply(call), src="node")))
        assert path.run(back, bytes(pk.error("unreachable", call, src=there))).retval == dp.OK
    assert path.drops() == {("GH_DROP_POLICY", INGRESS): 2}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_nodes_connections_end_with_their_permission(path: dp.Datapath, family: int) -> None:
    call = pk.tcp("node", "world", family)
    enforce(path, "node", 1, ingress={}, egress={0: peer(port(TCP, 80))})
    assert path.run("to_netdev", bytes(call)).retval == dp.OK
    assert path.run("from_netdev", bytes(pk.reply(call))).retval == dp.OK
    enforce(path, "node", 2, ingress={}, egress={0: peer(port(TCP, 81))})
    assert path.run("from_netdev", bytes(pk.reply(call))).retval == dp.SHOT
    assert path.run("to_netdev", bytes(call)).retval == dp.SHOT
    assert path.drops() == {("GH_DROP_POLICY", EGRESS): 2}


VITAL: list[tuple[str, str, Callable[[int], pk.Packet]]] = [
    ("DHCP to the node", "from_netdev", lambda v: dhcp("world", "node", v, server=True)),
    ("DHCP from the node", "to_netdev", lambda v: dhcp("node", "world", v, server=False)),
    ("the tunnel from another node", "from_netdev", lambda v: pk.udp("other-node", "node", v, dport=VXLAN)),
    ("the tunnel to another node", "to_netdev", lambda v: pk.udp("node", "other-node", v, dport=VXLAN)),
    ("what fits the tunnel's way", "from_netdev",
     lambda v: pk.error("too-big", pk.udp("node", "other-node", v, dport=VXLAN), src="world")),
]  # fmt: skip


def dhcp(src: str, dst: str, family: int, *, server: bool) -> pk.Packet:
    ports = (67, 68) if family == 4 else (547, 546)
    sport, dport = ports if server else ports[::-1]
    return pk.udp(src, dst, family, sport=sport, dport=dport)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("program", "build"), [row[1:] for row in VITAL], ids=[row[0] for row in VITAL])
def test_what_keeps_a_node_alive(
    path: dp.Datapath, program: str, build: Callable[[int], pk.Packet], family: int
) -> None:
    enforce(path, "node", 1, ingress={}, egress={})
    assert path.run(program, bytes(build(family))).retval == dp.OK
    assert not path.rows("conntrack")


def test_neighbours_are_found(path: dp.Datapath) -> None:
    enforce(path, "node", 1, ingress={}, egress={})
    for program, src, dst in (("from_netdev", "other-node", "node"), ("to_netdev", "node", "other-node")):
        ask = pk.ip(src, dst, 6, ttl=255) / pk.ICMPv6ND_NS(tgt=pk.address(dst, 6))
        assert path.run(program, bytes(ask)).retval == dp.OK
        ask[pk.IPv6].hlim = 254
        assert path.run(program, bytes(ask)).retval == dp.SHOT
        assert path.run(program, bytes(pk.arp())).retval == dp.OK


@pytest.mark.parametrize("family", FAMILIES)
def test_strangers_cannot_pass_for_what_is_exempt(path: dp.Datapath, family: int) -> None:
    enforce(path, "node", 1, ingress={})
    for packet in (
        pk.udp("world", "node", family, dport=VXLAN),  # not a node
        pk.udp("other-node", "node", family, sport=VXLAN, dport=53),
        pk.tcp("other-node", "node", family, dport=VXLAN, flags="S"),
        pk.udp("world", "node", family, sport=67 if family == 4 else 547, dport=53),
        pk.error("unreachable", pk.udp("node", "world", family), src="world"),  # about nothing we sent
    ):
        assert path.run("from_netdev", bytes(packet)).retval == dp.SHOT
    assert path.run("from_pod", bytes(pk.udp("client", "node", family, dport=VXLAN))).retval == dp.SHOT
    assert path.run("from_pod", bytes(dhcp("client", "node", family, server=True))).retval == dp.SHOT


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_tunnel_no_port_is_its(family: int) -> None:
    with dp.loaded(dp.config(flags=pol.FLAGS)) as native:
        furnish(native)
        enforce(native, "node", 1, ingress={})
        for dport in (0, VXLAN):
            packet = bytes(pk.udp("other-node", "node", family, dport=dport))
            assert native.run("from_netdev", packet).retval == dp.SHOT


@pytest.mark.parametrize("family", FAMILIES)
def test_what_cannot_be_read_is_not_waved_through(path: dp.Datapath, family: int) -> None:
    """The stack might understand what the parser does not. Only a fragment without its first may pass: it is none."""
    broken = pk.tcp("world", "node", family)
    frame = bytearray(bytes(broken))
    frame[46 if family == 4 else 66] = 0x30  # TCP header shorter than it can be
    assert path.run("from_netdev", bytes(frame)).retval == dp.OK
    enforce(path, "node", 1, ingress=ANYTHING)
    assert path.run("from_netdev", bytes(frame)).retval == dp.SHOT
    enforce(path, "node", 2, ingress={})
    first, later = pk.fragments(pk.udp("world", "node", family, data=b"x" * 1200))
    assert path.run("from_netdev", bytes(later)).retval == dp.OK
    assert path.run("from_netdev", bytes(first)).retval == dp.SHOT
    assert path.run("from_netdev", bytes(later)).retval == dp.SHOT


ANYTHING = {0: peer(verdict=ALLOW)}


@pytest.mark.parametrize("family", FAMILIES)
def test_pods_are_not_the_nodes_business(path: dp.Datapath, family: int) -> None:
    """A host policy says nothing about traffic of pods with others, masqueraded traffic included."""
    enforce(path, "node", 1, ingress={}, egress={})
    call = pk.udp("client", "world", family)
    sent = pk.Ether(path.run("from_pod", bytes(call)).data_out)
    assert sent.payload.src == pk.address("node", family)
    assert path.run("from_netdev", bytes(pk.reply(sent, ttl=64))).retval == dp.REDIRECT
    assert path.run("from_pod", bytes(pk.udp("client", "server", family))).retval == dp.REDIRECT
    assert path.run("to_netdev", bytes(pk.udp("client", "world", family, dport=54))).retval == dp.OK


@pytest.mark.parametrize("family", FAMILIES)
def test_masquerade_ports_stay_reserved_under_a_policy(path: dp.Datapath, family: int) -> None:
    enforce(path, "node", 1, egress={0: peer(port(UDP, 53))})
    assert path.run("to_netdev", bytes(pk.udp("node", "world", family, sport=45_000, dport=53))).retval == dp.OK
    (reserved,) = path.rows("nat").values()
    assert int(reserved["port"]) == 45_000
    assert path.run("to_netdev", bytes(pk.udp("node", "world", family, sport=45_001, dport=54))).retval == dp.SHOT
    assert len(path.rows("nat")) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_host_audit(path: dp.Datapath, family: int) -> None:
    enforce(path, "node", 1, ingress={}, audit=True)
    ring = pol.Records(path)
    ring.take()
    assert path.run("from_netdev", bytes(pk.tcp("world", "node", family, flags="S"))).retval == dp.OK
    (only,) = ring.take()
    assert (int(only["type"]), int(only["flags"]), int(only["reason"])) == (2, 1, 133)
    ring.close()

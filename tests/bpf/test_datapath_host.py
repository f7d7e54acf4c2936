"""from_netdev, to_netdev, from_host and from_overlay: the node's own devices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import datapath as dp
import packets as pk
from datapath_node import EGRESS, INGRESS, furnish
from packets import FAMILIES

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def path() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config()) as made:
        furnish(made)
        yield made


@pytest.fixture(scope="module")
def tunnel() -> Iterator[dp.Datapath]:
    flags = dp.NODE_TUNNEL | dp.NODE_MASQUERADE | dp.NODE_IPV4 | dp.NODE_IPV6
    with dp.loaded(dp.config(flags=flags, overlay_ifindex=4)) as made:
        furnish(made)
        for prefix in ("10.244.2.0/24", "fd00:10:244:2::/64"):
            made.add_ipcache(prefix, identity=2, node="172.30.0.12", flags=dp.IN_CLUSTER | dp.TUNNEL)
        yield made


@pytest.fixture(autouse=True)
def _fresh(path: dp.Datapath, tunnel: dp.Datapath) -> None:
    for each in (path, tunnel):
        each.clear("conntrack", "nat", "fragments", "drops")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["tcp", "udp", "sctp", "echo"])
def test_from_netdev_delivers_to_pods(path: dp.Datapath, kind: str, family: int) -> None:
    packet = getattr(pk, kind)("remote", "client", family)
    ran = path.run("from_netdev", bytes(packet))
    assert (ran.retval, ran.data_out) == (dp.REDIRECT, pk.delivered(packet))
    assert len(path.rows("conntrack")) == 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("to", ["node", "router", "nobody", "remote", "moon"])
def test_from_netdev_leaves_to_the_stack(path: dp.Datapath, to: str, family: int) -> None:
    """The node's own, and what is not for us at all."""
    packet = bytes(pk.tcp("world", to, family, dport=45_000))
    ran = path.run("from_netdev", packet)
    assert (ran.retval, ran.data_out) == (dp.OK, packet)
    assert not path.rows("conntrack")
    assert path.drops() == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_from_netdev_keeps_malformed_packets_from_pods(path: dp.Datapath, family: int) -> None:
    frame = bytearray(bytes(pk.tcp("remote", "client", family)))
    frame[46 if family == 4 else 66] = 0x30
    assert path.run("from_netdev", bytes(frame)).retval == dp.SHOT
    assert path.drops() == {("GH_DROP_INVALID_L4_HEADER", INGRESS): 1}


@pytest.mark.parametrize("family", FAMILIES)
def test_from_netdev_lets_the_stack_judge_what_the_node_gets(path: dp.Datapath, family: int) -> None:
    """The node may know what to do with a fragment that came before its first one."""
    _, later = pk.fragments(pk.udp("world", "node", family, data=b"x" * 1200))
    assert path.run("from_netdev", bytes(later)).retval == dp.OK
    assert path.drops() == {}


@pytest.mark.parametrize("packet", [pk.arp(), pk.Ether(type=0x88CC) / pk.Raw(bytes(46))], ids=["arp", "lldp"])
def test_other_protocols_are_the_nodes(path: dp.Datapath, packet: pk.Packet) -> None:
    assert path.run("from_netdev", bytes(packet)).retval == dp.OK
    assert path.run("to_netdev", bytes(packet)).retval == dp.OK


@pytest.mark.parametrize("family", FAMILIES)
def test_from_host_delivers_without_counting_a_hop(path: dp.Datapath, family: int) -> None:
    packet = pk.tcp("router", "client", family, flags="S", ttl=1)
    ran = path.run("from_host", bytes(packet))
    assert (ran.retval, ran.data_out) == (dp.REDIRECT, pk.delivered(packet, hop=False))
    (entry,) = path.rows("conntrack").values()
    assert entry["identity"] == 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("to", ["nobody", "moon"])
def test_from_host_to_nobody(path: dp.Datapath, to: str, family: int) -> None:
    assert path.run("from_host", bytes(pk.tcp("router", to, family))).retval == dp.SHOT
    assert path.drops() == {("GH_DROP_NO_ENDPOINT", INGRESS): 1}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sender", ["router", "client"])
def test_from_host_to_another_nodes_pod(path: dp.Datapath, tunnel: dp.Datapath, sender: str, family: int) -> None:
    packet = bytes(pk.tcp(sender, "remote", family))
    for each in (path, tunnel):
        ran = each.run("from_host", packet)
        assert (ran.retval, ran.data_out) == (dp.REDIRECT, packet)


@pytest.mark.parametrize("family", FAMILIES)
def test_tunnel_counts_a_hop(tunnel: dp.Datapath, family: int) -> None:
    packet = pk.tcp("client", "remote", family)
    ran = tunnel.run("from_pod", bytes(packet))
    assert (ran.retval, ran.data_out) == (dp.REDIRECT, pk.forwarded(packet))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("underlay", "overhead"), [("172.30.0.12", 50), ("fd30::12", 70)])
def test_tunnel_leaves_room_for_its_headers(tunnel: dp.Datapath, underlay: str, overhead: int, family: int) -> None:
    prefix = "10.244.2.0/24" if family == 4 else "fd00:10:244:2::/64"
    tunnel.add_ipcache(prefix, identity=2, node=underlay, flags=dp.IN_CLUSTER | dp.TUNNEL)
    bare = len(pk.udp("client", "remote", family, data=b"")) - 14
    fits = pk.udp("client", "remote", family, data=b"x" * (1500 - overhead - bare))
    assert tunnel.run("from_pod", bytes(fits)).data_out == pk.forwarded(fits)
    answer = pk.Ether(
        tunnel.run("from_pod", bytes(pk.udp("client", "remote", family, data=b"x" * (1501 - overhead - bare)))).data_out
    )
    body = answer[pk.ICMP] if family == 4 else answer[pk.ICMPv6PacketTooBig]
    assert (body.nexthopmtu if family == 4 else body.mtu) == 1500 - overhead


@pytest.mark.parametrize("family", FAMILIES)
def test_tunnel_without_an_overlay_device(path: dp.Datapath, family: int) -> None:
    target = "10.99.0.1" if family == 4 else "fd99::1"
    path.add_ipcache(target, node="172.30.0.13", flags=dp.IN_CLUSTER | dp.TUNNEL)
    assert path.run("from_pod", bytes(pk.tcp("client", target, family))).retval == dp.SHOT
    assert path.drops() == {("GH_DROP_NO_TUNNEL", EGRESS): 1}


@pytest.mark.parametrize("family", FAMILIES)
def test_from_overlay_needs_tunnel_metadata(tunnel: dp.Datapath, family: int) -> None:
    """A test run has none; real tunnels are in test_datapath_traffic.py."""
    assert tunnel.run("from_overlay", bytes(pk.tcp("remote", "client", family))).retval == dp.SHOT
    assert tunnel.run("from_overlay", bytes(pk.arp())).retval == dp.SHOT
    assert tunnel.drops() == {("GH_DROP_TUNNEL_KEY", INGRESS): 1, ("GH_DROP_UNSUPPORTED_L3", INGRESS): 1}


@pytest.mark.parametrize("family", FAMILIES)
def test_to_netdev_leaves_the_nodes_own_alone(path: dp.Datapath, family: int) -> None:
    for sport in (1234, 45_000):
        packet = bytes(pk.tcp("node", "world", family, sport=sport))
        ran = path.run("to_netdev", packet)
        assert (ran.retval, ran.data_out) == (dp.OK, packet)
    (reserved,) = path.rows("nat").values()
    assert (int(reserved["port"]), int(reserved["flags"])) == (45_000, 1)
    path.run("to_netdev", bytes(pk.tcp("node", "other-node", family, sport=45_001)))
    assert len(path.rows("nat")) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_to_netdev_masquerades_what_came_through_the_stack(path: dp.Datapath, family: int) -> None:
    packet = pk.udp("client", "world", family)
    ran = path.run("to_netdev", bytes(packet))
    assert ran.retval == dp.OK
    assert pk.Ether(ran.data_out).payload.src == pk.address("node", family)
    assert pk.checksums_are_right(ran.data_out)
    for untouched in (pk.udp("client", "remote", family), pk.udp("moon", "world", family)):
        assert path.run("to_netdev", bytes(untouched)).data_out == bytes(untouched)


@pytest.mark.parametrize("family", FAMILIES)
def test_whoever_was_called_by_its_own_address_answers_from_it(path: dp.Datapath, family: int) -> None:
    """A connection that the world opened to the pod's address is not masqueraded on the way back."""
    request = pk.tcp("world", "client", family, sport=5555, dport=80, flags="S")
    path.run("from_netdev", bytes(request))
    answer = pk.tcp("client", "world", family, sport=80, dport=5555, flags="SA")
    assert path.run("from_pod", bytes(answer)).data_out == pk.forwarded(answer)
    assert path.run("to_netdev", bytes(answer)).data_out == bytes(answer)
    assert not path.rows("nat")

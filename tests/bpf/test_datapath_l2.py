"""from_netdev answers ARP and neighbour solicitations for the services whose lease this node holds."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

import datapath as dp
import packets as pk
from datapath_node import LO, furnish
from glasshive.model.address import parse

pytestmark = pytest.mark.root

NODE_MAC = "02:00:00:00:00:77"
VIP = {4: "172.30.0.200", 6: "fd30::200"}


@pytest.fixture(scope="module")
def path() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config(device_mac=dp.mac(NODE_MAC))) as made:
        furnish(made)
        yield made


@pytest.fixture(autouse=True)
def _announced(path: dp.Datapath) -> None:
    path.clear("l2_responders", "drops")
    for address in VIP.values():
        path.maps["l2_responders"].update([{"addr": parse(address), "ifindex": LO}], [{"responses_sent": 0}])
    term(path, 60)


def term(path: dp.Datapath, seconds: float) -> None:
    path.maps["l2_term"].update([0], [{"until_ns": time.monotonic_ns() + int(seconds * 1e9)}])


def sent(path: dp.Datapath) -> int:
    return sum(int(row["responses_sent"]) for row in path.rows("l2_responders").values())


def question(target: str = VIP[6], src: str = "world", *, hop_limit: int = 255, option: bool = True) -> pk.Packet:
    packet = Ether(src=pk.POD_MAC, dst="33:33:ff:00:02:00")
    packet /= IPv6(src=pk.address(src, 6), dst="ff02::1:ff00:200", hlim=hop_limit)
    packet /= ICMPv6ND_NS(tgt=target)
    return packet / pk.ICMPv6NDOptSrcLLAddr(lladdr=pk.POD_MAC) if option else packet


def test_arp_is_answered_with_the_devices_address(path: dp.Datapath) -> None:
    ran = path.run("from_netdev", bytes(pk.arp("world", VIP[4])), ifindex=LO)
    wanted = Ether(src=NODE_MAC, dst=pk.POD_MAC) / ARP(
        op=2, hwsrc=NODE_MAC, psrc=VIP[4], hwdst=pk.POD_MAC, pdst=pk.address("world", 4)
    )
    assert (ran.retval, ran.data_out) == (dp.REDIRECT, bytes(wanted))
    assert sent(path) == 1


@pytest.mark.parametrize("option", [True, False])
@pytest.mark.parametrize("src", ["world", "::"])
def test_solicitation_is_answered_with_an_advertisement(path: dp.Datapath, src: str, option: bool) -> None:
    ran = path.run("from_netdev", bytes(question(src=src, option=option)), ifindex=LO)
    assert ran.retval == dp.REDIRECT
    to = "ff02::1" if src == "::" else pk.address(src, 6)
    answer = Ether(src=NODE_MAC, dst=pk.POD_MAC) / IPv6(src=VIP[6], dst=to, hlim=255)
    answer /= ICMPv6ND_NA(R=0, S=src != "::", O=1, tgt=VIP[6]) / ICMPv6NDOptDstLLAddr(lladdr=NODE_MAC)
    assert ran.data_out == bytes(answer)  # scapy fills in the checksum
    assert sent(path) == 1


def test_what_is_not_asked_of_us_is_the_stacks(path: dp.Datapath) -> None:
    announcement = Ether(src=pk.POD_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, psrc=VIP[4], pdst=VIP[4])
    others = [
        pk.arp("world", "172.30.0.201"),
        pk.arp("world", VIP[4], op=2),
        announcement,
        question(target="fd30::201"),
        question(hop_limit=64),
    ]
    for packet in others:
        ran = path.run("from_netdev", bytes(packet), ifindex=LO)
        assert (ran.retval, ran.data_out) == (dp.OK, bytes(packet)), packet.summary()
    assert sent(path) == 0


def test_another_device_is_not_answered_for(path: dp.Datapath) -> None:
    path.clear("l2_responders")
    path.maps["l2_responders"].update([{"addr": parse(VIP[4]), "ifindex": LO + 1}], [{"responses_sent": 0}])
    assert path.run("from_netdev", bytes(pk.arp("world", VIP[4])), ifindex=LO).retval == dp.OK


def test_a_node_whose_agent_is_dead_falls_silent(path: dp.Datapath) -> None:
    term(path, -1)
    for packet in (pk.arp("world", VIP[4]), question()):
        assert path.run("from_netdev", bytes(packet), ifindex=LO).retval == dp.OK
    assert sent(path) == 0
    term(path, 60)
    assert path.run("from_netdev", bytes(question()), ifindex=LO).retval == dp.REDIRECT


def test_a_frame_that_is_cut_off_is_left_alone(path: dp.Datapath) -> None:
    for packet in (bytes(pk.arp("world", VIP[4]))[:40], bytes(question(option=False))[:70]):
        assert path.run("from_netdev", packet, ifindex=LO).retval in {dp.OK, dp.SHOT}
    assert sent(path) == 0

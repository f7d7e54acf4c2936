"""Packets by name, for both families: who talks to whom over what, built with scapy.

The cast is one node's view: ``client`` and ``server`` are pods of this node, ``remote`` a pod of another node,
``world`` is outside the cluster. ``tcp("client", "server", 6, flags="S")`` is a whole Ethernet frame.
"""

from __future__ import annotations

import logging
from typing import Any, Final

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, IPOption_NOP, fragment  # noqa: E402
from scapy.layers.inet6 import (  # noqa: E402
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPerror6,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    fragment6,
)
from scapy.layers.l2 import ARP, Ether  # noqa: E402
from scapy.layers.sctp import SCTP  # noqa: E402
from scapy.packet import Raw  # noqa: E402

Packet = Any

POD_MAC: Final = "02:00:00:00:00:01"
HOST_MAC: Final = "02:00:00:00:00:02"

ADDRESSES: Final[dict[str, dict[int, str]]] = {
    "client": {4: "10.244.1.11", 6: "fd00:10:244:1::b"},
    "server": {4: "10.244.1.12", 6: "fd00:10:244:1::c"},
    "stranger": {4: "10.244.1.13", 6: "fd00:10:244:1::d"},  # a pod behind another device
    "nobody": {4: "10.244.1.99", 6: "fd00:10:244:1::99"},  # an address of this node that no pod has
    "router": {4: "10.244.1.1", 6: "fd00:10:244:1::1"},
    "node": {4: "172.30.0.11", 6: "fd30::11"},
    "remote": {4: "10.244.2.11", 6: "fd00:10:244:2::b"},
    "other-node": {4: "172.30.0.12", 6: "fd30::12"},
    "world": {4: "203.0.113.10", 6: "2001:db8:ffff::10"},
    "moon": {4: "198.51.100.7", 6: "2001:db8:eeee::7"},
}
FAMILIES: Final = (4, 6)


def address(who: str, family: int) -> str:
    """Address of a member of the cast; anything else is taken for an address itself."""
    return ADDRESSES[who][family] if who in ADDRESSES else who


def ip(src: str, dst: str, family: int, ttl: int = 64, **fields: Any) -> Packet:
    """Ethernet and IP header."""
    frame = Ether(src=POD_MAC, dst=HOST_MAC)
    if family == 4:
        return frame / IP(src=address(src, 4), dst=address(dst, 4), ttl=ttl, **{"flags": "DF", **fields})
    return frame / IPv6(src=address(src, 6), dst=address(dst, 6), hlim=ttl, **fields)


def tcp(src: str, dst: str, family: int, *, sport: int = 40001, dport: int = 80, flags: str = "A",
        data: bytes = b"", **header: Any) -> Packet:  # fmt: skip
    """TCP segment."""
    packet = ip(src, dst, family, **header) / TCP(sport=sport, dport=dport, flags=flags, seq=1, ack=1)
    return packet / Raw(data) if data else packet


def udp(src: str, dst: str, family: int, *, sport: int = 40001, dport: int = 53, data: bytes = b"question",
        **header: Any) -> Packet:  # fmt: skip
    """UDP datagram."""
    return ip(src, dst, family, **header) / UDP(sport=sport, dport=dport) / Raw(data)


def sctp(src: str, dst: str, family: int, *, sport: int = 40001, dport: int = 36412, **header: Any) -> Packet:
    """SCTP packet with an empty chunk list; its CRC32c covers no address."""
    return ip(src, dst, family, **header) / SCTP(sport=sport, dport=dport, tag=7) / Raw(b"\x03\x00\x00\x04")


def echo(src: str, dst: str, family: int, *, ident: int = 77, data: bytes = b"ping", **header: Any) -> Packet:
    """ICMP echo request."""
    body = ICMP(type=8, id=ident, seq=1) if family == 4 else ICMPv6EchoRequest(id=ident, seq=1)
    return ip(src, dst, family, **header) / body / Raw(data)


def echo_reply(src: str, dst: str, family: int, *, ident: int = 77, data: bytes = b"ping", **header: Any) -> Packet:
    """ICMP echo reply."""
    body = ICMP(type=0, id=ident, seq=1) if family == 4 else ICMPv6EchoReply(id=ident, seq=1)
    return ip(src, dst, family, **header) / body / Raw(data)


_ERRORS: Final = {
    "unreachable": ({"type": 3, "code": 3}, ICMPv6DestUnreach, {"code": 4}),
    "too-big": ({"type": 3, "code": 4, "nexthopmtu": 1400}, ICMPv6PacketTooBig, {"mtu": 1400}),
    "time-exceeded": ({"type": 11, "code": 0}, ICMPv6TimeExceeded, {"code": 0}),
    "parameter-problem": ({"type": 12, "code": 0}, ICMPv6ParamProblem, {"code": 0, "ptr": 6}),
}
ERRORS: Final = tuple(_ERRORS)


def error(kind: str, about: Packet, *, src: str, dst: str | None = None, quoted: int = 64, **header: Any) -> Packet:
    """ICMP error of a kind from ``ERRORS`` about a frame; it goes to that frame's sender unless told otherwise."""
    inner = bytes(about)[14 : 14 + quoted]
    four, six, fields = _ERRORS[kind]
    if about.haslayer(IP):
        return ip(src, dst or about[IP].src, 4, **header) / ICMP(**four) / Raw(inner)
    return ip(src, dst or about[IPv6].src, 6, **header) / six(**fields) / Raw(inner)


def arp(who: str = "client", target: str = "router", op: int = 1) -> Packet:
    """ARP question (1) or answer (2)."""
    return Ether(src=POD_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=op, hwsrc=POD_MAC, psrc=address(who, 4), hwdst="00:00:00:00:00:00", pdst=address(target, 4)
    )


def solicitation(who: str = "client", target: str = "router", hop_limit: int = 255, option: bool = True) -> Packet:
    """Neighbour solicitation, with or without the sender's link-layer address."""
    packet = Ether(src=POD_MAC, dst=HOST_MAC) / IPv6(src=address(who, 6), dst=address(target, 6), hlim=hop_limit)
    packet /= ICMPv6ND_NS(tgt=address(target, 6))
    return packet / ICMPv6NDOptSrcLLAddr(lladdr=POD_MAC) if option else packet


def with_options(packet: Packet) -> Packet:
    """The same packet with twelve bytes more of IPv4 options, or of IPv6 extension headers."""
    if packet.haslayer(IP):
        made = packet.copy()
        made[IP].options = [IPOption_NOP()] * 12
        made[IP].ihl = made[IP].len = made[IP].chksum = None
        return made
    return extended(packet, IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt())


def extended(packet: Packet, *headers: Packet) -> Packet:
    """The same IPv6 packet with extension headers."""
    outer = Ether(src=packet.src, dst=packet.dst) / IPv6(
        src=packet[IPv6].src, dst=packet[IPv6].dst, hlim=packet[IPv6].hlim
    )
    for header in headers:
        outer /= header
    return outer / packet[IPv6].payload.copy()


def source_routed(packet: Packet) -> Packet:
    """IPv6 packet with the forbidden routing header of type 0."""
    return extended(packet, IPv6ExtHdrRouting(type=0, addresses=["fd00::9"], segleft=1))


def fragments(packet: Packet, size: int = 1000, ident: int = 4711) -> list[Packet]:
    """The fragments of a datagram, in order."""
    if packet.haslayer(IP):
        whole = packet.copy()
        whole[IP].flags, whole[IP].id = 0, ident
        return [Ether(bytes(each)) for each in fragment(whole, size)]
    whole = extended(packet, IPv6ExtHdrFragment(id=ident))
    whole = Ether(bytes(whole))  # checksums and next headers are settled before it is cut
    inner = IPv6(bytes(whole[IPv6]))
    return [Ether(src=packet.src, dst=packet.dst) / IPv6(bytes(each)) for each in fragment6(inner, size)]


def reply(packet: Packet, ttl: int | None = None) -> Packet:
    """The same packet the other way round: addresses and ports swapped, and a hop limit of its own if one is given."""
    made = Ether(bytes(packet))
    layer = made[IP] if made.haslayer(IP) else made[IPv6]
    layer.src, layer.dst = layer.dst, layer.src
    if ttl is not None:
        setattr(layer, "ttl" if made.haslayer(IP) else "hlim", ttl)
    for kind in (TCP, UDP, SCTP):
        if made.haslayer(kind):
            made[kind].sport, made[kind].dport = made[kind].dport, made[kind].sport
    return settled(made)


def settled(packet: Packet) -> Packet:
    """With all checksums computed anew, except in what an ICMP error quotes: that is cut short."""
    made = Ether(bytes(packet))
    layer: Any = made
    while layer and not isinstance(layer, IPerror | IPerror6):
        for name in ("chksum", "cksum"):
            if name in layer.fields:
                delattr(layer, name)
        layer = layer.payload
    return Ether(bytes(made))


def delivered(packet: Packet, *, hop: bool = True) -> bytes:
    """What a pod receives: one hop less, and the addresses of its own link."""
    made = Ether(bytes(packet))
    made.src, made.dst = HOST_MAC, POD_MAC
    return bytes(_hop(made) if hop else made)


def forwarded(packet: Packet) -> bytes:
    """What leaves towards another node before the kernel writes the link's addresses: one hop less."""
    return bytes(_hop(Ether(bytes(packet))))


def _hop(packet: Packet) -> Packet:
    if packet.haslayer(IP):
        packet[IP].ttl -= 1
        del packet[IP].chksum
    else:
        packet[IPv6].hlim -= 1
    return Ether(bytes(packet))


def checksums_are_right(frame: bytes) -> bool:
    """Whether scapy would have computed the same checksums."""
    return bytes(settled(Ether(frame))) == frame

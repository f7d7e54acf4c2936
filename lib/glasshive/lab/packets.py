"""Packets as bytes, and what is in them: Ethernet, IPv4, UDP and TCP. Pure; for test runs and for the lab's graders.

::

    udp(target_port=53)                        # a frame with right checksums
    tcp(source="10.1.0.1", target="192.0.2.10", flags="S")
    read(frame).target_port                    # and back; .checksums_hold says whether it would be accepted

RFC 791 (IPv4), RFC 768 (UDP), RFC 9293 (TCP), RFC 1071 (the checksum). Addresses are text, ports and lengths numbers.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

SENDER, RECEIVER = "10.77.0.1", "10.77.0.2"
SENDER_MAC, RECEIVER_MAC = "02:77:00:00:00:01", "02:77:00:00:00:02"
ETH_IPV4, ETH_IPV6, ETH_ARP = 0x0800, 0x86DD, 0x0806
ICMP, TCP, UDP = 1, 6, 17
_FLAGS = "FSRPAU"
_ETH_BYTES = 14


def ethernet(kind: int, content: bytes, *, source_mac: str = SENDER_MAC, target_mac: str = RECEIVER_MAC) -> bytes:
    """An Ethernet frame with this EtherType."""
    return _mac(target_mac) + _mac(source_mac) + struct.pack(">H", kind) + content


def ipv4(
    protocol: int, content: bytes, *, source: str = SENDER, target: str = RECEIVER, ttl: int = 64, options: bytes = b"",
) -> bytes:  # fmt: skip
    """A frame with an IPv4 header; ``options`` is a multiple of four bytes."""
    words, length = 5 + len(options) // 4, 20 + len(options) + len(content)
    head = struct.pack(">BBHHHBBH4s4s", 0x40 | words, 0, length, 1, 0x4000, ttl, protocol, 0, _ip(source), _ip(target))
    head += options
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    return ethernet(ETH_IPV4, head + content)


def udp(
    payload: bytes = b"bees", *, source: str = SENDER, target: str = RECEIVER, source_port: int = 40001,
    target_port: int = 9000, ttl: int = 64, options: bytes = b"", checked: bool = True,
) -> bytes:  # fmt: skip
    """A UDP datagram; ``checked=False`` leaves its checksum out, which UDP allows over IPv4."""
    head = struct.pack(">HHHH", source_port, target_port, 8 + len(payload), 0)
    total = checksum(_pseudo(source, target, UDP, head + payload) + head + payload) or 0xFFFF
    content = head[:6] + struct.pack(">H", total if checked else 0) + payload
    return ipv4(UDP, content, source=source, target=target, ttl=ttl, options=options)


def tcp(
    payload: bytes = b"", *, source: str = SENDER, target: str = RECEIVER, source_port: int = 40001,
    target_port: int = 80, flags: str = "S", ttl: int = 64, options: bytes = b"",
) -> bytes:  # fmt: skip
    """A TCP segment; ``flags`` are letters of FSRPAU. ``options`` are IPv4's."""
    bits = sum(1 << _FLAGS.index(letter) for letter in flags)
    head = struct.pack(">HHIIBBHHH", source_port, target_port, 1, 0, 5 << 4, bits, 64240, 0, 0)
    total = checksum(_pseudo(source, target, TCP, head + payload) + head + payload)
    content = head[:16] + struct.pack(">H", total) + head[18:] + payload
    return ipv4(TCP, content, source=source, target=target, ttl=ttl, options=options)


def ping(payload: bytes = b"bees", *, source: str = SENDER, target: str = RECEIVER, ttl: int = 64) -> bytes:
    """An ICMP echo request."""
    head = struct.pack(">BBHHH", 8, 0, 0, 77, 1)
    return ipv4(ICMP, head[:2] + struct.pack(">H", checksum(head + payload)) + head[4:] + payload, source=source,
                target=target, ttl=ttl)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Packet:
    """What a frame says. Ports are 0 where there are none; ``checksums_hold``: IPv4's, and TCP's or UDP's."""

    source_mac: str
    target_mac: str
    source: str
    target: str
    protocol: int
    ttl: int
    source_port: int
    target_port: int
    payload: bytes
    checksums_hold: bool


def read(frame: bytes) -> Packet | None:
    """Read an IPv4 frame; None for any other, or one that is cut off."""
    if len(frame) < _ETH_BYTES + 20 or frame[12:14] != b"\x08\x00":
        return None
    size = (frame[14] & 15) * 4
    total, protocol = int.from_bytes(frame[16:18]), frame[23]
    head, content = frame[14 : 14 + size], frame[14 + size : 14 + total]
    source, target = (str(ipaddress.IPv4Address(head[at : at + 4])) for at in (12, 16))
    ports, held, skip = (0, 0), True, 0
    if protocol in (TCP, UDP) and len(content) >= 8:
        ports = int.from_bytes(content[:2]), int.from_bytes(content[2:4])
        unchecked = protocol == UDP and content[6:8] == b"\0\0"
        held = unchecked or checksum(_pseudo(source, target, protocol, content) + content) == 0
        skip = (content[12] >> 4) * 4 if protocol == TCP and len(content) >= 20 else 8
    return Packet(frame[6:12].hex(":"), frame[:6].hex(":"), source, target, protocol, head[8], *ports,
                  content[skip:], held and checksum(head) == 0)  # fmt: skip


def checksum(data: bytes) -> int:
    """The Internet checksum: 0 over data that holds its own right one."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _pseudo(source: str, target: str, protocol: int, content: bytes) -> bytes:
    return _ip(source) + _ip(target) + struct.pack(">BBH", 0, protocol, len(content))


def _ip(address: str) -> bytes:
    return ipaddress.IPv4Address(address).packed


def _mac(address: str) -> bytes:
    return bytes.fromhex(address.replace(":", ""))

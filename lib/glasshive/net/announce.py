"""Telling a network who has an address: gratuitous ARP (RFC 5227, 3) and unsolicited neighbour advertisements
(RFC 4861, 7.2.6), and the frames that answers are made of. Needs CAP_NET_RAW in the network namespace of the caller.
"""

from __future__ import annotations

import socket
import struct

from glasshive.errors import KernelError
from glasshive.model.address import Address, is_ipv4

ETH_P_ARP, ETH_P_IPV6 = 0x0806, 0x86DD
ALL_NODES = Address(socket.inet_pton(socket.AF_INET6, "ff02::1"))
_ALL_HOSTS = b"\xff" * 6
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ICMPV6, _ADVERTISEMENT, _OVERRIDE, _SOLICITED = 58, 136, 0x20000000, 0x40000000


def arp_frame(  # noqa: PLR0917 - the fields in their order on the wire
    operation: int, to: bytes, mac: bytes, address: Address, target_mac: bytes, target_ip: bytes
) -> bytes:
    """An ARP frame: 1 asks, 2 answers. ``to`` is the Ethernet destination."""
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + address[12:] + target_mac + target_ip
    return to + mac + struct.pack("!H", ETH_P_ARP) + body


def advertisement_frame(address: Address, mac: bytes, to_mac: bytes, to: Address, *, solicited: bool) -> bytes:
    """A neighbour advertisement that overrides what its receivers know."""
    flags = _OVERRIDE | (_SOLICITED if solicited else 0)
    message = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, flags) + address + b"\x02\x01" + mac
    pseudo = address + to + struct.pack("!II", len(message), _ICMPV6)
    message = message[:2] + struct.pack("!H", _checksum(pseudo + message)) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, 255) + address + to
    return to_mac + mac + struct.pack("!H", ETH_P_IPV6) + header + message


def arp_announcement(address: Address, mac: bytes) -> bytes:
    """Frame that announces an IPv4 address: an ARP question for the sender's own address."""
    return arp_frame(1, _ALL_HOSTS, mac, address, bytes(6), address[12:])


def neighbour_advertisement(address: Address, mac: bytes) -> bytes:
    """Frame that announces an IPv6 address to all nodes."""
    return advertisement_frame(address, mac, _ALL_NODES_MAC, ALL_NODES, solicited=False)


def _checksum(data: bytes) -> int:
    """Ones' complement sum (RFC 1071); ``data`` has an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def announce(device: str, mac: bytes, addresses: list[Address]) -> None:
    """Send one announcement for each address. KernelError."""
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((device, 0))
            for one in addresses:
                raw.send((arp_announcement if is_ipv4(one) else neighbour_advertisement)(one, mac))
    except OSError as error:
        raise KernelError(f"announcing addresses on {device}", errno=error.errno or 0) from error

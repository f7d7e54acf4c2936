"""Telling a network who has an address from now on: gratuitous ARP (RFC 5227, 3) and unsolicited neighbour
advertisements (RFC 4861, 7.2.6). Needs CAP_NET_RAW in the network namespace of the caller.
"""

from __future__ import annotations

import socket
import struct

from glasshive.errors import KernelError
from glasshive.model.address import Address, is_ipv4

_ALL_HOSTS = b"\xff" * 6
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
_ETH_P_ARP, _ETH_P_IPV6, _ETH_P_IP = 0x0806, 0x86DD, 0x0800
_ICMPV6, _ADVERTISEMENT, _OVERRIDE = 58, 136, 0x20000000


def arp_announcement(address: Address, mac: bytes) -> bytes:
    """Frame that announces an IPv4 address: an ARP question for the sender's own address."""
    ip = address[12:]
    body = struct.pack("!HHBBH", 1, _ETH_P_IP, 6, 4, 1) + mac + ip + bytes(6) + ip
    return _ALL_HOSTS + mac + struct.pack("!H", _ETH_P_ARP) + body


def neighbour_advertisement(address: Address, mac: bytes) -> bytes:
    """Frame that announces an IPv6 address to all nodes; it overrides what they know."""
    message = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, _OVERRIDE) + address + b"\x02\x01" + mac
    pseudo = address + _ALL_NODES + struct.pack("!II", len(message), _ICMPV6)
    message = message[:2] + struct.pack("!H", _checksum(pseudo + message)) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, 255) + address + _ALL_NODES
    return _ALL_NODES_MAC + mac + struct.pack("!H", _ETH_P_IPV6) + header + message


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
        raise KernelError(f"announcing addresses on {device}: {error.strerror}", errno=error.errno or 0) from error

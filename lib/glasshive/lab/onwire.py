"""What a ping looks like on a node's wire, header by header: with an outer header, or without. Pure but for ``sniff``.

RFC 791 (IPv4), RFC 7348 (VXLAN; the datapath uses UDP port 8472, as Linux does).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from glasshive.net.netns import in_netns

VXLAN_PORT = 8472
_ETHERNET, _UDP_HEADER, _VXLAN_HEADER = 14, 8, 8
_IPV4, _ICMP_REQUEST = 0x0800, 8
_ETH_P_ALL, _OUTGOING = 3, 4


class Header(NamedTuple):
    """An IPv4 header: addresses, protocol number, and the length of the whole packet in bytes."""

    source: str
    target: str
    protocol: int
    length: int


class Frame(NamedTuple):
    """An ICMP echo request in a frame: its own header, and what it was wrapped in (None, 0 when it was not)."""

    inner: Header
    outer: Header | None = None
    vni: int = 0


def parse(frame: bytes) -> Frame | None:
    """Read a frame, Ethernet header first; None if there is no ICMP echo request over IPv4 in it."""
    found = _ipv4(frame)
    if found is None:
        return None
    header, rest = found
    if header.protocol == socket.IPPROTO_UDP and int.from_bytes(rest[2:4]) == VXLAN_PORT:
        vxlan = rest[_UDP_HEADER:]
        inside = parse(vxlan[_VXLAN_HEADER:])
        return inside and Frame(inside.inner, header, int.from_bytes(vxlan[4:7]))
    return Frame(header) if header.protocol == socket.IPPROTO_ICMP and rest[:1] == bytes([_ICMP_REQUEST]) else None


def _ipv4(frame: bytes) -> tuple[Header, bytes] | None:
    packet = frame[_ETHERNET:]
    if len(packet) < 20 or int.from_bytes(frame[12:14]) != _IPV4:
        return None
    ends = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    return Header(*ends, packet[9], int.from_bytes(packet[2:4])), packet[(packet[0] & 15) * 4 :]


def rows(frame: Frame, names: Callable[[str], str], identity: str) -> list[dict[str, object]]:
    """The headers from the outside in, addresses by ``names``; ``identity`` says whose number the VNI is."""
    found: list[dict[str, object]] = []
    if frame.outer is not None:
        found.append({"header": "outer IP", **_ends(frame.outer, names), "bytes": frame.outer.length})
        found.append({"header": "UDP", "from": "", "to": f"port {VXLAN_PORT}", "bytes": frame.outer.length - 20})
        size = frame.outer.length - 20 - _UDP_HEADER
        found.append({"header": "VXLAN", "from": f"VNI {identity}", "to": "", "bytes": size})
        found.append({"header": "Ethernet", "from": "", "to": "", "bytes": size - _VXLAN_HEADER})
    found.append({"header": "IP", **_ends(frame.inner, names), "bytes": frame.inner.length})
    found.append({"header": "ICMP", "from": "", "to": "echo request", "bytes": frame.inner.length - 20})
    return found


def _ends(header: Header, names: Callable[[str], str]) -> dict[str, object]:
    return {"from": names(header.source), "to": names(header.target)}


class Sniffer:
    """Frames that leave by a device while it is open."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def frames(self) -> Iterator[bytes]:
        """Those that have gone out so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, (_, _, kind, *_) = self._sock.recvfrom(65535)
                if kind == _OUTGOING:
                    yield frame


@contextlib.contextmanager
def sniff(netns: str | Path, device: str) -> Iterator[Sniffer]:
    """Listen at a device of a network namespace with a packet socket, as tcpdump does."""

    def listen() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        sock.bind((device, _ETH_P_ALL))
        sock.setblocking(False)
        return sock

    with in_netns(netns, listen) as sock:
        yield Sniffer(sock)

"""Which packets reach a pod: a packet socket at its devices, read by the grader. Proof that a canary did not arrive.

The socket lives in the pod's network namespace and only listens. It sees what comes in behind all programs at the
node's side of the wire, so what it does not see, the pod was not given.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from glasshive.lab.grading.reader import ClusterReader
from glasshive.net.netns import in_netns

_ETH_P_ALL = 3
_PACKET_OUTGOING = 4
_BUFFER_BYTES = 4 << 20


class Capture:
    """Packets that came in since it was opened."""

    def __init__(self, pod: str, sock: socket.socket) -> None:
        self.pod = pod
        self._sock = sock
        self._packets: list[bytes] = []

    def holds(self, canary: str) -> bool:
        """Whether a packet with these bytes came in (as text, or as the bytes that its hexadecimal digits spell)."""
        self._take()
        wanted = (canary.encode(), bytes.fromhex(canary))
        return any(one in packet for packet in self._packets for one in wanted)

    def holds_syn(self, port: int, source: str, *, udp: bool = False) -> bool:
        """Whether a TCP packet (or a datagram) from an address to a port came in."""
        self._take()
        protocol = socket.IPPROTO_UDP if udp else socket.IPPROTO_TCP
        return any(is_from(packet, source, port, protocol) for packet in self._packets)

    def _take(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                packet, (_, _, kind, *_) = self._sock.recvfrom(2048)
                if kind != _PACKET_OUTGOING:
                    self._packets.append(packet)


@contextlib.contextmanager
def capture(reader: ClusterReader, pod: str) -> Iterator[Capture]:
    """Listen at a pod of the lab."""
    where = Path(reader.endpoint(pod)["netns"])

    def listen() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        sock.setblocking(False)
        return sock

    sock = in_netns(where, listen)
    try:
        yield Capture(pod, sock)
    finally:
        sock.close()


def is_from(packet: bytes, source: str, port: int, wanted: int) -> bool:
    """Whether an IP packet (without extension headers) is of this protocol, from ``source`` to ``port``."""
    six = ":" in source
    if not packet or packet[0] >> 4 != (6 if six else 4):
        return False
    head = 40 if six else (packet[0] & 15) * 4
    protocol = packet[6] if six else packet[9]
    held = packet[8:24] if six else packet[12:16]
    if protocol != wanted or len(packet) < head + 4:
        return False
    family = socket.AF_INET6 if six else socket.AF_INET
    return held == socket.inet_pton(family, source) and int.from_bytes(packet[head + 2 : head + 4]) == port

"""A process that answers ARP and neighbour solicitations for addresses that its machine does not have.

For nodes without eBPF. It listens only while there is something to answer, to ARP and to neighbour solicitations alone
(a filter in the kernel drops the rest), and dies with its process. Needs CAP_NET_RAW in the caller's network namespace.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import socket
import struct
import time
from collections.abc import Collection

from glasshive.errors import KernelError
from glasshive.model.address import V4_MAPPED, ZERO, Address
from glasshive.net.announce import ALL_NODES, ETH_P_ARP, ETH_P_IPV6, advertisement_frame, arp_frame

Answered = tuple[Address, int]
_OUTGOING = 4
_SO_ATTACH_FILTER = 26
_ICMPV6, _SOLICITATION = 58, 135
_SOLICITATIONS = [  # classic BPF: IPv6 next header is ICMPv6, its type is a neighbour solicitation
    (0x30, 0, 0, 20), (0x15, 0, 3, _ICMPV6),
    (0x30, 0, 0, 54), (0x15, 0, 1, _SOLICITATION),
    (0x06, 0, 0, 256), (0x06, 0, 0, 0),
]  # fmt: skip

log = logging.getLogger(__name__)


def asked_by_arp(frame: bytes) -> Address | None:
    """The address that an ARP question is about; None for anything else, announcements included."""
    if len(frame) < 42 or frame[14:22] != struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) or frame[28:32] == frame[38:42]:
        return None
    return Address(V4_MAPPED + frame[38:42])


def asked_by_solicitation(frame: bytes) -> Address | None:
    """The address that a neighbour solicitation is about; None for anything else, and for one from another link."""
    if len(frame) < 78 or frame[20] != _ICMPV6 or frame[21] != 255 or frame[54] != _SOLICITATION:
        return None
    return Address(frame[62:78])


def answer_of(frame: bytes, asked: Address, mac: bytes) -> bytes:
    """The answer to a question."""
    if frame[12:14] == struct.pack("!H", ETH_P_ARP):
        return arp_frame(2, frame[22:28], mac, asked, frame[22:28], frame[28:32])
    asker = Address(frame[22:38])
    return advertisement_frame(asked, mac, frame[6:12], ALL_NODES if asker == ZERO else asker, solicited=asker != ZERO)


class NeighbourAnswers:
    """Answers on one device, from the running event loop."""

    def __init__(self, device: str, index: int, mac: bytes) -> None:
        self._device = device
        self._index = index
        self._mac = mac
        self._sent: dict[Answered, int] = {}
        self._until_ns = 0
        self._sockets: list[socket.socket] = []

    def set(self, wanted: Collection[Answered]) -> list[Answered]:
        """Answer for exactly these; returns those that are new. KernelError."""
        new = [one for one in wanted if one not in self._sent]
        self._sent = {one: self._sent.get(one, 0) for one in wanted}
        if self._sent and not self._sockets:
            self._open()
        elif not self._sent:
            self.close()
        return new

    def set_term(self, until_ns: int) -> None:
        """Answer until then (CLOCK_MONOTONIC)."""
        self._until_ns = until_ns

    def entries(self) -> dict[Answered, int]:
        """What is answered for -> answers sent."""
        return dict(self._sent)

    def close(self) -> None:
        """Answer for nothing any more."""
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            loop.remove_reader(one)
            one.close()
        self._sockets = []

    def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            for protocol in (ETH_P_ARP, ETH_P_IPV6):
                raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                self._sockets.append(raw)
                raw.setblocking(False)
                if protocol == ETH_P_IPV6:
                    _attach(raw, _SOLICITATIONS)
                raw.bind((self._device, protocol))
                loop.add_reader(raw, self._read, raw)
        except OSError as error:
            self.close()
            raise KernelError(f"answering for addresses on {self._device}", errno=error.errno or 0) from error

    def _read(self, raw: socket.socket) -> None:
        try:
            frame, sender = raw.recvfrom(256)
        except OSError as error:
            log.debug("questions on %s: %s", self._device, error)  # the device is down, or somebody was faster
            return
        if sender[2] == _OUTGOING or time.monotonic_ns() >= self._until_ns:
            return
        asked = asked_by_arp(frame) if sender[1] == ETH_P_ARP else asked_by_solicitation(frame)
        key = (asked, self._index) if asked is not None else None
        if asked is None or key not in self._sent:
            return
        try:
            raw.send(answer_of(frame, asked, self._mac))
            self._sent[asked, self._index] += 1
        except OSError as error:
            log.warning("an answer on %s could not be sent: %s", self._device, error)


def _attach(raw: socket.socket, program: list[tuple[int, int, int, int]]) -> None:
    """Put a classic BPF program on a socket (struct sock_fprog of linux/filter.h)."""
    code = b"".join(struct.pack("HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(code)
    raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(buffer)))

"""Raw rtnetlink: many messages in one ``sendmsg``, each error traced back to its message.

Why not pyroute2: importing it takes 0.5 s and one object costs milliseconds, whereas a pod's whole link (nine messages)
is encoded here in 20 us and applied by the kernel in 0.5 ms (``shared/reference/kernel-recipes.md`` section 2).

All netlink headers and attributes are in host byte order; addresses and VXLAN ports are in network byte order
(``_be``). Sources: rtnetlink(7), linux/netlink.h, linux/rtnetlink.h, linux/if_link.h.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from glasshive.errors import NetlinkError

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
CREATE = NLM_F_CREATE | NLM_F_EXCL

NLMSG_ERROR = 2
NLMSG_DONE = 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH = 28, 29

NLA_F_NESTED = 0x8000
IFF_UP = 0x1

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_SO_RCVBUFFORCE = 33
ROOM_BYTES = 8 << 20
_NLMSGERR_ATTR_MSG = 1
_NLM_F_ACK_TLVS = 0x200
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port id
_ATTRIBUTE = struct.Struct("=HH")
_IFINFO = struct.Struct("=BxHiII")  # ifinfomsg: family, device type, index, flags, change mask
_IFADDR = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_RTMSG = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst len, src len, tos, table, protocol, scope, type, flags
_NDMSG = struct.Struct("=BxxxiHBB")  # ndmsg: family, index, state, flags, type
ANSWER_BYTES = 1 << 15  # one answer or one piece of a dump; larger buffers cost page faults on every call


def attr(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to 4 bytes. Add ``NLA_F_NESTED`` to ``kind`` for containers."""
    return _ATTRIBUTE.pack(len(payload) + 4, kind) + payload + bytes(-len(payload) % 4)


def attr_u32(kind: int, value: int) -> bytes:
    """An attribute with an unsigned 32-bit number in host byte order."""
    return struct.pack("=HHI", 8, kind, value)


def attr_text(kind: int, value: str) -> bytes:
    """An attribute with a zero-terminated string."""
    return attr(kind, value.encode() + b"\0")


def ifinfo(index: int = 0, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    """Body of a link message."""
    return _IFINFO.pack(family, 0, index, flags, change)


def ifaddr(family: int, prefix_length: int, index: int, flags: int = 0, scope: int = 0) -> bytes:
    """Body of an address message."""
    return _IFADDR.pack(family, prefix_length, flags, scope, index)


def rtmsg(
    family: int, dst_length: int, *, table: int = 254, protocol: int = 3, scope: int = 0, kind: int = 1, flags: int = 0
) -> bytes:
    """Body of a route message; by default main table, protocol boot, universal scope, unicast."""
    return _RTMSG.pack(family, dst_length, 0, 0, table, protocol, scope, kind, flags)


def ndmsg(family: int, index: int, state: int, flags: int = 0) -> bytes:
    """Body of a neighbour message."""
    return _NDMSG.pack(family, index, state, flags, 0)


def attributes(data: bytes | memoryview, offset: int = 0) -> dict[int, bytes]:
    """Attributes of a message or container from ``offset`` on; nested marks are removed, the last of a kind wins."""
    found: dict[int, bytes] = {}
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = bytes(data[offset + 4 : offset + length])
        offset += (length + 3) & ~3
    return found


class Batch:
    """Messages to be sent together. The kernel works through all of them, also past one that fails.

    Only the last message asks for an acknowledgement: errors of the others are reported anyway, and each answer costs
    one receive.
    """

    def __init__(self) -> None:
        self._messages: list[tuple[int, int, bytes]] = []
        self.what: list[str] = []

    def __len__(self) -> int:
        return len(self.what)

    def add(self, kind: int, flags: int, what: str, *parts: bytes) -> None:
        """Append one message made of a body and attributes; ``what`` names it in an error."""
        self._messages.append((kind, flags | NLM_F_REQUEST, b"".join(parts)))
        self.what.append(what)

    def encoded(self) -> bytes:
        """The bytes to send. Message sequence numbers count from 1."""
        last = len(self._messages)
        return b"".join(
            _HEADER.pack(16 + len(payload), kind, flags if number < last else flags | NLM_F_ACK, number, 0) + payload
            for number, (kind, flags, payload) in enumerate(self._messages, 1)
        )


class Socket:
    """A rtnetlink socket. It belongs to the network namespace its creator was in, for ever."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        except OSError as error:
            raise NetlinkError("cannot open a rtnetlink socket", error.errno or 0) from None
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            with contextlib.suppress(OSError):  # better messages and filtered dumps where the kernel offers them
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
        with contextlib.suppress(OSError):  # room for one error per message of a large batch; used only when needed
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, ROOM_BYTES)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, batch: Batch) -> None:
        """Send the batch and check every acknowledgement.

        Raises NetlinkError for the first message that failed; the others have been applied all the same.
        """
        if not batch.what:
            return
        try:
            self._socket.send(batch.encoded())
            failure = self._first_failure(batch)
        except OSError as error:
            self._drain()
            raise NetlinkError(f"rtnetlink: {batch.what[0]}", error.errno or 0) from None
        if failure is not None:
            raise failure

    def _drain(self) -> None:
        """Throw away what is waiting, so that the next answers read are those to the next question."""
        while True:
            try:
                self._socket.recv(ANSWER_BYTES, socket.MSG_DONTWAIT)
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # that one tells of the overflow, and is told once
                    return

    def _first_failure(self, batch: Batch) -> NetlinkError | None:
        failure: NetlinkError | None = None
        last = len(batch)
        while True:
            data = self._socket.recv(ANSWER_BYTES)
            for kind, flags, sequence, start, end in _messages(data):
                if kind != NLMSG_ERROR:
                    continue
                (code,) = struct.unpack_from("=i", data, start)
                if code and failure is None:
                    text = _extended_text(data[start:end], flags)
                    failure = NetlinkError(f"rtnetlink: {batch.what[sequence - 1]}{text}", -code)
                if sequence == last:
                    return failure

    def one(self, kind: int, flags: int, what: str, *parts: bytes) -> None:
        """Send one message and check it."""
        batch = Batch()
        batch.add(kind, flags, what, *parts)
        self.run(batch)

    def get(self, kind: int, what: str, *parts: bytes) -> bytes:
        """Ask for one object; the body of the answer. Raises NetlinkError (ENODEV for an unknown link)."""
        payload = b"".join(parts)
        self._socket.send(_HEADER.pack(16 + len(payload), kind, NLM_F_REQUEST, 1, 0) + payload)
        data = self._socket.recv(ANSWER_BYTES)
        for got, flags, _sequence, start, end in _messages(data):
            if got == NLMSG_ERROR:
                (code,) = struct.unpack_from("=i", data, start)
                raise NetlinkError(f"rtnetlink: {what}{_extended_text(data[start:end], flags)}", -code)
            return data[start:end]
        raise NetlinkError(f"rtnetlink: {what}: empty answer", errno.EPROTO)

    def dump(self, kind: int, what: str, *parts: bytes) -> Iterator[bytes]:
        """Bodies of all objects of a kind (RTM_GET...)."""
        payload = b"".join(parts)
        self._socket.send(_HEADER.pack(16 + len(payload), kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + payload)
        while True:
            data = self._socket.recv(ANSWER_BYTES)
            for got, flags, _sequence, start, end in _messages(data):
                if got == NLMSG_DONE:
                    return
                if got == NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", data, start)
                    raise NetlinkError(f"rtnetlink: {what}{_extended_text(data[start:end], flags)}", -code)
                yield data[start:end]


def _messages(data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """Type, flags, sequence, start and end of the payload of each message in ``data``."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
        if length < 16:
            return
        yield kind, flags, sequence, offset + 16, offset + length
        offset += (length + 3) & ~3


def _extended_text(payload: bytes, flags: int) -> str:
    """The kernel's own words about an error, if it sent any. With CAP_ACK the echo is one header (16 bytes) after the
    code.
    """
    if not flags & _NLM_F_ACK_TLVS:
        return ""
    message = attributes(payload, 20).get(_NLMSGERR_ATTR_MSG)
    return f": {message.rstrip(bytes(1)).decode(errors='replace')}" if message else ""

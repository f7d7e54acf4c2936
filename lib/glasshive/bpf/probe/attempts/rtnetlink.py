"""Just enough rtnetlink to try devices, queueing disciplines and filters in a namespace of one's own.

Standard library only (see ``syscalls``). Attribute and message numbers are those of linux/rtnetlink.h, if_link.h and
pkt_sched.h; netlink integers are host byte order.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator

NEWLINK, DELLINK, GETLINK, NEWQDISC, NEWTFILTER = 16, 17, 18, 36, 44
_REQUEST, _ACK, _CREATE, _EXCL = 1, 4, 0x400, 0x200
IFNAME, LINKINFO, INFO_KIND, INFO_DATA, IFLA_LINK = 3, 18, 1, 2, 5
TCA_KIND, TCA_OPTIONS = 1, 2
CLSACT_PARENT, ROOT_PARENT = 0xFFFFFFF1, 0xFFFFFFFF
CLSACT_INGRESS = 0xFFFFFFF2


def attribute(kind: int, payload: bytes) -> bytes:
    """Encode one netlink attribute, padded to four bytes."""
    length = 4 + len(payload)
    return struct.pack("<HH", length, kind) + payload + b"\0" * (-length % 4)


def request(kind: int, body: bytes, *, create: bool = True) -> bytes:
    """Send one message and wait for its acknowledgement; raise OSError with the kernel's errno."""
    flags = _REQUEST | _ACK | ((_CREATE | _EXCL) if create else 0)
    message = struct.pack("<IHHII", 16 + len(body), kind, flags, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as channel:
        channel.settimeout(2.0)
        channel.send(message)
        while True:
            reply = channel.recv(65536)
            reply_kind = struct.unpack_from("<H", reply, 4)[0]
            if reply_kind != 2:  # NLMSG_ERROR carries the acknowledgement too
                return reply
            code = -struct.unpack_from("<i", reply, 16)[0]
            if code:
                raise OSError(code, os.strerror(code) if code != 524 else "not supported")
            return b""


def add_link(name: str, kind: str, data: bytes = b"", extra: bytes = b"") -> int:
    """Create a device of ``kind`` and give its ifindex."""
    info = attribute(INFO_KIND, kind.encode()) + (attribute(INFO_DATA, data) if data else b"")
    body = (
        struct.pack("<BxHiII", 0, 0, 0, 0, 0)
        + attribute(IFNAME, name.encode() + b"\0")
        + attribute(LINKINFO, info)
        + extra
    )
    request(NEWLINK, body)
    return socket.if_nametoindex(name)


def delete_link(ifindex: int) -> None:
    """Delete a device."""
    request(DELLINK, struct.pack("<BxHiII", 0, 0, ifindex, 0, 0), create=False)


@contextlib.contextmanager
def scratch_device(kind: str = "veth") -> Iterator[int]:
    """Make a device, give its ifindex, delete it. A veth needs no module anywhere that containers run."""
    ifindex = add_link("ghprobe0", kind)
    try:
        yield ifindex
    finally:
        delete_link(ifindex)


def set_up(ifindex: int) -> None:
    """Set a device up (IFF_UP is bit 0)."""
    request(NEWLINK, struct.pack("<BxHiII", 0, 0, ifindex, 1, 1), create=False)


def add_qdisc(ifindex: int, kind: str, *, parent: int = ROOT_PARENT, handle: int = 0x10000) -> None:
    """Put a queueing discipline on a device."""
    body = struct.pack("<BxxxiIII", 0, ifindex, handle, parent, 0) + attribute(TCA_KIND, kind.encode() + b"\0")
    request(NEWQDISC, body)


def add_clsact(ifindex: int) -> None:
    """Put the clsact queueing discipline on a device."""
    add_qdisc(ifindex, "clsact", parent=CLSACT_PARENT, handle=0xFFFF0000)


def add_filter(ifindex: int, kind: str, options: bytes) -> None:
    """Put a filter (priority 1, all protocols) on the clsact ingress of a device."""
    protocol_be = socket.htons(0x0003)
    body = struct.pack("<BxxxiIII", 0, ifindex, 0, CLSACT_INGRESS, 1 << 16 | protocol_be)
    request(NEWTFILTER, body + attribute(TCA_KIND, kind.encode() + b"\0") + attribute(TCA_OPTIONS, options))


def known(error: OSError) -> bool:
    """Tell whether a refusal shows that the kernel does know the kind: it looked at our (missing) options."""
    return error.errno in {errno.EINVAL, errno.ERANGE, errno.EBUSY, errno.EEXIST}

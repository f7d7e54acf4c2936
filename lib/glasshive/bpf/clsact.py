"""Programs on a device where the kernel has no tcx: a clsact qdisc with a direct-action cls_bpf filter.

A filter belongs to its device, not to a file descriptor: it stays until it is removed or the device goes. Replacing
keeps the same priority and handle, which the kernel swaps under traffic. Messages as in rtnetlink(7) and
include/uapi/linux/pkt_cls.h; they go out in the calling thread's network namespace.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Literal

from glasshive.bpf.program import Program
from glasshive.errors import NetlinkError, PermissionNeededError

_NEWQDISC, _NEWTFILTER, _DELTFILTER, _ERROR = 36, 44, 45, 2
_REQUEST_ACK, _EXCL, _CREATE = 0x5, 0x200, 0x400
_CLSACT, _ROOT_HANDLE = 0xFFFFFFF1, 0xFFFF0000
_PARENT = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
_KIND, _OPTIONS = 1, 2
_BPF_FD, _BPF_NAME, _BPF_FLAGS = 6, 7, 8
_DIRECT_ACTION = 1
_PRIORITY, _HANDLE = 50, 0x67
"""Ours on every device: no other program's filter is touched."""


class TcFilter:
    """A program attached by cls_bpf, with the same verbs as ``link.Link``."""

    def __init__(self, program: Program, ifindex: int, direction: Literal["ingress", "egress"]) -> None:
        self.ifindex = ifindex
        self.direction = direction
        self._keep = False
        try:
            _send(_NEWQDISC, _CREATE | _EXCL, ifindex, _ROOT_HANDLE, _CLSACT, 0, _text(_KIND, "clsact"))
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
        self.update(program)
        self._attached = True

    def update(self, program: Program) -> None:
        """Put another program in the place of the one attached, atomically."""
        options = (
            _attribute(_BPF_FD, struct.pack("=I", program.fd))
            + _text(_BPF_NAME, program.name)
            + _attribute(_BPF_FLAGS, struct.pack("=I", _DIRECT_ACTION))
        )
        body = _text(_KIND, "bpf") + _attribute(_OPTIONS, options)
        self._filter(_NEWTFILTER, _CREATE, body)

    def pin(self, path: str | os.PathLike[str]) -> None:  # noqa: ARG002 (Link.pin takes it)
        """Keep the filter when this process ends. It needs no name: attaching again finds and replaces it."""
        self._keep = True

    def detach(self) -> None:
        """Remove the filter now."""
        try:
            self._filter(_DELTFILTER, 0, b"")
        except NetlinkError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EINVAL):  # the device or its qdisc is gone
                raise
        self._attached = False

    def close(self) -> None:
        """Remove the filter, unless ``pin`` was called. In the namespace where it was attached."""
        if self._attached and not self._keep:
            self.detach()

    def _filter(self, kind: int, flags: int, body: bytes) -> None:
        info = _PRIORITY << 16 | socket.htons(3)  # ETH_P_ALL
        _send(kind, flags, self.ifindex, _HANDLE, _PARENT[self.direction], info, body)


def _attribute(kind: int, value: bytes) -> bytes:
    return (struct.pack("=HH", len(value) + 4, kind) + value).ljust((len(value) + 7) // 4 * 4, b"\0")


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _send(kind: int, flags: int, ifindex: int, handle: int, parent: int, info: int, body: bytes) -> None:  # noqa: PLR0917
    """Send one traffic-control message and wait for its acknowledgement."""
    message = struct.pack("=BxxxiIII", 0, ifindex, handle, parent, info) + body
    header = struct.pack("=IHHII", len(message) + 16, kind, _REQUEST_ACK | flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(10)
        netlink.send(header + message)
        answer = netlink.recv(65536)
    answer_kind, code = struct.unpack_from("=H", answer, 4)[0], struct.unpack_from("=i", answer, 16)[0]
    if answer_kind != _ERROR or code == 0:
        return
    if code == -errno.EPERM:
        raise PermissionNeededError(
            f"could not attach to device {ifindex}: permission denied", hint="needs CAP_NET_ADMIN"
        )
    raise NetlinkError(f"could not attach a program to device {ifindex}", -code)

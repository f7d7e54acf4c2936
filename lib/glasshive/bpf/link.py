"""Attaching programs: a link holds a program at its hook until the last fd and pin of the link are gone.

Replace a program with ``Link.update`` (atomic, 3 us), never by detaching and attaching: an unpinned link is released
some time after its last reference, and until then the same program cannot be attached again (EEXIST).
Functions act in the calling thread's network namespace.
"""

from __future__ import annotations

import os
import struct
from typing import Literal, Self

from glasshive.bpf import syscall
from glasshive.bpf.program import Program
from glasshive.bpf.uapi import AttachType, Cmd, LinkType, known

Direction = Literal["ingress", "egress"]

_INFO_BYTES = 64
_TCX = {"ingress": AttachType.TCX_INGRESS, "egress": AttachType.TCX_EGRESS}


class Link:
    """An attachment that the kernel knows as a link. Owns its file descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Link:
        """Open a pinned link."""
        return cls(syscall.open_pin(path))

    @classmethod
    def by_id(cls, number: int) -> Link:
        """Open any link of this machine by its id."""
        return cls(syscall.fd_by_id(Cmd.LINK_GET_FD_BY_ID, number))

    def _info(self) -> tuple[int, int, int]:
        kind, number, program = struct.unpack_from("=III", syscall.info_by_fd(self.fd, _INFO_BYTES))
        return kind, number, program

    @property
    def id(self) -> int:
        """The kernel's id of the link."""
        return self._info()[1]

    @property
    def type(self) -> LinkType:
        """Kind of link."""
        kind = self._info()[0]
        return known(LinkType, kind) or LinkType.UNSPEC

    @property
    def program_id(self) -> int:
        """Id of the program that the link holds now."""
        return self._info()[2]

    def update(self, program: Program) -> None:
        """Put another program in the place of the one attached, atomically: every packet sees one or the other."""
        attr = struct.pack("=IIII", self.fd, program.fd, 0, 0)
        syscall.bpf(Cmd.LINK_UPDATE, attr, f"put program {program.name} into a link")

    def detach(self) -> None:
        """Detach now, also when the link is pinned. The link stays, empty."""
        syscall.bpf(Cmd.LINK_DETACH, struct.pack("=I", self.fd), "detach a link")

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Name the link in bpffs: it stays attached without this process."""
        syscall.pin(self.fd, path)

    def close(self) -> None:
        """Let go; this detaches, unless the link is pinned or open elsewhere. Closing twice is harmless."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            self.close()


def _create(program: Program, target: int, attach_type: int, what: str, *, tail: bytes = b"", flags: int = 0) -> Link:
    attr = struct.pack("=IIII", program.fd, target, attach_type, flags) + tail.ljust(32, b"\0")
    return Link(syscall.bpf(Cmd.LINK_CREATE, attr, f"attach program {program.name} to {what}"))


def tcx(program: Program, ifindex: int, direction: Direction) -> Link:
    """Attach to a device's tcx hook (Linux 6.6), behind the programs already there."""
    return _create(program, ifindex, _TCX[direction], f"tcx {direction} of device {ifindex}")


def xdp(program: Program, ifindex: int, *, flags: int = 0) -> Link:
    """Attach to a device's XDP hook. ``flags``: 2 generic, 4 in the driver, 8 in the hardware; 0: kernel chooses."""
    return _create(program, ifindex, AttachType.XDP, f"XDP of device {ifindex}", flags=flags)

"""Attaching programs: a link holds a program at its hook until the last fd and pin of the link are gone.

Replace a program with ``Link.update`` (atomic, 3 us), never by detaching and attaching: an unpinned link is released
some time after its last reference, and until then the same program cannot be attached again (EEXIST).
Functions act in the calling thread's network namespace.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from functools import cache
from pathlib import Path
from typing import Literal, Self

from glasshive.bpf import perf, syscall
from glasshive.bpf.clsact import TcFilter
from glasshive.bpf.program import Program
from glasshive.bpf.uapi import AttachType, Cmd, LinkType, known
from glasshive.errors import BpfError, UsageError

Direction = Literal["ingress", "egress"]

_INFO_BYTES = 64
_F_BEFORE = 1 << 3  # uapi/linux/bpf.h, BPF_F_BEFORE: without another program to stand before, before all
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

    @property
    def cgroup_id(self) -> int:
        """Inode number of the cgroup that a cgroup link is attached to; 0 if that was removed."""
        return int(struct.unpack_from("=Q", syscall.info_by_fd(self.fd, _INFO_BYTES), 16)[0])

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


def tcx(program: Program, ifindex: int, direction: Direction, *, first: bool = False) -> Link:
    """Attach to a device's tcx hook (Linux 6.6), behind the programs already there, or ``first``, before them."""
    flags = _F_BEFORE if first else 0
    return _create(program, ifindex, _TCX[direction], f"tcx {direction} of device {ifindex}", flags=flags)


@cache
def has_tcx() -> bool:
    """Say whether the kernel has tcx. Asked about a device that cannot be, only a kernel with tcx misses the device."""
    attr = struct.pack("=IIIIQII", 0x7FFFFFFF, AttachType.TCX_INGRESS, 0, 0, 0, 0, 0)
    return syscall.raw(Cmd.PROG_QUERY, ctypes.create_string_buffer(attr, len(attr))) == -errno.ENODEV


def attach_tc(
    program: Program, ifindex: int, direction: Direction, pin: str | os.PathLike[str] | None = None
) -> Link | TcFilter:
    """Attach to a device by tcx, or by clsact and cls_bpf where the kernel has no tcx.

    With ``pin`` the attachment outlives this process, and calling again puts the new program in the place of the old
    one without a gap: this is how a restarted agent takes over.
    """
    if not has_tcx():
        made = TcFilter(program, ifindex, direction)
        if pin is not None:
            made.pin(pin)
        return made
    if pin is None:
        return tcx(program, ifindex, direction)
    if os.path.exists(pin):  # noqa: PTH110 - twice per pod, and a Path costs more than the call
        taken_over = _take_over(program, ifindex, Path(pin))
        if taken_over is not None:
            return taken_over
    link = tcx(program, ifindex, direction)
    link.pin(pin)
    return link


def _take_over(program: Program, ifindex: int, pin: Path) -> Link | None:
    """Update the pinned link if it still is at that device; else remove the pin and return None."""
    link = Link.open(pin)
    if struct.unpack_from("=I", syscall.info_by_fd(link.fd, _INFO_BYTES), 16)[0] == ifindex:
        try:
            link.update(program)
        except BpfError as error:
            if error.errno != errno.ENOLINK:
                raise
        else:
            return link
    pin.unlink()
    link.close()
    return None


def xdp(program: Program, ifindex: int, *, flags: int = 0) -> Link:
    """Attach to a device's XDP hook. ``flags``: 2 generic, 4 in the driver, 8 in the hardware; 0: kernel chooses."""
    return _create(program, ifindex, AttachType.XDP, f"XDP of device {ifindex}", flags=flags)


def cgroup(program: Program, path: str | os.PathLike[str], attach_type: AttachType | None = None) -> Link:
    """Attach to a cgroup (v2) and everything below it. The attach type is the section's, unless given."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _create(program, fd, _attach_type(program, attach_type), f"cgroup {os.fspath(path)}")
    finally:
        os.close(fd)


def netns(program: Program, fd: int, attach_type: AttachType | None = None) -> Link:
    """Attach a socket look-up or flow dissector program to a network namespace, given by an open fd of it."""
    return _create(program, fd, _attach_type(program, attach_type), "a network namespace")


def tracepoint(program: Program, category: str, name: str, *, cookie: int = 0) -> Link:
    """Attach to a tracepoint such as ``sched``, ``sched_process_exec``."""
    return _perf(program, perf.tracepoint(category, name), f"tracepoint {category}:{name}", cookie)


def kprobe(program: Program, function: str, *, offset: int = 0, at_return: bool = False, cookie: int = 0) -> Link:
    """Attach to a kernel function, ``offset`` bytes into it, or to its return."""
    event = perf.kprobe(function, offset, at_return=at_return)
    return _perf(program, event, f"kernel function {function}", cookie)


def uprobe(
    program: Program,
    path: str | os.PathLike[str],
    where: str | int,
    *,
    pid: int = -1,
    at_return: bool = False,
    cookie: int = 0,
) -> Link:
    """Attach to a function (or file offset in bytes) of a program file or library, in one process or (-1) in all."""
    event = perf.uprobe(path, where, pid=pid, at_return=at_return)
    return _perf(program, event, f"{where} of {os.fspath(path)}", cookie)


def raw_tracepoint(program: Program, name: str | None = None) -> Link:
    """Attach to a raw tracepoint by name; a ``tp_btf`` program knows its own and takes none."""
    text = name.encode() + b"\0" if name else b""
    attr = struct.pack("=QIIQ", syscall.address_of(text) if text else 0, program.fd, 0, 0)
    what = f"attach program {program.name} to raw tracepoint {name or program.section}"
    return Link(syscall.bpf(Cmd.RAW_TRACEPOINT_OPEN, attr, what))


def trampoline(program: Program) -> Link:
    """Attach a program whose section names its target: fentry, fexit, fmod_ret, lsm."""
    attr = struct.pack("=QIIQ", 0, program.fd, 0, 0)
    return Link(syscall.bpf(Cmd.RAW_TRACEPOINT_OPEN, attr, f"attach program {program.name} to {program.section}"))


def lsm(program: Program) -> Link:
    """Attach to the LSM hook that the program's section names. Needs ``bpf`` among the kernel's active LSMs."""
    return trampoline(program)


def _perf(program: Program, event: int, what: str, cookie: int) -> Link:
    """Tie the program to a perf event; the link then keeps the event."""
    try:
        return _create(program, event, AttachType.PERF_EVENT, what, tail=struct.pack("=Q", cookie))
    finally:
        os.close(event)


def _attach_type(program: Program, given: AttachType | None) -> AttachType:
    found = given if given is not None else program.attach_type
    if found is None:
        raise UsageError(f"program {program.name} does not say its attach type", hint="pass attach_type")
    return found

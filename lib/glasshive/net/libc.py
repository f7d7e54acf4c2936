"""System calls that Python 3.11 does not offer: namespaces, mounts, capabilities, prctl.

Thin wrappers over the C library. Each raises :class:`~glasshive.errors.KernelError` naming the call and its argument.
Nothing here keeps state. ``setns`` and ``unshare`` change the CALLING THREAD only (except for CLONE_NEWPID, which
changes where the next child goes): use :mod:`glasshive.net.netns` unless you are a process of one thread.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

from glasshive.errors import KernelError

CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_SYS_PIVOT_ROOT = 155 if os.uname().machine == "x86_64" else 41
_SYS_CAPSET = 126 if os.uname().machine == "x86_64" else 91
_CAPABILITY_VERSION_3 = 0x2008_0522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_libc.sethostname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
_libc.syscall.restype = ctypes.c_long


def _check(result: int, what: str) -> None:
    if result < 0:
        raise KernelError(what, ctypes.get_errno())


def unshare(flags: int) -> None:
    """Give the calling thread new namespaces of the kinds in ``flags`` (CLONE_NEW...)."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, kind: int = 0) -> None:
    """Move the calling thread into the namespace behind ``fd``; ``kind`` (CLONE_NEW...) guards against a wrong
    descriptor.
    """
    _check(_libc.setns(fd, kind), f"setns(fd {fd}, {kind:#x})")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). Empty ``fstype`` and ``data`` are passed as NULL."""
    result = _libc.mount(
        source.encode() or None, target.encode(), fstype.encode() or None, flags, data.encode() if data else None
    )
    _check(result, f"mount {fstype or 'bind'} {source} on {target}")


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(target.encode(), flags), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2): ``new_root`` must be a mount point."""
    _check(_libc.syscall(_SYS_PIVOT_ROOT, new_root.encode(), put_old.encode()), f"pivot_root {new_root}")


def prctl(option: int, arg: int = 0) -> None:
    """prctl(2) with one argument."""
    _check(_libc.prctl(option, arg, 0, 0, 0), f"prctl({option}, {arg})")


def set_hostname(name: str) -> None:
    """Set the host name of the current UTS namespace."""
    raw = name.encode()
    _check(_libc.sethostname(raw, len(raw)), f"sethostname {name}")


def set_process_name(name: str) -> None:
    """Name of the calling thread as ``ps`` and sensors show it; cut to 15 bytes."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _libc.prctl(PR_SET_NAME, ctypes.addressof(buffer), 0, 0, 0)


def set_command_line(text: str) -> None:
    """What ``ps`` shows as this process's command line, as far as the original one's memory has room for it.

    For children that never execute anything. Source: proc(5), fields 48 and 49 of stat.
    """
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    if 0 < start < end:
        raw = text.encode()[: end - start - 1]
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, raw, len(raw))


def limit_capabilities(keep: int) -> None:
    """Reduce bounding, permitted and effective sets of the calling thread to the bits in ``keep``; inheritable becomes
    empty.
    """
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
    for capability in range(last + 1):
        if not keep >> capability & 1:
            prctl(PR_CAPBSET_DROP, capability)
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    low, high = keep & 0xFFFF_FFFF, keep >> 32
    data = struct.pack("<6I", low, low, 0, high, high, 0)
    _check(_libc.syscall(_SYS_CAPSET, header, data), "capset")

"""bpf(2) itself: one call, its errors, and the few attribute layouts that more than one module needs.

Standard library only. Layouts follow ``union bpf_attr`` in include/uapi/linux/bpf.h; all integers are in host byte
order. Failures raise BpfError with the errno; a missing capability raises PermissionNeededError.
"""

from __future__ import annotations

import ctypes
import errno as errno_names
import os
import platform
import struct
from pathlib import Path

from glasshive.bpf.uapi import Cmd
from glasshive.errors import BpfError, KernelError, PermissionNeededError

_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_NUMBER = _NUMBERS.get(platform.machine(), 321)

CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 12, 21, 38, 39
OBJ_NAME_LEN = 16
ENOTSUPP = 524
"""The kernel's own "operation not supported", which has no name in user space; old batch paths return it."""
F_RDONLY = 1 << 3
"""Flag of a descriptor through which a map cannot be changed (uapi/linux/bpf.h, BPF_F_RDONLY)."""

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint]


def libc_call(number: int, command: int) -> int:
    """Do a system call that takes a command and no more; -1 with errno set (``ctypes.get_errno``) when it fails."""
    result: int = _syscall(number, command, None, 0)
    return result


def raw(cmd: int, attr: bytes | ctypes.Array[ctypes.c_char]) -> int:
    """Do bpf(cmd, attr). Return its result, or the negative errno.

    The kernel answers inside ``attr`` for some commands: those need a ctypes array, the others may pass bytes.
    """
    result: int = _syscall(_NUMBER, cmd, attr, len(attr))
    return result if result >= 0 else -ctypes.get_errno()


def bpf(cmd: int, attr: bytes | ctypes.Array[ctypes.c_char], what: str) -> int:
    """Do bpf(cmd, attr) and return its result. ``what`` completes "could not ..." in the error's text."""
    buffer = ctypes.create_string_buffer(attr, len(attr)) if isinstance(attr, bytes) else attr
    result = raw(cmd, buffer)
    if result < 0:
        raise failure(what, -result)
    return result


def failure(what: str, errno: int) -> KernelError | PermissionNeededError:
    """Make the error for a refused call: missing capabilities are told apart from everything else."""
    if errno in (errno_names.EPERM, errno_names.EACCES) and not has_capabilities(CAP_BPF):
        return PermissionNeededError(
            f"could not {what}: permission denied", hint="needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
        )
    if errno == ENOTSUPP:
        return BpfError(f"could not {what}: not supported by this kernel", errno_names.EOPNOTSUPP)
    return BpfError(f"could not {what}", errno)


def has_capabilities(*wanted: int) -> bool:
    """Say whether this thread holds the capabilities. CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON."""
    effective = 0
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
    admin = bool(effective >> CAP_SYS_ADMIN & 1)
    return all(effective >> cap & 1 or (admin and cap in (CAP_BPF, CAP_PERFMON)) for cap in wanted)


def address_of(data: bytes) -> int:
    """Address of a bytes object's content. The caller keeps the object alive during the call."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def object_name(raw_name: bytes) -> str:
    """Text of a fixed-size, NUL-padded kernel object name."""
    return raw_name.split(b"\0", 1)[0].decode(errors="replace")


# ---- objects in general: info, pins, ids ---------------------------------------------------------------------------


def info_by_fd(fd: int, size: int, fill: bytes = b"") -> bytes:
    """Read the kernel's description of a program, map, link or BTF. Kernels that know less leave zeros at the end."""
    buffer = ctypes.create_string_buffer(fill, size)
    attr = struct.pack("=IIQ", fd, size, ctypes.addressof(buffer))
    bpf(Cmd.OBJ_GET_INFO_BY_FD, attr, "read the description of a BPF object")
    return buffer.raw


def pin(fd: int, path: str | os.PathLike[str]) -> None:
    """Give a program, map or link a name in bpffs, so that it outlives this process."""
    name = os.fsencode(path) + b"\0"
    result = raw(Cmd.OBJ_PIN, struct.pack("=QII", address_of(name), fd, 0))
    if result == -errno_names.EPERM and has_capabilities(CAP_BPF):
        raise BpfError(
            f"could not pin at {os.fspath(path)}: not in a BPF file system", hint="bpf.mount_bpffs() mounts one"
        )
    if result < 0:
        raise failure(f"pin at {os.fspath(path)}", -result)


def open_pin(path: str | os.PathLike[str], *, read_only: bool = False) -> int:
    """Open what is pinned at ``path``; returns a new file descriptor, close-on-exec.

    ``read_only`` (BPF_F_RDONLY) is for maps: the kernel then refuses every change through the descriptor with EPERM.
    """
    name = os.fsencode(path) + b"\0"
    flags = F_RDONLY if read_only else 0
    return bpf(Cmd.OBJ_GET, struct.pack("=QII", address_of(name), 0, flags), f"open the pin {os.fspath(path)}")


def fd_by_id(cmd: Cmd, number: int) -> int:
    """Open a program, map, link or BTF by its id (``cmd`` is one of *_GET_FD_BY_ID)."""
    return bpf(cmd, struct.pack("=III", number, 0, 0), f"open BPF object id {number}")


def next_id(cmd: Cmd, number: int) -> int | None:
    """Return the id after ``number``, or None after the last one (``cmd`` is one of *_GET_NEXT_ID)."""
    attr = ctypes.create_string_buffer(struct.pack("=III", number, 0, 0), 12)
    result = raw(cmd, attr)
    if result == -errno_names.ENOENT:
        return None
    if result < 0:
        raise failure("list BPF objects", -result)
    following: int = struct.unpack_from("=I", attr, 4)[0]
    return following


def possible_cpus() -> int:
    """Count of possible CPUs: how many values a per-CPU map has for one key."""
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(text.replace("-", ",").split(",")[-1]) + 1

"""Perf events as hooks: tracepoints, kprobes and uprobes are reached through perf_event_open(2).

The functions return a file descriptor of a disabled event, to which ``link`` ties a program.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import struct
from functools import cache
from pathlib import Path

from glasshive.bpf import elf, syscall
from glasshive.errors import BpfError, CapabilityError, NotFoundError, PermissionNeededError, UsageError

_NUMBER = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319, "s390x": 331}.get(platform.machine(), 298)
_TRACEPOINT = 2
_ATTR_BYTES = 112
_CLOSE_ON_EXEC = 8
_TRACEFS = Path("/sys/kernel/tracing")
_DEVICES = Path("/sys/bus/event_source/devices")

_libc = ctypes.CDLL(None, use_errno=True)


def tracepoint(category: str, name: str) -> int:
    """Open a tracepoint event such as ``syscalls``, ``sys_enter_openat``."""
    where = tracefs() / "events" / category / name / "id"
    try:
        number = int(where.read_text())
    except FileNotFoundError as error:
        raise NotFoundError(
            f"this kernel has no tracepoint {category}:{name}", hint=f"see {where.parents[2]}"
        ) from error
    return _open(_TRACEPOINT, number, f"open tracepoint {category}:{name}")


def kprobe(function: str, offset: int = 0, *, at_return: bool = False) -> int:
    """Open an event at a kernel function (plus ``offset`` bytes), or at its return."""
    name = function.encode() + b"\0"
    return _probe("kprobe", f"probe kernel function {function}", syscall.address_of(name), offset, at_return=at_return)


def uprobe(path: str | os.PathLike[str], where: str | int, *, pid: int = -1, at_return: bool = False) -> int:
    """Open an event at a function (or a file offset in bytes) of a program file or library, for one process or all."""
    path = Path(path)
    try:
        offset = elf.symbol_offset(path.read_bytes(), where) if isinstance(where, str) else where
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path} to probe") from error
    name = os.fsencode(path) + b"\0"
    return _probe("uprobe", f"probe {where} of {path}", syscall.address_of(name), offset, pid=pid, at_return=at_return)


@cache
def tracefs() -> Path:
    """Where tracefs is mounted; mounts it at /sys/kernel/tracing when it is nowhere."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split()[0] == "tracefs":
            return Path(fields.split()[4])
    if not syscall.has_capabilities(syscall.CAP_SYS_ADMIN):
        raise PermissionNeededError(
            "tracefs is not mounted", hint="as root: mount -t tracefs tracefs /sys/kernel/tracing"
        )
    if _libc.mount(b"tracefs", bytes(_TRACEFS), b"tracefs", ctypes.c_ulong(0), None) != 0:
        raise CapabilityError(f"tracefs cannot be mounted: {os.strerror(ctypes.get_errno())}")
    return _TRACEFS


def _probe(device: str, what: str, name: int, offset: int, *, pid: int = -1, at_return: bool) -> int:
    folder = _DEVICES / device
    try:
        kind = int((folder / "type").read_text())
    except FileNotFoundError as error:
        raise CapabilityError(f"this kernel has no {device}s: could not {what}", hint="the VM lane has them") from error
    config = 0
    if at_return:
        bit = re.search(r"config:(\d+)", (folder / "format" / "retprobe").read_text())
        if bit is None:
            raise UsageError(f"this kernel's {device}s cannot probe returns")
        config = 1 << int(bit[1])
    return _open(kind, config, what, name, offset, pid=pid)


def _open(kind: int, config: int, what: str, config1: int = 0, config2: int = 0, *, pid: int = -1) -> int:
    # struct perf_event_attr: type, size, config, period, sample type, read format, flags, wake-up, bp type, config1, 2
    attr = struct.pack("=IIQQQQQIIQQ", kind, _ATTR_BYTES, config, 0, 0, 0, 0, 0, 0, config1, config2)
    buffer = ctypes.create_string_buffer(attr, _ATTR_BYTES)
    cpu = 0 if pid == -1 else -1
    fd: int = _libc.syscall(_NUMBER, buffer, pid, cpu, -1, ctypes.c_ulong(_CLOSE_ON_EXEC))
    if fd >= 0:
        return fd
    error = ctypes.get_errno()
    if not syscall.has_capabilities(syscall.CAP_PERFMON):
        raise syscall.failure(what, error)
    raise BpfError(f"could not {what}", error)

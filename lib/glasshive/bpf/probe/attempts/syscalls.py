"""bpf(2), perf_event_open(2) and friends by number, for attempts that run before anything is installed.

Standard library only: the same files run in the virtual machine lane under ``python -S -I``, where importing numpy
costs twenty seconds. The library proper has its own richer wrapper in ``glasshive.bpf``. Layouts follow ``union
bpf_attr`` and ``struct perf_event_attr`` of the kernel's UAPI headers; all integers are in host byte order.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Sequence

LIBC = ctypes.CDLL(None, use_errno=True)

_ARM = platform.machine() == "aarch64"
_SYS_BPF = 280 if _ARM else 321
_SYS_PERF_EVENT_OPEN = 241 if _ARM else 298

MAP_CREATE, PROG_LOAD, PROG_TEST_RUN, RAW_TRACEPOINT_OPEN, BTF_LOAD = 0, 5, 10, 17, 18
LOOKUP_BATCH, UPDATE_BATCH, LINK_CREATE, LINK_UPDATE, ITER_CREATE = 24, 26, 28, 29, 33

_ATTR_BYTES = 152

# One instruction is 8 bytes: opcode, registers (source << 4 | destination), offset, immediate.
_MOV_R0_IMM, _MOV_R1_IMM, _CALL, _EXIT, _MOV64_REG, _LD_IMM64 = 0xB7, 0xB7, 0x85, 0x95, 0xBF, 0x18
PSEUDO_KFUNC_CALL = 2


def instruction(opcode: int, dst: int = 0, src: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    """Encode one BPF instruction."""
    return struct.pack("<BBhi", opcode, src << 4 | dst, offset, immediate)


def returning(value: int) -> bytes:
    """Give the smallest program there is: return ``value``."""
    return instruction(_MOV_R0_IMM, 0, immediate=value) + instruction(_EXIT)


def calling(function: int, *, kfunc: bool = False, value: int = 0) -> bytes:
    """Give a program that calls a helper (by number) or a kfunc (by BTF id) and returns ``value``."""
    call = instruction(_CALL, 0, PSEUDO_KFUNC_CALL if kfunc else 0, 0, function)
    return call + returning(value)


class Refused(OSError):  # noqa: N818 - reads as the sentence it is: the kernel refused
    """The kernel refused a bpf(2) command; ``log`` is the verifier's log, empty if there was none."""

    def __init__(self, errno: int, log: str = "") -> None:
        super().__init__(errno, os.strerror(errno) if errno != 524 else "not supported (ENOTSUPP)")
        self.log = log


def bpf(command: int, attr: bytes | bytearray) -> int:
    """Call bpf(2) with ``attr`` padded to its full size; raise Refused with errno on failure."""
    buffer = ctypes.create_string_buffer(bytes(attr).ljust(_ATTR_BYTES, b"\0"), _ATTR_BYTES)
    result: int = LIBC.syscall(_SYS_BPF, command, buffer, _ATTR_BYTES)
    if result < 0:
        raise Refused(ctypes.get_errno())
    return result


def address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    """Give the address of a ctypes buffer, for a pointer field of an attribute."""
    return ctypes.addressof(buffer)


def load_program(
    kind: int, code: bytes, *, expected: int = 0, btf_id: int = 0, flags: int = 0, name: str = "gh_probe"
) -> int:
    """Load a program and give its descriptor; raise Refused with the verifier's log."""
    log = ctypes.create_string_buffer(1 << 16)
    insns = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    attr = bytearray(_ATTR_BYTES)
    struct.pack_into(
        "<IIQQIIQ", attr, 0, kind, len(code) // 8, address(insns), address(licence), 1, len(log), address(log)
    )
    struct.pack_into("<II16sII", attr, 40, 0, flags, name.encode()[:15], 0, expected)
    struct.pack_into("<I", attr, 108, btf_id)
    try:
        return bpf(PROG_LOAD, attr)
    except Refused as refusal:
        raise Refused(refusal.errno or 0, log.value.decode("utf-8", "replace")) from None


def create_map(
    kind: int,
    key: int,
    value: int,
    entries: int,
    *,
    flags: int = 0,
    inner: int = 0,
    btf: tuple[int, int, int] = (0, 0, 0),
) -> int:
    """Create a map and give its descriptor. ``btf`` is (descriptor, key type id, value type id)."""
    attr = bytearray(_ATTR_BYTES)
    struct.pack_into("<6I", attr, 0, kind, key, value, entries, flags, inner)
    struct.pack_into("<16s", attr, 28, b"gh_probe")
    struct.pack_into("<3I", attr, 48, *btf)
    return bpf(MAP_CREATE, attr)


def load_int_btf() -> int:
    """Load a BTF of one type (id 1: a 32-bit int), which local storage maps ask for; give its descriptor."""
    types = struct.pack("<IIII", 1, 1 << 24, 4, 32)
    strings = b"\0int\0"
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    blob = header + types + strings
    buffer = ctypes.create_string_buffer(blob, len(blob))
    return bpf(BTF_LOAD, struct.pack("<QQII", address(buffer), 0, len(blob), 0))


def create_link(program: int, target: int, attach_type: int, *, tail: bytes = b"") -> int:
    """Attach through BPF_LINK_CREATE; ``target`` is a descriptor or an ifindex. Gives the link's descriptor."""
    return bpf(LINK_CREATE, struct.pack("<IIII", program, target, attach_type, 0) + tail)


def open_raw_tracepoint(program: int, name: str | None) -> int:
    """Attach a raw tracepoint by name, or a BTF-typed program (``name`` None). Gives the link's descriptor."""
    buffer = ctypes.create_string_buffer((name or "").encode())
    return bpf(RAW_TRACEPOINT_OPEN, struct.pack("<QI", address(buffer) if name else 0, program))


def run_on_packet(program: int, packet: bytes) -> int:
    """Run a program once on a packet through BPF_PROG_TEST_RUN; give its return value."""
    data = ctypes.create_string_buffer(packet, len(packet))
    out = ctypes.create_string_buffer(len(packet) + 256)
    attr = ctypes.create_string_buffer(_ATTR_BYTES)
    struct.pack_into("<IIIIQQI", attr, 0, program, 0, len(packet), len(out), address(data), address(out), 1)
    if LIBC.syscall(_SYS_BPF, PROG_TEST_RUN, attr, _ATTR_BYTES) < 0:
        raise Refused(ctypes.get_errno())
    return int(struct.unpack_from("<I", attr, 4)[0])


def batch(command: int, map_fd: int, keys: bytes, values: bytes, count: int) -> int:
    """Run one batch command on a map; give the count the kernel handled."""
    key_buffer = ctypes.create_string_buffer(keys, len(keys))
    value_buffer = ctypes.create_string_buffer(values, len(values))
    cursor = ctypes.create_string_buffer(64)
    attr = ctypes.create_string_buffer(_ATTR_BYTES)
    struct.pack_into("<QQQQII", attr, 0, 0, address(cursor), address(key_buffer), address(value_buffer), count, map_fd)
    if LIBC.syscall(_SYS_BPF, command, attr, _ATTR_BYTES) < 0:
        raise Refused(ctypes.get_errno())
    return int(struct.unpack_from("<I", attr, 32)[0])


def open_probe_event(pmu: str, name: str, offset: int = 0, *, on_return: bool = False) -> int:
    """Open a perf event of the ``kprobe`` or ``uprobe`` unit: ``name`` is a kernel function or a file path.

    Raises FileNotFoundError where the kernel has no such unit.
    """
    with open(f"/sys/bus/event_source/devices/{pmu}/type", encoding="ascii") as handle:  # noqa: PTH123 - pathlib import is 5 ms
        kind = int(handle.read())
    target = ctypes.create_string_buffer(name.encode())
    attr = bytearray(112)
    struct.pack_into("<IIQQ", attr, 0, kind, len(attr), 1 if on_return else 0, 1)
    struct.pack_into("<QQ", attr, 56, address(target), offset)
    return perf_event_open(bytes(attr))


def perf_event_open(attr: bytes) -> int:
    """Call perf_event_open(2) for all processes on CPU 0, close-on-exec."""
    buffer = ctypes.create_string_buffer(attr, len(attr))
    result: int = LIBC.syscall(_SYS_PERF_EVENT_OPEN, buffer, -1, 0, -1, 8)
    if result < 0:
        raise Refused(ctypes.get_errno())
    return result


def close(descriptors: Sequence[int]) -> None:
    """Close descriptors, newest first."""
    for descriptor in reversed(descriptors):
        os.close(descriptor)

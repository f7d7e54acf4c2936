"""A program that is in the kernel: facts about it, its pin, and test runs with BPF_PROG_TEST_RUN."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

from glasshive.bpf import syscall
from glasshive.bpf.uapi import AttachType, Cmd, ProgType, known
from glasshive.errors import UsageError

Buffer: TypeAlias = "ctypes.Array[ctypes.c_char]"

_INFO_BYTES = 232
_HEADROOM = 256
"""What a program may add in front of or behind a test packet, in bytes."""

SKB_CONTEXT = np.dtype(
    {
        "names": [
            "len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto",
            "priority", "ingress_ifindex", "ifindex", "tc_index", "cb", "hash", "tc_classid", "tstamp", "wire_len",
            "gso_segs", "gso_size", "hwtstamp",
        ],
        "formats": ["u4"] * 12 + [("u4", (5,)), "u4", "u4", "u8", "u4", "u4", "u4", "u8"],
        "offsets": [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 68, 72, 152, 160, 164, 176, 184],
        "itemsize": 192,
    }
)  # fmt: skip
"""struct __sk_buff: the fields a test run may set (mark, priority, ifindex, ingress_ifindex, cb, tstamp, wire_len,
gso_segs, gso_size, hwtstamp) or gives back."""


@dataclass(frozen=True, slots=True)
class TestRun:
    """What a test run gave: the program's return value, the packet and context afterwards, and the kernel's mean
    time per run in ns."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    retval: int
    data_out: bytes
    duration_ns: int
    ctx_out: bytes = b""


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """The kernel's description of a program. ``load_time_ns`` counts from boot; ``tag`` is the hash of its code."""

    id: int
    name: str
    type: ProgType
    tag: str
    load_time_ns: int
    jited_bytes: int
    translated_bytes: int
    map_ids: tuple[int, ...] = field(default=())
    btf_id: int = 0
    run_time_ns: int = 0
    run_count: int = 0
    verified_instructions: int = 0


def skb_context(**fields: int | list[int]) -> bytes:
    """Make a ``struct __sk_buff`` for ``test_run(ctx_in=...)`` of a tc program: ``skb_context(ifindex=3, mark=7)``."""
    made = np.zeros(1, SKB_CONTEXT)
    for name, value in fields.items():
        if name not in (SKB_CONTEXT.names or ()):
            raise UsageError(f"struct __sk_buff has no field {name} that a test can set")
        made[name] = value
    return made.tobytes()


class Program:
    """A loaded program. Owns its file descriptor; the kernel keeps the program while any link, pin or fd holds it."""

    def __init__(self, fd: int, *, attach_type: AttachType | None = None, name: str = "", section: str = "") -> None:
        self.fd = fd
        self.attach_type = attach_type
        """What the ELF section said; None for a program that was opened by pin or id, as is ``section`` empty."""
        self.section = section
        self._name = name

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Program:
        """Open a pinned program."""
        return cls(syscall.open_pin(path))

    @classmethod
    def by_id(cls, number: int) -> Program:
        """Open any program of this machine by its id."""
        return cls(syscall.fd_by_id(Cmd.PROG_GET_FD_BY_ID, number))

    @cached_property
    def info(self) -> ProgramInfo:
        """The kernel's description, read once; see ``refresh``."""
        return read_info(self.fd)

    def refresh(self) -> ProgramInfo:
        """Read the description again (run counters move)."""
        self.__dict__.pop("info", None)
        return self.info

    @property
    def id(self) -> int:
        """The kernel's id of the program."""
        return self.info.id

    @property
    def name(self) -> str:
        """The C function's name; only its first 15 characters when the program was not loaded here."""
        return self._name or self.info.name

    @property
    def type(self) -> ProgType:
        """Program type."""
        return self.info.type

    @property
    def tag(self) -> str:
        """Hash of the program's instructions, 16 hex digits."""
        return self.info.tag

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Name the program in bpffs."""
        syscall.pin(self.fd, path)

    def test_run(self, data_in: bytes | None, ctx_in: bytes | None = None, repeat: int = 1) -> TestRun:
        """Run the program on a packet without any device (``data_in`` None for programs that take no packet).

        With ``repeat`` above 1 the packet is not reset between runs.
        """
        room = len(data_in) + _HEADROOM if data_in is not None else 0
        data_out = ctypes.create_string_buffer(room)
        ctx_out = ctypes.create_string_buffer(len(ctx_in) if ctx_in else 0)
        attr = _test_attr(self.fd, (data_in, data_out), (ctx_in, ctx_out), repeat)
        syscall.bpf(Cmd.PROG_TEST_RUN, attr, f"test-run program {self.name}")
        retval, _size_in, size_out = struct.unpack_from("=III", attr, 4)
        duration, _ctx_in, ctx_size = struct.unpack_from("=III", attr, 36)
        return TestRun(retval, data_out.raw[:size_out], duration, ctx_out.raw[:ctx_size])

    def bench(self, data_in: bytes, runs: int, ctx_in: bytes | None = None) -> npt.NDArray[np.uint32]:
        """Time ``runs`` single runs, each on the packet as given; ns per run, kernel's clock."""
        attr = _test_attr(self.fd, (data_in, None), (ctx_in, None), 1)
        times = np.empty(runs, np.uint32)
        for i in range(runs):
            syscall.bpf(Cmd.PROG_TEST_RUN, attr, f"test-run program {self.name}")
            times[i] = struct.unpack_from("=I", attr, 36)[0]
        return times

    def close(self) -> None:
        """Give the file descriptor back. Closing twice is harmless."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Program {self.name} fd {self.fd}>"


def _test_attr(
    fd: int, data: tuple[bytes | None, Buffer | None], context: tuple[bytes | None, Buffer | None], repeat: int
) -> Buffer:
    """Pack the test-run part of union bpf_attr; the callers keep the buffers alive as long as it."""
    data_in, data_out = data
    ctx_in, ctx_out = context
    packed = struct.pack(
        "=IIIIQQIIIIQQIII",
        fd, 0, _size(data_in), _size(data_out), _input(data_in), _output(data_out),
        repeat if data_in is not None else 0, 0, _size(ctx_in), _size(ctx_out), _input(ctx_in), _output(ctx_out),
        0, 0, 0,
    )  # fmt: skip
    return ctypes.create_string_buffer(packed, len(packed))


def _size(of: bytes | Buffer | None) -> int:
    return len(of) if of is not None else 0


def _input(of: bytes | None) -> int:
    return syscall.address_of(of) if of else 0


def _output(of: Buffer | None) -> int:
    return ctypes.addressof(of) if of is not None and len(of) else 0


def read_info(fd: int, *, with_maps: bool = True) -> ProgramInfo:
    """Read the kernel's description of a program; ``map_ids`` take a second call."""
    raw = syscall.info_by_fd(fd, _INFO_BYTES)
    # struct bpf_prog_info: type, id, tag, jited and translated lengths and pointers, load_time, uid, maps, map ids
    kind, number, tag, jited, translated, _p1, _p2, load_time, _uid, map_count, _p3, name = struct.unpack_from(
        "=II8sIIQQQIIQ16s", raw
    )
    (btf_id,) = struct.unpack_from("=I", raw, 128)
    run_time, run_count, _misses = struct.unpack_from("=QQQ", raw, 192)
    (verified,) = struct.unpack_from("=I", raw, 216)
    ids: tuple[int, ...] = ()
    if map_count and with_maps:
        room = (ctypes.c_uint32 * map_count)()
        again = struct.pack("=II8sIIQQQIIQ", 0, 0, b"", 0, 0, 0, 0, 0, 0, map_count, ctypes.addressof(room))
        syscall.info_by_fd(fd, _INFO_BYTES, again)
        ids = tuple(room)
    of = known(ProgType, kind) or ProgType.UNSPEC
    return ProgramInfo(
        number, syscall.object_name(name), of, tag.hex(), load_time, jited, translated, ids,
        btf_id, run_time, run_count, verified,
    )  # fmt: skip

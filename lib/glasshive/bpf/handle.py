"""An object as libbpf holds it between opening and loading: reading and changing what it says.

A handle is the address of a ``struct bpf_object``, a pointer that of a ``struct bpf_program`` or ``struct bpf_map``;
both are only valid while the object is open. ``object`` keeps them; nothing else sees them.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from glasshive.bpf import libbpf, syscall
from glasshive.bpf.map import read_info
from glasshive.bpf.uapi import AttachType, MapType, ProgType, known
from glasshive.errors import BpfError, MapIncompatibleError

# Section names that libbpf 1.1 does not know yet.
_NEWER_SECTIONS = {
    "tc": (ProgType.SCHED_CLS, 0),
    "tcx": (ProgType.SCHED_CLS, 0),
    "classifier": (ProgType.SCHED_CLS, 0),
    "netkit": (ProgType.SCHED_CLS, 0),
    "netfilter": (ProgType.NETFILTER, AttachType.NETFILTER),
}
_WITHOUT_ATTACH_TYPE = {
    ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.SOCKET_FILTER, ProgType.KPROBE, ProgType.TRACEPOINT,
    ProgType.RAW_TRACEPOINT, ProgType.PERF_EVENT, ProgType.SYSCALL,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    """A program of the object: the C function's name, its ELF section and what the section says."""

    name: str
    section: str
    type: ProgType
    attach_type: AttachType | None
    instructions: int


@dataclass(slots=True)
class MapSpec:
    """A map of the object; sizes in bytes. ``max_entries`` may be changed before loading."""

    name: str
    type: MapType
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    btf_key_type_id: int
    btf_value_type_id: int
    internal: bool


def programs(handle: int) -> Iterator[int]:
    """Walk the programs."""
    lib = libbpf.library()
    pointer = lib.bpf_object__next_program(handle, None)
    while pointer:
        yield pointer
        pointer = lib.bpf_object__next_program(handle, pointer)


def maps(handle: int) -> Iterator[int]:
    """Walk the maps."""
    lib = libbpf.library()
    pointer = lib.bpf_object__next_map(handle, None)
    while pointer:
        yield pointer
        pointer = lib.bpf_object__next_map(handle, pointer)


def program_spec(pointer: int) -> ProgramSpec:
    """Read what the object says about a program."""
    lib = libbpf.library()
    section = lib.bpf_program__section_name(pointer).decode()
    kind, attach = lib.bpf_program__type(pointer), lib.bpf_program__expected_attach_type(pointer)
    if kind == ProgType.UNSPEC:
        kind, attach = _NEWER_SECTIONS.get(section.split("/")[0], (ProgType.UNSPEC, 0))
    of = known(ProgType, kind) or ProgType.UNSPEC
    attach_type = known(AttachType, attach) if of not in _WITHOUT_ATTACH_TYPE else None
    return ProgramSpec(
        lib.bpf_program__name(pointer).decode(), section, of, attach_type,
        lib.bpf_program__insn_cnt(pointer),
    )  # fmt: skip


def map_name(pointer: int) -> str:
    """Name of a map; libbpf's ``pod.rodata`` is ``.rodata`` here, as in the ELF file."""
    lib = libbpf.library()
    name: str = lib.bpf_map__name(pointer).decode()
    return name[name.index(".") :] if lib.bpf_map__is_internal(pointer) and "." in name else name


def map_spec(pointer: int) -> MapSpec:
    """Read what the object says about a map."""
    lib = libbpf.library()
    kind = lib.bpf_map__type(pointer)
    return MapSpec(
        map_name(pointer), known(MapType, kind) or MapType.UNSPEC, lib.bpf_map__key_size(pointer),
        lib.bpf_map__value_size(pointer), lib.bpf_map__max_entries(pointer), lib.bpf_map__map_flags(pointer),
        lib.bpf_map__btf_key_type_id(pointer), lib.bpf_map__btf_value_type_id(pointer),
        lib.bpf_map__is_internal(pointer),
    )  # fmt: skip


def initial_value(handle: int, name: str) -> bytes:
    """Read what a data section will hold when it is loaded; empty without such a section."""
    for pointer in maps(handle):
        if map_name(pointer) == name:
            size = ctypes.c_size_t()
            at = libbpf.library().bpf_map__initial_value(pointer, ctypes.byref(size))
            return ctypes.string_at(at, size.value) if at else b""
    return b""


def write_initial_value(pointer: int, content: bytes) -> None:
    """Set what a data section will hold when it is loaded."""
    size = ctypes.c_size_t()
    at = libbpf.library().bpf_map__initial_value(pointer, ctypes.byref(size))
    ctypes.memmove(at, content, min(size.value, len(content)))


def btf_bytes(handle: int) -> bytes:
    """Copy the object's BTF, in which libbpf has filled in the offsets of variables."""
    lib = libbpf.library()
    btf = lib.bpf_object__btf(handle)
    if not btf:
        return b""
    size = ctypes.c_uint32()
    at = lib.btf__raw_data(btf, ctypes.byref(size))
    return ctypes.string_at(at, size.value) if at else b""


def reuse(pointer: int, spec: MapSpec, path: Path) -> None:
    """Make loading take a pinned map instead of a new one. Raises MapIncompatibleError when it does not fit."""
    fd = syscall.open_pin(path)
    try:
        info = read_info(fd)
        for fact in ("type", "key_size", "value_size", "max_entries", "flags"):
            pinned, wanted = getattr(info, fact), getattr(spec, fact)
            if pinned != wanted:
                raise MapIncompatibleError(
                    f"the pinned map {path} does not fit: its {fact} is {pinned}, the object wants {wanted}",
                    hint="remove the pin to start with an empty map",
                )
        error = libbpf.library().bpf_map__reuse_fd(pointer, fd)
        if error < 0:
            raise BpfError(f"could not reuse the pinned map {path}", -error)
    finally:
        os.close(fd)

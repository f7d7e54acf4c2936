"""What is in the kernel right now: programs, maps and links of the whole machine, and pins below a directory.

Facts as the kernel tells them, whoever made them. Listing by id needs CAP_SYS_ADMIN.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from glasshive.bpf import syscall
from glasshive.bpf.map import read_info as read_map_info
from glasshive.bpf.program import read_info as read_program_info
from glasshive.bpf.uapi import AttachType, Cmd, LinkType, MapType, ProgType, type_name
from glasshive.errors import BpfError

_LINK_INFO_BYTES = 64


class ProgramRow(NamedTuple):
    """A program of the machine; names as the kernel keeps them, at most 15 characters."""

    id: int
    name: str
    type: str
    tag: str


class MapRow(NamedTuple):
    """A map of the machine; sizes in bytes."""

    id: int
    name: str
    type: str
    key_size: int
    value_size: int
    max_entries: int


class LinkRow(NamedTuple):
    """A link of the machine. ``ifindex``, ``cgroup_id`` and ``attach_type`` are 0 and empty where they mean nothing.

    A link whose device or cgroup is gone shows 0 too.
    """

    id: int
    type: str
    program_id: int
    attach_type: str
    ifindex: int
    cgroup_id: int


class PinRow(NamedTuple):
    """A pin: ``kind`` is program, map or link."""

    path: Path
    kind: str
    id: int


_Row = TypeVar("_Row")


def programs() -> list[ProgramRow]:
    """List the programs of the machine."""
    return list(_walk(Cmd.PROG_GET_NEXT_ID, Cmd.PROG_GET_FD_BY_ID, _program_row))


def maps() -> list[MapRow]:
    """List the maps of the machine."""
    return list(_walk(Cmd.MAP_GET_NEXT_ID, Cmd.MAP_GET_FD_BY_ID, _map_row))


def links() -> list[LinkRow]:
    """List the links of the machine."""
    return list(_walk(Cmd.LINK_GET_NEXT_ID, Cmd.LINK_GET_FD_BY_ID, _link_row))


def pins(directory: str | os.PathLike[str]) -> list[PinRow]:
    """List the pins below a directory of bpffs, sorted by path. A directory that does not exist has none."""
    found = []
    for folder, _folders, files in os.walk(directory):
        for name in files:
            path = Path(folder) / name
            fd = syscall.open_pin(path)
            try:
                kind = _kind(fd)
                number = {"program": _program_row, "map": _map_row, "link": _link_row}[kind](fd)[0]
            finally:
                os.close(fd)
            found.append(PinRow(path, kind, int(number)))
    return sorted(found)


def _walk(following: Cmd, opening: Cmd, row: Callable[[int], _Row]) -> Iterator[_Row]:
    number = syscall.next_id(following, 0)
    while number is not None:
        try:
            fd = syscall.fd_by_id(opening, number)
        except BpfError:
            fd = -1  # it went away between the two calls
        if fd >= 0:
            try:
                yield row(fd)
            finally:
                os.close(fd)
        number = syscall.next_id(following, number)


def _kind(fd: int) -> str:
    text = str(Path(f"/proc/self/fd/{fd}").readlink())
    return "program" if "bpf-prog" in text else "map" if "bpf-map" in text else "link"


def _program_row(fd: int) -> ProgramRow:
    info = read_program_info(fd, with_maps=False)
    return ProgramRow(info.id, info.name, type_name(ProgType, info.type), info.tag)


def _map_row(fd: int) -> MapRow:
    info = read_map_info(fd)
    kind = type_name(MapType, info.type)
    return MapRow(info.id, info.name, kind, info.key_size, info.value_size, info.max_entries)


def _link_row(fd: int) -> LinkRow:
    raw = syscall.info_by_fd(fd, _LINK_INFO_BYTES)
    kind, number, program = struct.unpack_from("=III", raw)
    # The part after the first 16 bytes depends on the kind of link.
    first, second = struct.unpack_from("=II", raw, 16)
    (third,) = struct.unpack_from("=I", raw, 24)
    attach, ifindex, cgroup = "", 0, 0
    if kind in (LinkType.TCX, LinkType.NETKIT):
        ifindex, attach = first, type_name(AttachType, second)
    elif kind == LinkType.XDP:
        ifindex, attach = first, "xdp"
    elif kind == LinkType.CGROUP:
        cgroup, attach = second << 32 | first, type_name(AttachType, third)
    elif kind == LinkType.NETNS:
        attach = type_name(AttachType, second)
    elif kind == LinkType.TRACING:
        attach = type_name(AttachType, first)
    return LinkRow(number, type_name(LinkType, kind), program, attach, ifindex, cgroup)

"""BTF, the type description inside every BPF object and kernel, parsed without help.

The format is described in Documentation/bpf/btf.rst of the kernel. Standard library only; ``layout`` makes numpy
dtypes from what this module reads. Types refer to each other by id; id 0 is void.
"""

from __future__ import annotations

import enum as python_enum
import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from glasshive.bpf import elf
from glasshive.errors import NotFoundError, UsageError

_MAGIC = 0xEB9F


class Kind(python_enum.IntEnum):
    """BTF_KIND_*."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


INT_SIGNED, INT_CHAR, INT_BOOL = 1, 2, 4
MODIFIERS = (Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG)
_REFERENCES = (*MODIFIERS, Kind.PTR, Kind.FUNC, Kind.VAR, Kind.DECL_TAG)


class Member(NamedTuple):
    """A member of a struct or union. ``bits`` is 0 for a plain member, else the width of a bit field."""

    name: str
    type_id: int
    bit_offset: int
    bits: int


class SectionVariable(NamedTuple):
    """A variable of a data section; ``offset`` and ``size`` in bytes."""

    type_id: int
    offset: int
    size: int


@dataclass(slots=True)
class Type:
    """One BTF type. Which fields mean something depends on ``kind``."""

    id: int
    kind: Kind
    name: str
    size: int = 0  # bytes: INT, STRUCT, UNION, ENUM, ENUM64, FLOAT, DATASEC
    target: int = 0  # type id: PTR, modifiers, VAR, FUNC; the element of an ARRAY
    count: int = 0  # elements of an ARRAY
    encoding: int = 0  # INT: INT_SIGNED | INT_CHAR | INT_BOOL
    signed: bool = False  # ENUM, ENUM64
    members: list[Member] = field(default_factory=list)
    values: dict[str, int] = field(default_factory=dict)  # ENUM, ENUM64
    variables: list[SectionVariable] = field(default_factory=list)  # DATASEC


class Btf:
    """All types of one object, or of the kernel. ``types[i]`` has id i."""

    def __init__(self, data: bytes) -> None:
        self.types: list[Type] = [Type(0, Kind.VOID, "void")]
        try:
            self._parse(data)
        except (struct.error, ValueError, IndexError) as error:
            raise UsageError(f"this is not valid BTF: {error}") from error

    def _parse(self, data: bytes) -> None:
        magic, version, _flags, header = struct.unpack_from("=HBBI", data)
        if magic != _MAGIC or version != 1:
            raise ValueError(f"magic {magic:#x} version {version}")
        type_at, type_bytes, text_at, text_bytes = struct.unpack_from("=IIII", data, 8)
        strings = data[header + text_at : header + text_at + text_bytes]
        at, end = header + type_at, header + type_at + type_bytes
        while at < end:
            at = self._parse_type(data, at, strings)

    def _parse_type(self, data: bytes, at: int, strings: bytes) -> int:
        name_at: int
        info: int
        third: int
        name_at, info, third = struct.unpack_from("=III", data, at)
        kind, count, flag = Kind(info >> 24 & 0x1F), info & 0xFFFF, bool(info >> 31)
        made = Type(len(self.types), kind, elf.text(strings, name_at))
        self.types.append(made)
        at += 12
        if kind in _REFERENCES:
            made.target = third
        else:
            made.size = third
        if kind in (Kind.STRUCT, Kind.UNION):
            for name, type_id, where in struct.iter_unpack("=III", data[at : at + 12 * count]):
                bits, offset = (where >> 24, where & 0xFFFFFF) if flag else (0, where)
                made.members.append(Member(elf.text(strings, name), type_id, offset, bits))
            return at + 12 * count
        if kind == Kind.ENUM:
            made.signed = flag
            for name, value in struct.iter_unpack("=Ii" if flag else "=II", data[at : at + 8 * count]):
                made.values[elf.text(strings, name)] = value
            return at + 8 * count
        if kind == Kind.ENUM64:
            made.signed = flag
            for name, low, high in struct.iter_unpack("=III", data[at : at + 12 * count]):
                value = high << 32 | low
                made.values[elf.text(strings, name)] = value - (1 << 64) if flag and value >> 63 else value
            return at + 12 * count
        if kind == Kind.DATASEC:
            made.variables = [SectionVariable(*row) for row in struct.iter_unpack("=III", data[at : at + 12 * count])]
            return at + 12 * count
        if kind == Kind.INT:
            made.encoding = struct.unpack_from("=I", data, at)[0] >> 24 & 0xF
            return at + 4
        if kind == Kind.ARRAY:
            made.target, _index_type, made.count = struct.unpack_from("=III", data, at)
            return at + 12
        return at + {Kind.FUNC_PROTO: 8 * count, Kind.VAR: 4, Kind.DECL_TAG: 4}.get(kind, 0)

    @cached_property
    def by_name(self) -> dict[str, list[Type]]:
        """Types by name: C has several name spaces, so one name may have several types."""
        table: dict[str, list[Type]] = {}
        for each in self.types:
            if each.name:
                table.setdefault(each.name, []).append(each)
        return table

    def find(self, name: str, *kinds: Kind) -> Type:
        """Find the type called ``name`` of one of the kinds (default: any). Raises NotFoundError."""
        for each in self.by_name.get(name, ()):
            if not kinds or each.kind in kinds:
                return each
        wanted = " or ".join(kind.name.lower() for kind in kinds) or "type"
        raise NotFoundError(f"BTF has no {wanted} named {name!r}")

    def resolve(self, type_id: int) -> Type:
        """Strip typedefs and qualifiers."""
        found = self.types[type_id]
        while found.kind in MODIFIERS:
            found = self.types[found.target]
        return found

    def size_of(self, type_id: int) -> int:
        """Size in bytes, as sizeof() in C; pointers have 8."""
        found = self.resolve(type_id)
        if found.kind == Kind.ARRAY:
            return found.count * self.size_of(found.target)
        return 8 if found.kind == Kind.PTR else found.size


def enum(btf: Btf, name: str) -> type[python_enum.IntEnum]:
    """Make the Python twin of a C enum; members keep their C names."""
    found = btf.find(name, Kind.ENUM, Kind.ENUM64)
    made: type[python_enum.IntEnum] = python_enum.IntEnum(name, found.values)  # type: ignore[misc]
    return made


def from_object(path: str | Path) -> Btf:
    """Read the BTF of a compiled object (an ELF file). Section offsets of variables are 0 until libbpf opens it."""
    data = Path(path).read_bytes()
    section = elf.section(data, ".BTF")
    if section is None:
        raise NotFoundError(f"{path} has no BTF", hint="compile it with clang -g -target bpf")
    return Btf(section)


def from_kernel() -> Btf:
    """Read the running kernel's own BTF (about 150,000 types: takes a second)."""
    return Btf(Path("/sys/kernel/btf/vmlinux").read_bytes())

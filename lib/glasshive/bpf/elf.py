"""As much of ELF as the kernel library needs: sections by name, and symbols as file offsets (for uprobes).

Format: the System V ABI, chapters 4 and 5. 64-bit little-endian files only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from glasshive.errors import NotFoundError, UsageError

_SYMTAB, _DYNSYM, _PT_LOAD = 2, 11, 1


class Section(NamedTuple):
    """A section header with its name; ``offset`` and ``size`` in bytes of the file."""

    name: str
    kind: int
    offset: int
    size: int
    link: int


def sections(data: bytes) -> list[Section]:
    """List the sections of an ELF file."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise UsageError("not a 64-bit little-endian ELF file")
    (table,) = struct.unpack_from("<Q", data, 0x28)
    entry, count, names = struct.unpack_from("<HHH", data, 0x3A)
    rows = [struct.unpack_from("<IIQQQQI", data, table + i * entry) for i in range(count)]
    strings = rows[names][4] if rows else 0
    return [Section(text(data, strings + row[0]), row[1], row[4], row[5], row[6]) for row in rows]


def section(data: bytes, name: str) -> bytes | None:
    """Return the content of a section, or None when there is none of that name."""
    for each in sections(data):
        if each.name == name:
            return data[each.offset : each.offset + each.size]
    return None


def symbol_offset(data: bytes, name: str) -> int:
    """Find where in the file a function begins. Raises NotFoundError."""
    for found, address in _symbols(data):
        if found == name:
            return _file_offset(data, address)
    raise NotFoundError(f"the file has no function {name!r}", hint="stripped binaries keep only exported functions")


def _symbols(data: bytes) -> Iterator[tuple[str, int]]:
    table = sections(data)
    for each in table:
        if each.kind not in (_SYMTAB, _DYNSYM):
            continue
        strings = table[each.link].offset
        rows = data[each.offset : each.offset + each.size // 24 * 24]
        for at_name, _info, _other, index, address, _size in struct.iter_unpack("<IBBHQQ", rows):
            if address and index:
                yield text(data, strings + at_name), address


def _file_offset(data: bytes, address: int) -> int:
    (table,) = struct.unpack_from("<Q", data, 0x20)
    entry, count = struct.unpack_from("<HH", data, 0x36)
    for i in range(count):
        kind, _flags, offset, start, _physical, size = struct.unpack_from("<IIQQQQ", data, table + i * entry)
        if kind == _PT_LOAD and start <= address < start + size:
            at: int = address - start + offset
            return at
    raise NotFoundError(f"address {address:#x} lies in no loaded part of the file")


def text(strings: bytes, at: int) -> str:
    """Read a NUL-terminated name out of a string table."""
    return strings[at : strings.index(b"\0", at)].decode(errors="replace")

"""Find type ids in the kernel's BTF in one walk.

Standard library only (see ``syscalls``). The format is that of Documentation/bpf/btf.rst: a header, type records of
several lengths in id order, and a string table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

VMLINUX = "/sys/kernel/btf/vmlinux"

TYPEDEF, FUNC = 8, 12
# Bytes that follow the 12-byte record, as (fixed, per member), by kind 1..19.
_TAIL = {
    1: (4, 0), 2: (0, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 7: (0, 0), 8: (0, 0), 9: (0, 0), 10: (0, 0),
    11: (0, 0), 12: (0, 0), 13: (0, 8), 14: (4, 0), 15: (0, 12), 16: (0, 0), 17: (4, 0), 18: (0, 0), 19: (0, 12),
}  # fmt: skip


def find_ids(names: Iterable[tuple[str, int]], path: str = VMLINUX) -> dict[tuple[str, int], int]:
    """Give the type id of each (name, kind) that the kernel's BTF has; others are absent from the answer.

    Raises OSError where the kernel has no BTF, ValueError where it is not understood.
    """
    with open(path, "rb") as handle:  # noqa: PTH123 - pathlib import is 5 ms
        blob = handle.read()
    magic, _version, _flags, header, type_off, type_len, str_off, str_len = struct.unpack_from("<HBBIIIII", blob)
    if magic != 0xEB9F:
        raise ValueError("not BTF of this machine's byte order")
    strings = blob[header + str_off : header + str_off + str_len]
    wanted: dict[tuple[int, int], tuple[str, int]] = {}
    for name, kind in names:
        offset = strings.find(b"\0" + name.encode() + b"\0")
        if offset >= 0:
            wanted[offset + 1, kind] = (name, kind)
    found: dict[tuple[str, int], int] = {}
    position, end, type_id = header + type_off, header + type_off + type_len, 0
    unpack = struct.Struct("<II").unpack_from
    while position < end and len(found) < len(wanted):
        type_id += 1
        name_offset, info = unpack(blob, position)
        kind = info >> 24 & 31
        hit = wanted.get((name_offset, kind))
        if hit is not None:
            found[hit] = type_id
        if kind not in _TAIL:
            raise ValueError(f"BTF kind {kind} is newer than this reader")
        fixed, each = _TAIL[kind]
        position += 12 + fixed + each * (info & 0xFFFF)
    return found

"""A map without a kernel: for tests, demonstrations and widgets on machines where nobody is root.

It behaves as the kernel's map does for everything ``Map`` can do, layouts and refusals included; what programs do with
maps (LRU eviction, per-CPU counting) it does not. The same tests run on both.
"""

from __future__ import annotations

import errno
from typing import Any

import numpy as np

from glasshive.bpf.batch import Bytes
from glasshive.bpf.layout import element_dtype
from glasshive.bpf.map import EXIST, NOEXIST, Map, MapInfo
from glasshive.bpf.object import ObjectSpec
from glasshive.bpf.uapi import ARRAY_TYPES, MapType


class FakeMap(Map):
    """A map whose elements are in this process. ``fd`` is -1: it can be neither pinned nor used by a program."""

    def __init__(
        self,
        kind: MapType,
        key_dtype: np.dtype[Any],
        value_dtype: np.dtype[Any],
        max_entries: int,
        *,
        name: str = "fake",
    ) -> None:
        self.fd = -1
        sizes = (key_dtype.itemsize, value_dtype.itemsize)
        self._describe(MapInfo(kind, 0, *sizes, max_entries, 0, name[:15], 0, 0, 0), key_dtype, value_dtype, name)
        self._elements = DictElements(kind, sizes[0], self._stride * self._cpus, max_entries)

    @classmethod
    def of(cls, spec: ObjectSpec, name: str) -> FakeMap:
        """Make the fake of a map that a compiled object describes, with its layouts."""
        of = spec.maps[name]
        key = element_dtype(spec.btf, of.btf_key_type_id, of.key_size)
        return cls(
            of.type, key, element_dtype(spec.btf, of.btf_value_type_id, of.value_size), of.max_entries, name=name
        )


class DictElements:
    """Elements in a dict, with the kernel's answers. Keys and values are rows of bytes."""

    def __init__(self, kind: MapType, key_bytes: int, value_bytes: int, max_entries: int) -> None:
        self._kind = kind
        self._key_bytes = key_bytes
        self._value_bytes = value_bytes
        self._max_entries = max_entries
        self._rows: dict[bytes, tuple[bytes, bytes]] = {}  # what identifies a key -> (key as written, value)
        if kind in ARRAY_TYPES:
            for i in range(max_entries):
                key = i.to_bytes(4, "little")
                self._rows[key] = key, bytes(value_bytes)

    def get(self, key: Bytes) -> tuple[Bytes, int]:
        """Look up one row: (one row, 0) or (anything, the errno)."""
        found = self._longest(key.tobytes()) if self._kind == MapType.LPM_TRIE else self._rows.get(key.tobytes())
        if found is None:
            return np.empty((0, self._value_bytes), np.uint8), errno.ENOENT
        return _table([found[1]], self._value_bytes), 0

    def dump(self) -> tuple[Bytes, Bytes]:
        """Read all elements."""
        keys, values = [key for key, _ in self._rows.values()], [value for _, value in self._rows.values()]
        return _table(keys, self._key_bytes), _table(values, self._value_bytes)

    def update(self, keys: Bytes, values: Bytes, flags: int) -> tuple[int, int]:
        """Write elements in order: (how many were written, 0 or the errno that stopped it)."""
        for i, (key_row, value_row) in enumerate(zip(keys, values, strict=True)):
            key = key_row.tobytes()
            if self._kind == MapType.LPM_TRIE and _length(key) > (len(key) - 4) * 8:
                return i, errno.EINVAL
            same = self._identity(key)
            if same in self._rows and flags == NOEXIST:
                return i, errno.EEXIST
            if same not in self._rows:
                if flags == EXIST:
                    return i, errno.ENOENT
                if len(self._rows) >= self._max_entries:
                    return i, errno.E2BIG
            self._rows[same] = key, value_row.tobytes()
        return len(keys), 0

    def delete(self, keys: Bytes, *, missing_ok: bool) -> tuple[int, int]:
        """Delete elements in order: (how many were there, 0 or the errno that stopped it)."""
        gone = 0
        for row in keys:
            if self._kind in ARRAY_TYPES:
                return gone, errno.EINVAL
            if self._rows.pop(self._identity(row.tobytes()), None) is not None:
                gone += 1
            elif not missing_ok:
                return gone, errno.ENOENT
        return gone, 0

    def _identity(self, key: bytes) -> bytes:
        if self._kind != MapType.LPM_TRIE:
            return key
        return _prefix(key, min(_length(key), (len(key) - 4) * 8))

    def _longest(self, key: bytes) -> tuple[bytes, bytes] | None:
        """The most specific prefix that covers ``key``, as the trie looks it up."""
        for length in range(min(_length(key), (len(key) - 4) * 8), -1, -1):
            found = self._rows.get(_prefix(key, length))
            if found is not None:
                return found
        return None


def _length(key: bytes) -> int:
    return int.from_bytes(key[:4], "little")


def _prefix(key: bytes, length: int) -> bytes:
    """The key of that prefix length, with the bits behind it cleared."""
    bits = (len(key) - 4) * 8
    address = int.from_bytes(key[4:], "big") >> (bits - length) << (bits - length)
    return length.to_bytes(4, "little") + address.to_bytes(len(key) - 4, "big")


def _table(rows: list[bytes], size: int) -> Bytes:
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), size).copy()

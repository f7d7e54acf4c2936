"""A map that is in the kernel, with the layout of its keys and values put on as numpy dtypes.

Keys and values go in as arrays of the map's dtypes, or as records, mappings, tuples, or lists of these; they come out
as arrays. A per-CPU map gives values of shape (n, cpus).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from glasshive.bpf import batch, syscall
from glasshive.bpf.btf import Btf
from glasshive.bpf.layout import Records, element_dtype, raw_bytes, rows, to_records
from glasshive.bpf.uapi import ARRAY_TYPES, PERCPU_TYPES, Cmd, MapType, known, type_name
from glasshive.errors import ExhaustedError, NotFoundError, UsageError

ANY, NOEXIST, EXIST = 0, 1, 2
"""Flags of ``Map.update``: write always, only a new key, only a known key."""

_INFO_BYTES = 88


@dataclass(frozen=True, slots=True)
class MapInfo:
    """The kernel's description of a map; sizes in bytes."""

    type: MapType
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str
    btf_id: int
    btf_key_type_id: int
    btf_value_type_id: int


class Map:
    """A map of the kernel. Owns its file descriptor; pins and programs keep the map alive without it."""

    def __init__(
        self,
        fd: int,
        *,
        key_dtype: np.dtype[Any] | None = None,
        value_dtype: np.dtype[Any] | None = None,
        name: str = "",
    ) -> None:
        self.fd = fd
        info = read_info(fd)
        if key_dtype is None or value_dtype is None:
            key_dtype, value_dtype = _kernel_dtypes(info)
        self._describe(info, key_dtype, value_dtype, name)
        row = self._stride * self._cpus
        self._elements: batch.Elements = batch.KernelElements(fd, info.key_size, row, info.max_entries)

    def _describe(self, info: MapInfo, key_dtype: np.dtype[Any], value_dtype: np.dtype[Any], name: str) -> None:
        self.info = info
        self.key_dtype = key_dtype
        self.value_dtype = value_dtype
        self._name = name
        self.per_cpu = info.type in PERCPU_TYPES
        self._cpus = syscall.possible_cpus() if self.per_cpu else 1
        # The kernel copies per-CPU values in and out in steps of 8 bytes.
        self._stride = (info.value_size + 7) // 8 * 8 if self.per_cpu else info.value_size

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, read_only: bool = False) -> Map:
        """Open a pinned map; its dtypes come from the BTF that the kernel keeps with it.

        Through a ``read_only`` one the kernel lets nothing be written.
        """
        return cls(syscall.open_pin(path, read_only=read_only))

    @classmethod
    def by_id(cls, number: int) -> Map:
        """Open any map of this machine by its id."""
        return cls(syscall.fd_by_id(Cmd.MAP_GET_FD_BY_ID, number))

    @classmethod
    def create(
        cls, kind: MapType, key_size: int, value_size: int, max_entries: int, *, name: str = "", flags: int = 0
    ) -> Map:
        """Make a private map without BTF (sizes in bytes): for tests and probes."""
        attr = struct.pack("=IIIIIII16sIIIIIQ", kind, key_size, value_size, max_entries, flags, 0, 0,
                           name.encode()[:15], 0, 0, 0, 0, 0, 0)  # fmt: skip
        return cls(syscall.bpf(Cmd.MAP_CREATE, attr, f"create a {type_name(MapType, kind)} map"))

    @property
    def id(self) -> int:
        """The kernel's id of the map."""
        return self.info.id

    @property
    def name(self) -> str:
        """The C name; only its first 15 characters when the map was not loaded here."""
        return self._name or self.info.name

    @property
    def type(self) -> MapType:
        """Map type."""
        return self.info.type

    @property
    def max_entries(self) -> int:
        """Most entries the map can hold; size in bytes for a ring buffer."""
        return self.info.max_entries

    # ---- reading

    def get(self, key: object) -> Any:
        """Look one key up: its value (for a per-CPU map an array of one value per CPU), or None."""
        keys = self._keys(key)
        if len(keys) != 1:
            raise UsageError(f"map {self.name}: get takes one key, not {len(keys)}")
        raw, error = self._elements.get(raw_bytes(keys))
        if error == errno.ENOENT:
            return None
        if error:
            raise syscall.failure(f"look up in map {self.name}", error)
        return self._typed(raw)[0]

    def items(self) -> tuple[Records, Records]:
        """Read the whole map: (keys, values). Not a snapshot: programs go on writing meanwhile."""
        if not self.info.key_size:
            raise UsageError(f"map {self.name} ({self.type.name}) has no keys")
        keys, values = self._elements.dump()
        return keys.view(self.key_dtype).reshape(-1), self._typed(values)

    def keys(self) -> Records:
        """Read all keys."""
        return self.items()[0]

    # ---- writing

    def update(self, keys: object, values: object, flags: int = ANY) -> int:
        """Write elements in order; returns how many. On failure those before the failing one stay written.

        One value for several keys is written to all; for a per-CPU map, one value per key is written to every CPU.
        Raises ExhaustedError when the map is full, BpfError with EEXIST or ENOENT when the flags say so.
        """
        key_rows = self._keys(keys)
        value_rows = self._untyped(values, len(key_rows))
        done, error = self._elements.update(raw_bytes(key_rows), value_rows, flags)
        if error == errno.E2BIG:
            raise ExhaustedError(
                f"map {self.name} is full: {self.max_entries} entries, {done} of {len(key_rows)} written"
            )
        if error:
            raise syscall.failure(f"update map {self.name} (element {done} of {len(key_rows)})", error)
        return done

    def delete(self, keys: object, missing_ok: bool = True) -> int:
        """Delete elements; returns how many were there. ``missing_ok=False``: NotFoundError at the first absent."""
        found = self._keys(keys)
        gone, error = self._elements.delete(raw_bytes(found), missing_ok=missing_ok)
        if error == errno.ENOENT:
            raise NotFoundError(f"map {self.name} has no key {found[gone]}")
        if error:
            raise syscall.failure(f"delete elements of map {self.name}", error)
        return gone

    def clear(self) -> int:
        """Delete everything (zero it, where the map is an array); returns how many elements that were."""
        keys, _ = self.items()
        if self.type in ARRAY_TYPES:
            return self.update(keys, np.zeros(1, self.value_dtype))
        return self.delete(keys)

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Name the map in bpffs."""
        syscall.pin(self.fd, path)

    # ---- inside

    def _keys(self, keys: object) -> Records:
        return to_records(self.key_dtype, keys)

    def _typed(self, raw: batch.Bytes) -> Records:
        if not self.per_cpu:
            return raw.view(self.value_dtype).reshape(-1)
        shape = (len(raw), self._cpus)
        strides = (self._cpus * self._stride, self._stride)
        return np.ndarray(shape, self.value_dtype, buffer=raw.data, strides=strides)

    def _untyped(self, values: object, count: int) -> batch.Bytes:
        found = to_records(self.value_dtype, values)
        if self.per_cpu:
            if len(found) not in (1, count, count * self._cpus):
                raise UsageError(f"map {self.name}: {len(found)} values for {count} keys on {self._cpus} CPUs")
            columns = self._cpus if len(found) == count * self._cpus else 1
            raw = np.zeros((count, self._cpus * self._stride), np.uint8)
            self._typed(raw)[:] = found.reshape(-1, columns)
            return raw
        if len(found) not in (1, count):
            raise UsageError(f"map {self.name}: {len(found)} values for {count} keys")
        return raw_bytes(found if len(found) == count else rows(found, np.zeros(count, np.intp)))

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
        if getattr(self, "fd", -1) >= 0:
            self.close()

    def __repr__(self) -> str:
        return f"<Map {self.name} {self.type.name} fd {self.fd}>"


def read_info(fd: int) -> MapInfo:
    """Read the kernel's description of a map."""
    raw = syscall.info_by_fd(fd, _INFO_BYTES)
    kind, number, key, value, entries, flags, name = struct.unpack_from("=IIIIII16s", raw)
    btf_id, key_type, value_type = struct.unpack_from("=III", raw, 64)
    of = known(MapType, kind) or MapType.UNSPEC
    return MapInfo(of, number, key, value, entries, flags, syscall.object_name(name), btf_id, key_type, value_type)


def kernel_btf(btf_id: int) -> Btf:
    """Read a BTF object that the kernel keeps (of a map or program), by its id."""
    fd = syscall.fd_by_id(Cmd.BTF_GET_FD_BY_ID, btf_id)
    try:
        size = struct.unpack_from("=I", syscall.info_by_fd(fd, 32), 8)[0]
        room = ctypes.create_string_buffer(size)
        syscall.info_by_fd(fd, 32, struct.pack("=QI", ctypes.addressof(room), size))
    finally:
        os.close(fd)
    return Btf(room.raw)


def _kernel_dtypes(info: MapInfo) -> tuple[np.dtype[Any], np.dtype[Any]]:
    btf = kernel_btf(info.btf_id) if info.btf_id else None
    return (
        element_dtype(btf, info.btf_key_type_id, info.key_size),
        element_dtype(btf, info.btf_value_type_id, info.value_size),
    )

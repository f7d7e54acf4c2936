"""Single elements of a map, written and deleted with as little as possible around bpf(2): for what each pod costs.

From about ten elements on, ``Map.update`` with its batches is the better way.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterable
from typing import Any

import numpy as np

from glasshive.bpf import Map, batch, syscall
from glasshive.bpf.uapi import Cmd
from glasshive.errors import BpfError, ExhaustedError


class ElementWriter:
    """Writes elements that are bytes already. Not thread-safe: its buffers are used again and again."""

    def __init__(self, kernel: Map) -> None:
        self._kernel = kernel
        self._key = ctypes.create_string_buffer(kernel.info.key_size)
        self._value = ctypes.create_string_buffer(kernel.info.value_size)
        self._key_at = ctypes.addressof(self._key)
        self._value_at = ctypes.addressof(self._value)

    def put(self, keys: Iterable[bytes], value: bytes) -> None:
        """Write one value under each key. ExhaustedError when the map is full, BpfError."""
        self._value.raw = value
        for key in keys:
            self._key.raw = key
            result = batch.element(Cmd.MAP_UPDATE_ELEM, self._kernel.fd, self._key_at, self._value_at)
            if result in (-errno.E2BIG, -errno.ENOSPC):
                raise ExhaustedError(f"map {self._kernel.name} is full: {self._kernel.max_entries} entries")
            if result < 0:
                raise syscall.failure(f"update map {self._kernel.name}", -result)

    def delete(self, keys: Iterable[bytes]) -> int:
        """Delete keys; how many were there."""
        gone = 0
        for key in keys:
            self._key.raw = key
            result = batch.element(Cmd.MAP_DELETE_ELEM, self._kernel.fd, self._key_at, 0)
            if result < 0 and result != -errno.ENOENT:
                raise syscall.failure(f"remove an element of map {self._kernel.name}", -result)
            gone += result >= 0
        return gone


def field_offsets(kind: np.dtype[Any], names: Iterable[str]) -> tuple[int, ...]:
    """Where fields begin in a struct, by its BTF layout; BpfError when it lacks one."""
    fields: Any = kind.fields or {}
    try:
        return tuple(fields[name][1] for name in names)
    except KeyError as error:
        raise BpfError(f"the datapath's struct has no field {error}", hint="rebuild with `make bpf`") from None

"""The map ``ipcache``: address prefix -> identity and node (``bpf/types/ipcache.h``). An LPM trie."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from glasshive.bpf import Map
from glasshive.bpf.layout import Records
from glasshive.maps.element import ElementWriter
from glasshive.maps.reconcile import Changes, reconcile
from glasshive.model.address import Address, Prefix

NAME = "ipcache"

_FEW = 8
_KEY = struct.Struct("=I16s")
_VALUE = struct.Struct("=II16s")


class Value(Protocol):
    """What an entry says; any value with these attributes will do."""

    @property
    def identity(self) -> int:
        """Security identity."""

    @property
    def flags(self) -> int:
        """``enum gh_ipcache_flags``."""

    @property
    def node(self) -> Address:
        """Underlay address of the node, all zero when local or unknown."""


class _Row(NamedTuple):
    identity: int
    flags: int
    node: Address


class IpcacheMap:
    """Typed face of the kernel's map.

    Rows are packed by ``struct`` instead of numpy fields: several times quicker for the one or two entries of a pod.
    The constructor compares the packing with the layout that the map's BTF gives.
    """

    def __init__(self, kernel: Map) -> None:
        self.kernel = kernel
        self._writer = ElementWriter(kernel)
        probe = np.frombuffer(_VALUE.pack(1, 2, bytes([3]) * 16), kernel.value_dtype)[0]
        key = np.frombuffer(_KEY.pack(4, bytes([5]) * 16), kernel.key_dtype)[0]
        told = (probe["identity"], probe["flags"], probe["node_addr"].tobytes())
        assert told == (1, 2, bytes([3]) * 16), "struct gh_ipcache_entry and maps/ipcache.py differ"
        assert (key["prefixlen"], key["addr"].tobytes()) == (4, bytes([5]) * 16), "struct gh_ipcache_key differs"

    def update(self, entries: Mapping[Prefix, Value]) -> None:
        """Write entries: a pod's few one by one, many in a batch."""
        if len(entries) > _FEW:
            self.kernel.update(*self._rows(entries))
            return
        for prefix, value in entries.items():
            packed = _VALUE.pack(value.identity, value.flags, value.node)
            self._writer.put((_KEY.pack(prefix.length, prefix.address),), packed)

    def delete(self, prefixes: Sequence[Prefix]) -> int:
        """Remove entries; how many were there."""
        if len(prefixes) > _FEW:
            return self.kernel.delete(self._keys(prefixes))
        return self._writer.delete([_KEY.pack(prefix.length, prefix.address) for prefix in prefixes])

    def reconcile(self, entries: Mapping[Prefix, Value]) -> Changes:
        """Make the map hold these entries and nothing else."""
        return reconcile(self.kernel, self._rows(entries))

    def entries(self) -> dict[Prefix, Value]:
        """The whole map."""
        keys, values = self.kernel.items()
        found: dict[Prefix, Value] = {}
        for (length, address), value in zip(_KEY.iter_unpack(keys.tobytes()), _VALUE.iter_unpack(values.tobytes()),
                                            strict=True):  # fmt: skip
            found[Prefix(length, Address(address))] = _Row(value[0], value[1], Address(value[2]))
        return found

    def _keys(self, prefixes: Sequence[Prefix]) -> Records:
        packed = b"".join([_KEY.pack(prefix.length, prefix.address) for prefix in prefixes])
        return np.frombuffer(bytearray(packed), self.kernel.key_dtype)  # writable: reconcile clears host bits in place

    def _rows(self, entries: Mapping[Prefix, Value]) -> tuple[Records, Records]:
        packed = b"".join([_VALUE.pack(value.identity, value.flags, value.node) for value in entries.values()])
        return self._keys(list(entries)), np.frombuffer(packed, self.kernel.value_dtype)

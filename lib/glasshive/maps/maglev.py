"""The map ``maglev_tables``: an array of arrays, one per set of backends that has a table (``bpf/types/service.h``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glasshive.bpf import Map
from glasshive.bpf.uapi import MapType
from glasshive.errors import NotFoundError

NAME = "maglev_tables"
ROW_SLOTS = 16
"""``GH_MAGLEV_ROW_SLOTS``."""
_ROW_BYTES = 4 * ROW_SLOTS
_INNER_MAP = 1 << 12
"""BPF_F_INNER_MAP: tables may differ in size."""


class MaglevTables:
    """Typed face of the kernel's map of maps. Number 0 stays empty."""

    def __init__(self, kernel: Map) -> None:
        self.kernel = kernel
        self.most = kernel.max_entries

    def put(self, number: int, backends: NDArray[np.uint32]) -> None:
        """Write a table, numbers of backends by slot, and put it in the old one's place in one step."""
        rows = -(-len(backends) // ROW_SLOTS)
        padded = np.zeros(rows * ROW_SLOTS, np.uint32)
        padded[: len(backends)] = backends
        with Map.create(MapType.ARRAY, 4, _ROW_BYTES, rows, name="maglev_table", flags=_INNER_MAP) as made:
            made.update(np.arange(rows, dtype=np.uint32), padded.view(f"V{_ROW_BYTES}"))
            self.kernel.update([number], [made.fd])

    def delete(self, number: int) -> None:
        """Take a table away."""
        self.kernel.delete([number])

    def get(self, number: int, size: int) -> NDArray[np.uint32]:
        """A table's numbers of backends by slot; NotFoundError."""
        found = self.kernel.get(number)
        if found is None:
            raise NotFoundError(f"there is no Maglev table {number}")
        with Map.by_id(int(found)) as inner:
            values = inner.items()[1]
            slots: NDArray[np.uint32] = np.frombuffer(values.tobytes(), np.uint32)[:size]
            return slots

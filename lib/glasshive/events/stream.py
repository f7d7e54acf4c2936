"""One ring of the datapath or of the sensors as arrays of records.

Records of a ring have one size, and a field that says their type; a type's own layout, if it differs, is laid over the
same bytes. What the records mean is the business of ``observer`` and ``runtime``, which read from here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import numpy as np

from glasshive.bpf.layout import Records, dtype_of
from glasshive.bpf.object import LoadedObject
from glasshive.bpf.ring import RingBuffer


class RecordStream:
    """Reads one ring. There can be only one reader of a ring at a time.

    ``field`` names the member that tells the record types apart; ``layouts`` gives the dtype of those types that are
    not simply the ring's own.
    """

    def __init__(
        self, ring: RingBuffer, field: str | None = None, layouts: Mapping[int, np.dtype[Any]] | None = None
    ) -> None:
        self.ring = ring
        self._field = field
        self._layouts = dict(layouts or {})

    @classmethod
    def of(
        cls,
        obj: LoadedObject,
        map_name: str,
        struct: str,
        field: str | None = None,
        *,
        lost: Callable[[], int] | None = None,
    ) -> RecordStream:
        """Read the ring ``map_name`` of a loaded object, whose records are the C struct ``struct``."""
        return cls(RingBuffer(obj.maps[map_name], dtype_of(obj.btf, struct), lost=lost), field)

    def take(self, limit: int | None = None) -> Records:
        """All records that are there (at most about ``limit``), in the order they were reserved."""
        return self.ring.take(limit)

    def by_type(self, limit: int | None = None) -> dict[int, Records]:
        """The same, one array per record type."""
        return split(self.take(limit), self._field, self._layouts)

    async def batches(self, interval_s: float = 0.005, longest_s: float = 0.1) -> AsyncIterator[Records]:
        """Give records as they come, in batches, for ever.

        Reads on a timer, since programs do not wake the reader for each record (a wake-up costs the program 5.7 us):
        every ``interval_s`` seconds while records come, less and less often, down to every ``longest_s``, while not.
        """
        pause = interval_s
        while True:
            records = self.take()
            if len(records):
                pause = interval_s
                yield records
            else:
                pause = min(pause * 2, longest_s)
            await asyncio.sleep(pause)

    def close(self) -> None:
        """Stop reading. The map stays open."""
        self.ring.close()


def split(records: Records, field: str | None, layouts: Mapping[int, np.dtype[Any]]) -> dict[int, Records]:
    """Sort records by their type; a type with a layout of its own is shown in it. Without a field all are type 0."""
    if not len(records):
        return {}
    if field is None:
        return {0: records}
    types = records[field]
    found: dict[int, Records] = {}
    for number in np.unique(types).tolist():
        of_type = records[types == number] if (types != number).any() else records
        layout = layouts.get(number)
        found[number] = of_type if layout is None else _laid_over(of_type, layout)
    return found


def _laid_over(records: Records, layout: np.dtype[Any]) -> Records:
    """See the same bytes in another layout of at most the same size."""
    packed = np.ascontiguousarray(records)
    return np.ndarray(packed.shape, layout, buffer=packed.view(np.uint8).data, strides=packed.strides)

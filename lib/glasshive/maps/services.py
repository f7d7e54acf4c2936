"""The maps ``frontends``, ``backends``, ``backend_slots`` and ``source_ranges`` (``bpf/types/service.h``).

``backends`` and ``backend_slots`` are memory that the kernel shares with us: many rows go in with one numpy store.
Whoever writes keeps the order backends, slots, frontends, and takes away in the opposite one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from glasshive.bpf import Map
from glasshive.bpf.layout import Records
from glasshive.errors import BpfError, NotFoundError
from glasshive.maps.maglev import NAME as TABLES
from glasshive.maps.maglev import MaglevTables
from glasshive.maps.memory import memory_of
from glasshive.model.address import Address, Prefix
from glasshive.model.service import Backend, BackendState, Place

FRONTENDS, BACKENDS, SLOTS = "frontends", "backends", "backend_slots"
RANGES = "source_ranges"
NAMES = (FRONTENDS, BACKENDS, SLOTS, RANGES, TABLES)
LOCAL = 1
"""``GH_BACKEND_LOCAL``."""

_KEY = struct.Struct(">16sHB5x")
_VALUE = struct.Struct("=IIIIIIIIHB5x")
_ROW = struct.Struct("=16s2sBBBBH")
_RANGE = struct.Struct("=II16s")


class SetRow(NamedTuple):
    """``struct gh_backend_set``; ``size`` is its ``count``."""

    first: int = 0
    size: int = 0
    table: int = 0


class FrontendRow(NamedTuple):
    """``struct gh_frontend``."""

    internal: SetRow
    external: SetRow
    id: int
    affinity_s: int
    flags: int
    type: int


class BackendRow(NamedTuple):
    """``struct gh_backend``."""

    place: Place
    state: int = 0
    flags: int = 0
    zone: int = 0
    weight: int = 0


class Limits(NamedTuple):
    """How much fits."""

    frontends: int
    backends: int
    slots: int
    tables: int = 0
    """One more than there may be Maglev tables; 0: the datapath has none."""


Range = tuple[int, Prefix]
"""A frontend's id, and from where it may be called."""


class ServiceKernel(Protocol):
    """What ``service.sync`` writes to: the kernel's maps, or a test's memory."""

    limits: Limits

    def put_backends(self, rows: Sequence[tuple[int, BackendRow]]) -> None:
        """Write backends by number."""

    def put_slots(self, runs: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Write runs: (first slot, numbers of backends)."""

    def put_frontends(self, rows: Sequence[tuple[Place, FrontendRow]]) -> None:
        """Write frontends."""

    def delete_frontends(self, places: Sequence[Place]) -> None:
        """Take frontends away."""

    def put_ranges(self, ranges: Sequence[Range]) -> None:
        """Write source ranges."""

    def delete_ranges(self, ranges: Sequence[Range]) -> None:
        """Take source ranges away."""

    def put_table(self, number: int, backends: NDArray[np.uint32]) -> None:
        """Write a Maglev table, numbers of backends by slot."""

    def delete_table(self, number: int) -> None:
        """Take a Maglev table away."""

    def ranges(self) -> list[Range]:
        """All source ranges."""

    def backends(self) -> dict[int, BackendRow]:
        """All backends, those that are gone but rest included."""

    def slots(self) -> NDArray[np.uint32]:
        """All slots, as they are now."""

    def frontends(self) -> dict[Place, FrontendRow]:
        """All frontends."""


class ServiceMaps:
    """Typed face of the kernel's maps. One writer at a time."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        try:
            self.frontend_map, backends, slots = (maps[name] for name in (FRONTENDS, BACKENDS, SLOTS))
        except KeyError as error:
            raise NotFoundError(f"the datapath objects have no map {error}", hint="rebuild with `make bpf`") from None
        self._ranges = maps.get(RANGES)
        self.tables = MaglevTables(maps[TABLES]) if TABLES in maps else None
        self.limits = Limits(
            self.frontend_map.max_entries,
            backends.max_entries,
            slots.max_entries,
            self.tables.most if self.tables else 0,
        )
        self._rows = memory_of(backends).view(f"V{_ROW.size}").reshape(-1)
        self._slots: NDArray[np.uint32] = memory_of(slots).view(np.uint32)[:, 0]
        _compare(self.frontend_map, backends)

    @staticmethod
    def packed(place: Place, row: FrontendRow) -> tuple[bytes, bytes]:
        """Key and value of an entry of ``frontends`` as bytes."""
        return _KEY.pack(*place), pack_frontend(row)

    def put_backends(self, rows: Sequence[tuple[int, BackendRow]]) -> None:
        """Write backends by number."""
        # Written out: this is done 120,000 times when an agent starts in a large cluster.
        pack = _ROW.pack
        packed = [
            pack(address, port.to_bytes(2, "big"), protocol, state, flags, zone, weight)
            for _, ((address, port, protocol), state, flags, zone, weight) in rows
        ]
        if len(rows) == 1:
            self._rows[rows[0][0]] = np.void(packed[0])
        elif rows:
            self._rows[np.fromiter((number for number, _ in rows), np.intp, len(rows))] = _voids(packed, _ROW.size)

    def put_slots(self, runs: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Write runs: (first slot, numbers of backends). A slot is written in one store."""
        if not runs:
            return
        counts = np.fromiter((len(numbers) for _, numbers in runs), np.intp, len(runs))
        total = int(counts.sum())
        firsts = np.fromiter((first for first, _ in runs), np.intp, len(runs))
        within = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        numbers = np.fromiter((one for _, numbers in runs for one in numbers), np.uint32, total)
        self._slots[np.repeat(firsts, counts) + within] = numbers

    def put_frontends(self, rows: Sequence[tuple[Place, FrontendRow]]) -> None:
        """Write frontends, each as a whole. ExhaustedError."""
        if rows:
            pack = _VALUE.pack
            packed = b"".join([pack(*inside, *outside, *rest) for _, (inside, outside, *rest) in rows])
            values = np.frombuffer(packed, self.frontend_map.value_dtype)
            self.frontend_map.update(self._keys([place for place, _ in rows]), values)

    def delete_frontends(self, places: Sequence[Place]) -> None:
        """Take frontends away."""
        if places:
            self.frontend_map.delete(self._keys(places))

    def put_ranges(self, ranges: Sequence[Range]) -> None:
        """Write source ranges. ExhaustedError."""
        if ranges and self._ranges is not None:
            self._ranges.update(self._range_keys(self._ranges, ranges), np.ones(1, np.uint8))

    def delete_ranges(self, ranges: Sequence[Range]) -> None:
        """Take source ranges away."""
        if ranges and self._ranges is not None:
            self._ranges.delete(self._range_keys(self._ranges, ranges))

    def put_table(self, number: int, backends: NDArray[np.uint32]) -> None:
        """Write a Maglev table, numbers of backends by slot."""
        if self.tables is not None:
            self.tables.put(number, backends)

    def delete_table(self, number: int) -> None:
        """Take a Maglev table away."""
        if self.tables is not None:
            self.tables.delete(number)

    def ranges(self) -> list[Range]:
        """All source ranges."""
        if self._ranges is None:
            return []
        keys, _ = self._ranges.items()
        return [(one[1], Prefix(one[0] - 32, Address(one[2]))) for one in _RANGE.iter_unpack(keys.tobytes())]

    def backends(self) -> dict[int, BackendRow]:
        """All backends, those that are gone but rest included."""
        raw = self._rows.view(np.uint64).reshape(-1, _ROW.size // 8)
        used = np.flatnonzero(raw.any(axis=1))
        packed = self._rows[used].tobytes()
        return dict(zip(used.tolist(), map(_unpack_backend, _ROW.iter_unpack(packed)), strict=True))

    def slots(self) -> NDArray[np.uint32]:
        """All slots, as they are now."""
        return self._slots.copy()

    def frontends(self) -> dict[Place, FrontendRow]:
        """All frontends."""
        keys, values = self.frontend_map.items()
        places = [Place(Address(one[0]), one[1], one[2]) for one in _KEY.iter_unpack(keys.tobytes())]
        return dict(zip(places, map(_unpack_frontend, _VALUE.iter_unpack(values.tobytes())), strict=True))

    def _keys(self, places: Iterable[Place]) -> Records:
        return np.frombuffer(b"".join([_KEY.pack(*place) for place in places]), self.frontend_map.key_dtype)

    @staticmethod
    def _range_keys(kernel: Map, ranges: Sequence[Range]) -> Records:
        packed = b"".join([_RANGE.pack(32 + one.length, number, one.address) for number, one in ranges])
        return np.frombuffer(packed, kernel.key_dtype)


def row_of(place: Place, backend: Backend, zone: int) -> BackendRow:
    """A backend as the kernel has it; ``zone`` is the zone's number."""
    return BackendRow(place, int(backend.state), LOCAL if backend.local else 0, zone, backend.weight)


def gone(row: BackendRow) -> BackendRow:
    """The same backend, no more."""
    return row._replace(state=int(BackendState.GONE))


def pack_backend(row: BackendRow) -> bytes:
    """Bytes of ``struct gh_backend``."""
    place = row.place
    return _ROW.pack(place.address, place.port.to_bytes(2, "big"), place.protocol, *row[1:])


def pack_frontend(row: FrontendRow) -> bytes:
    """Bytes of ``struct gh_frontend``."""
    return _VALUE.pack(*row.internal, *row.external, row.id, row.affinity_s, row.flags, row.type)


def _unpack_backend(raw: tuple[Any, ...]) -> BackendRow:
    return BackendRow(Place(Address(raw[0]), int.from_bytes(raw[1], "big"), raw[2]), *raw[3:])


def _unpack_frontend(raw: tuple[Any, ...]) -> FrontendRow:
    return FrontendRow(SetRow(*raw[:3]), SetRow(*raw[3:6]), *raw[6:])


def _voids(packed: Sequence[bytes], size: int) -> Records:
    return np.frombuffer(b"".join(packed), f"V{size}")


def _compare(frontends: Map, backends: Map) -> None:
    """Whether the packing here is what the maps' BTF says."""
    place = Place(Address(bytes(range(16))), 0x1234, 6)
    key = np.frombuffer(_KEY.pack(*place), frontends.key_dtype)[0]
    value = np.frombuffer(
        pack_frontend(FrontendRow(SetRow(1, 2, 3), SetRow(4, 5, 6), 7, 8, 9, 10)), frontends.value_dtype
    )[0]
    row = np.frombuffer(pack_backend(BackendRow(place, 1, 2, 3, 4)), backends.value_dtype)[0]
    told = (
        [key["addr"].tobytes(), key["port"], key["protocol"]],
        [value["sets"]["first"].tolist(), value["sets"]["count"].tolist(), value["sets"]["table"].tolist()],
        [value[name] for name in ("id", "affinity_s", "flags", "type")],
        [row[name] for name in ("port", "protocol", "state", "flags", "zone", "weight")],
    )
    wanted = ([place.address, 0x1234, 6], [[1, 4], [2, 5], [3, 6]], [7, 8, 9, 10], [0x1234, 6, 1, 2, 3, 4])
    if told != wanted:
        raise BpfError("types/service.h and maps/services.py differ", hint="rebuild with `make bpf`")

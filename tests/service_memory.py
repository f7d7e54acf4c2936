"""Service tables in memory, for tests without a kernel: they note the order in which they were written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glasshive.maps.services import BackendRow, FrontendRow, Limits, Range
from glasshive.model.service import BackendState, Place


class MemoryTables:
    """What ``service.sync`` writes to. After every step ``check`` looks at the tables as a packet would."""

    def __init__(self, frontends: int = 1000, backends: int = 1000, slots: int = 4000, tables: int = 0) -> None:
        self.limits = Limits(frontends, backends, slots, tables)
        self.tables: dict[int, NDArray[np.uint32]] = {}
        self.kept_ranges: set[Range] = set()
        self.rows: dict[int, BackendRow] = {}
        self.memory = np.zeros(slots, np.uint32)
        self.table: dict[Place, FrontendRow] = {}
        self.steps: list[str] = []

    def put_backends(self, rows: Sequence[tuple[int, BackendRow]]) -> None:
        for number, row in rows:
            assert 0 < number < self.limits.backends
            self.rows[number] = row
        self._step("backends", rows)

    def put_slots(self, runs: Sequence[tuple[int, Sequence[int]]]) -> None:
        for first, numbers in runs:
            assert first + len(numbers) <= self.limits.slots
            self.memory[first : first + len(numbers)] = numbers
        self._step("slots", runs)

    def put_frontends(self, rows: Sequence[tuple[Place, FrontendRow]]) -> None:
        self.table |= dict(rows)
        assert len(self.table) <= self.limits.frontends
        self._step("frontends", rows)

    def delete_frontends(self, places: Sequence[Place]) -> None:
        for place in places:
            del self.table[place]
        self._step("delete", places)

    def put_ranges(self, ranges: Sequence[Range]) -> None:
        self.kept_ranges.update(ranges)
        self._step("ranges", ranges)

    def delete_ranges(self, ranges: Sequence[Range]) -> None:
        self.kept_ranges.difference_update(ranges)
        self._step("delete ranges", ranges)

    def put_table(self, number: int, backends: NDArray[np.uint32]) -> None:
        assert 0 < number < self.limits.tables
        self.tables[number] = backends
        self._step("table", backends)

    def delete_table(self, number: int) -> None:
        del self.tables[number]
        self._step("delete table", [number])

    def ranges(self) -> list[Range]:
        return list(self.kept_ranges)

    def backends(self) -> dict[int, BackendRow]:
        return dict(self.rows)

    def slots(self) -> NDArray[np.uint32]:
        return self.memory.copy()

    def frontends(self) -> dict[Place, FrontendRow]:
        return dict(self.table)

    def members(self, place: Place, scope: str = "internal") -> list[Place]:
        """Who is behind a frontend."""
        row = getattr(self.table[place], scope)
        return [self.rows[number].place for number in self.memory[row.first : row.first + row.size].tolist()]

    def check(self) -> None:
        """No slot in use leads nowhere, and none to a backend that is gone."""
        for row in self.table.values():
            for one in (row.internal, row.external):
                for number in self.memory[one.first : one.first + one.size].tolist():
                    assert self.rows[number].state != BackendState.GONE
                if one.table:
                    assert one.size
                    numbers = set(self.tables[one.table].tolist())
                    assert numbers <= set(self.rows), "a table leads nowhere"

    def _step(self, name: str, what: Sequence[object] | NDArray[np.uint32]) -> None:
        if len(what):
            self.steps.append(name)
            self.check()

"""Sets of backends in the kernel: runs of slots and Maglev tables, each written once however many frontends use it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glasshive.maps.services import Limits, SetRow
from glasshive.model.service import BackendSet, Place
from glasshive.service.maglev import table
from glasshive.service.numbers import Clock, Numbers, Runs
from glasshive.service.settings import ServiceSettings, seed_of
from glasshive.service.slots import expand

REST_S = 1.0
"""How long a run or table rests: far longer than a packet takes through a program."""
NO_SET = SetRow()
Content = tuple[int, ...]


@dataclass(slots=True)
class _Shared:
    at: int
    users: int = 0


class Sets:
    """Gives rows for sets, and notes what has to be written and taken away."""

    def __init__(self, limits: Limits, settings: ServiceSettings, clock: Clock) -> None:
        self._settings = settings
        self._seed = seed_of(settings.hash_seed)
        self._runs = Runs("slots of backends", limits.slots, REST_S, clock)
        self._tables = Numbers("Maglev table", max(limits.tables - 1, 0), REST_S, clock)
        self._has_tables = limits.tables > 1
        self._run_of: dict[Content, _Shared] = {}
        self._content: dict[int, Content] = {}
        self._table_of: dict[BackendSet, _Shared] = {}
        self._members: dict[int, BackendSet] = {}
        self._unsure: set[int] = set()
        """Tables of an earlier life: whether they are as they would be made now is not known."""
        self.new_runs: dict[int, Content] = {}
        """First slot -> numbers: to be written."""
        self.new_tables: dict[int, NDArray[np.uint32]] = {}
        """Number -> numbers of backends by slot: to be written."""
        self.old_tables: list[int] = []
        """Tables that nobody uses any more."""

    def adopt(self, rows: Iterable[SetRow], slots: NDArray[np.uint32], place_of: Mapping[int, Place]) -> None:
        """Begin with what the kernel has. Tables keep their numbers and are written anew when they are asked for."""
        used = [one for one in rows if one.size]
        self._run_of, self._content, self._table_of, self._members = {}, {}, {}, {}
        self.new_runs, self.new_tables, self.old_tables = {}, {}, []
        self._runs.adopt((one.first, one.size) for one in used)
        for one in used:
            content = tuple(slots[one.first : one.first + one.size].tolist())
            self._content[one.first] = content
            self._run_of.setdefault(content, _Shared(one.first))
            if one.table and one.table not in self._members:
                weights = Counter(place_of[number] for number in content if number in place_of)
                members = tuple(sorted(weights.items()))
                self._members[one.table] = members
                self._table_of.setdefault(members, _Shared(one.table))
            self.use(one, 1)
        self._tables.adopt(self._members)
        self._unsure = set(self._members)

    def slots_in_use(self) -> int:
        """How many slots frontends point to."""
        return sum(len(content) for content in self._run_of)

    def tables_in_use(self) -> int:
        """How many Maglev tables there are."""
        return len(self._members)

    def numbers(self, *rows: SetRow) -> set[int]:
        """Backends that these rows lead to."""
        return {number for row in rows if row.size for number in self._content[row.first]}

    def row(self, members: BackendSet, numbers: dict[Place, int]) -> SetRow:
        """The run that holds these backends, a new one if there is none. ExhaustedError."""
        found = [(numbers[place], weight) for place, weight in members if place in numbers]
        if not found:
            return NO_SET
        content = expand(found)
        run = self._run_of.get(content)
        if run is None:
            run = _Shared(self._runs.take(len(content)))
            self._run_of[content] = run
            self._content[run.at] = content
            self.new_runs[run.at] = content
        return SetRow(run.at, len(content))

    def knows_table(self, members: BackendSet) -> bool:
        """Whether a set has its table already."""
        known = self._table_of.get(members)
        return not self._has_tables or (known is not None and known.at not in self._unsure)

    def with_table(self, row: SetRow, members: BackendSet, numbers: dict[Place, int]) -> SetRow:
        """The same row with the set's Maglev table, a new one if there is none. ExhaustedError."""
        if not row.size or not self._has_tables:
            return row
        known = self._table_of.get(members)
        if known is None or known.at in self._unsure:
            known = known or _Shared(self._tables.take())
            self._unsure.discard(known.at)
            present = [one for one in members if one[0] in numbers]
            of = np.array([numbers[place] for place, _ in present], np.uint32)
            self.new_tables[known.at] = of[table(present, self._settings.table_size, self._seed)]
            self._table_of[members] = known
            self._members[known.at] = members
        return row._replace(table=known.at)

    def use(self, row: SetRow, more: int) -> None:
        """A frontend begins or ceases to point to a run and its table; what has no users is given back."""
        if not row.size:
            return
        content = self._content[row.first]
        run = self._run_of[content]
        run.users += more
        if run.users <= 0:
            self._free_run(row.first, content)
        if row.table:
            self._use_table(row.table, more)

    def settle(self) -> None:
        """Give back what was made for a frontend that found no room in the end."""
        for first, content in list(self.new_runs.items()):
            if content in self._run_of and not self._run_of[content].users:
                self._free_run(first, content)
        for number in list(self.new_tables):
            if not self._table_of[self._members[number]].users:
                self._use_table(number, 0)

    def _free_run(self, first: int, content: Content) -> None:
        del self._run_of[content], self._content[first]
        self.new_runs.pop(first, None)
        self._runs.release(first, len(content))

    def _use_table(self, number: int, more: int) -> None:
        members = self._members[number]
        shared = self._table_of[members]
        shared.users += more
        if shared.users > 0:
            return
        del self._table_of[members], self._members[number]
        self._unsure.discard(number)
        self.new_tables.pop(number, None)
        self.old_tables.append(number)
        self._tables.release(number)

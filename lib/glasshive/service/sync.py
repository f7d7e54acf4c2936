"""The kernel's service tables made equal to what the book says, changed entries only.

Order: backends, slots, frontends; then frontends that go, then backends that are gone. A packet finds a frontend's old
set of backends or its new one, and every number in either is written. Numbers and runs that became free rest.

Nothing is remembered outside of the kernel: ``adopt`` reads the tables that an earlier agent wrote, and the first
``flush`` after that changes only what is other than wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from glasshive.errors import ExhaustedError
from glasshive.maps.services import BackendRow, FrontendRow, Range, ServiceKernel, SetRow, gone, row_of
from glasshive.model.address import Prefix
from glasshive.model.service import BackendState, Frontend, FrontendFlag, Place
from glasshive.service.book import Book, Changes
from glasshive.service.numbers import Clock, Numbers
from glasshive.service.sets import Sets
from glasshive.service.settings import ServiceSettings

BACKEND_REST_S = 120.0
"""How long a backend's number rests: connections that were made with it are told so meanwhile."""
ID_REST_S = 120.0
TABLES_PER_FLUSH = 16
"""How many Maglev tables are made at once: about 1.3 ms each of the usual size, for which everybody else waits."""
_MAGLEV, _AFFINITY = int(FrontendFlag.MAGLEV), int(FrontendFlag.AFFINITY)


class Written(NamedTuple):
    """What a flush did."""

    backends: int = 0
    slots: int = 0
    frontends: int = 0
    deleted: int = 0
    gone: int = 0
    tables: int = 0


class _Todo:
    """What one flush will write, and take away after that."""

    def __init__(self) -> None:
        self.rows: list[tuple[Place, FrontendRow]] = []
        self.dropped: list[Place] = []
        self.stale: list[SetRow] = []
        self.ranges: list[Range] = []
        self.old_ranges: list[Range] = []


class ServiceSync:
    """Takes what changed in ``book`` and writes it."""

    def __init__(
        self, kernel: ServiceKernel, settings: ServiceSettings | None = None, clock: Clock = time.monotonic
    ) -> None:
        self.book = Book()
        self.trouble = ""
        """Why something is not in the tables; "" if everything is."""
        self.on_gone: list[Callable[[Sequence[BackendRow]], object]] = []
        """Told of backends that no connection may go to any more."""
        self.parted: set[tuple[int, int]] = set()
        """(frontend, backend) that clients with affinity must not go back to; whoever forgets them empties it."""
        self._kernel = kernel
        self._ids = Numbers("frontend", 2**32 - 1, ID_REST_S, clock)
        self._numbers = Numbers("backend", kernel.limits.backends - 1, BACKEND_REST_S, clock)
        self._sets = Sets(kernel.limits, settings or ServiceSettings(), clock)
        self._backends: dict[Place, int] = {}
        self._rows: dict[int, BackendRow] = {}
        self._frontends: dict[Place, FrontendRow] = {}
        self._ranges: dict[int, frozenset[Prefix]] = {}
        self._zones: dict[str, int] = {}
        self._adopted: Changes | None = None
        self._orphans: list[Range] = []
        self._left_out: set[Place] = set()
        self._late: set[Place] = set()

    # -- looking

    def number_of(self, place: Place) -> int:
        """A backend's number, 0 if it has none."""
        return self._backends.get(place, 0)

    def row(self, place: Place) -> FrontendRow | None:
        """A frontend as it is in the kernel."""
        return self._frontends.get(place)

    def counts(self) -> dict[str, int]:
        """How much is in use."""
        return {
            "frontends": len(self._frontends),
            "backends": len(self._backends),
            "slots": self._sets.slots_in_use(),
            "maglevTables": self._sets.tables_in_use(),
            "sourceRanges": sum(len(one) for one in self._ranges.values()),
            "restingBackends": self._numbers.resting,
        }

    def affinities(self) -> dict[int, int]:
        """How long each frontend with session affinity remembers a client, by id."""
        return {row.id: row.affinity_s for row in self._frontends.values() if row.flags & _AFFINITY}

    @property
    def unfinished(self) -> bool:
        """Whether another flush is needed at once, because the last one had enough to do."""
        return bool(self._late)

    # -- taking over

    def adopt(self) -> int:
        """Learn what the kernel holds, before the first flush; how many frontends that are."""
        rows = self._kernel.backends()
        self._frontends = self._kernel.frontends()
        alive = {number: row for number, row in rows.items() if row.state != BackendState.GONE}
        self._rows = dict(rows)
        self._backends = {row.place: number for number, row in alive.items()}
        kept = set(self._backends.values())
        self._numbers.adopt(kept, (number for number in rows if number not in kept))
        self._ids.adopt(row.id for row in self._frontends.values())
        used = [one for row in self._frontends.values() for one in dict.fromkeys((row.internal, row.external))]
        self._sets.adopt(used, self._kernel.slots(), {number: row.place for number, row in rows.items()})
        self._adopt_ranges()
        self._adopted = Changes(dict.fromkeys(self._frontends), dict.fromkeys(self._backends))
        return len(self._frontends)

    def _adopt_ranges(self) -> None:
        known: dict[int, set[Prefix]] = {row.id: set() for row in self._frontends.values()}
        self._orphans = []
        for number, prefix in self._kernel.ranges():
            if number in known:
                known[number].add(prefix)
            else:
                self._orphans.append((number, prefix))
        self._ranges = {number: frozenset(found) for number, found in known.items() if found}

    def resync(self) -> Written:
        """Read the kernel's tables again and mend whatever is other than wanted."""
        self.adopt()
        return self.flush()

    # -- writing

    def flush(self) -> Written:
        """Write what changed. What does not fit is left out, told in ``trouble``, and tried again each time."""
        changes = self._changes()
        if not changes.frontends and not changes.backends:
            return Written()
        self.trouble = ""
        self._left_out, self._late = set(), set()
        fresh = self._number_backends(changes)
        self._kernel.put_backends(fresh)
        todo = _Todo()
        self._decide(changes, todo)
        sets = self._sets
        sets.settle()
        runs, tables = list(sets.new_runs.items()), dict(sets.new_tables)
        sets.new_runs, sets.new_tables = {}, {}
        self._kernel.put_slots(runs)
        for number, backends in tables.items():
            self._kernel.put_table(number, backends)
        self._kernel.put_ranges(todo.ranges)
        self._kernel.put_frontends(todo.rows)
        self._kernel.delete_frontends(todo.dropped)
        self._kernel.delete_ranges([*todo.old_ranges, *self._orphans])
        self._orphans = []
        for one in todo.stale:
            sets.use(one, -1)
        for number in sets.old_tables:
            self._kernel.delete_table(number)
        sets.old_tables = []
        ended = self._end_backends(changes)
        slots = sum(len(content) for _, content in runs)
        return Written(len(fresh), slots, len(todo.rows), len(todo.dropped), ended, len(tables))

    def _changes(self) -> Changes:
        changes = self.book.take()
        if self._adopted is not None:
            first, self._adopted = self._adopted, None
            return Changes({**first.frontends, **self.book.frontends()}, {**first.backends, **self.book.backends()})
        for place in self._late:
            changes.frontends.setdefault(place, self.book.frontends().get(place))
        return self._with_left_out(changes) if self._left_out else changes

    def _with_left_out(self, changes: Changes) -> Changes:
        """Places that found no room are looked at again, with everything that leads to them."""
        backends = {place: self.book.backends().get(place) for place in self._left_out}
        frontends = {
            place: one
            for place, one in self.book.frontends().items()
            if place in self._left_out or any(member in self._left_out for member, _ in (*one.internal, *one.external))
        }
        return Changes({**frontends, **changes.frontends}, {**backends, **changes.backends})

    def _number_backends(self, changes: Changes) -> list[tuple[int, BackendRow]]:
        fresh = []
        numbers, rows = self._backends, self._rows
        for place, backend in changes.backends.items():
            if backend is None:
                continue
            number = numbers.get(place)
            if number is None:
                try:
                    number = numbers[place] = self._numbers.take()
                except ExhaustedError as error:
                    self._leave_out(place, error)
                    continue
            row = row_of(place, backend, self._zone(backend.zone) if backend.zone else 0)
            if rows.get(number) != row:
                rows[number] = row
                fresh.append((number, row))
        return fresh

    def _decide(self, changes: Changes, todo: _Todo) -> None:
        for place, frontend in changes.frontends.items():
            before = self._frontends.get(place)
            made = None
            if frontend is not None:
                try:
                    made = self._frontend_row(frontend, before)
                except ExhaustedError as error:
                    self._leave_out(place, error)
                    continue  # what is there stays
                self._decide_ranges(made.id, frozenset(frontend.source_ranges), todo)
            if made == before:
                continue
            if before is not None:
                todo.stale.extend(dict.fromkeys((before.internal, before.external)))
                self._part(before, made)
            if made is None:
                todo.dropped.append(place)
                number = self._frontends.pop(place).id
                self._decide_ranges(number, frozenset(), todo)
                self._ids.release(number)
                continue
            for one in dict.fromkeys((made.internal, made.external)):
                self._sets.use(one, 1)
            self._frontends[place] = made
            todo.rows.append((place, made))

    def _frontend_row(self, frontend: Frontend, before: FrontendRow | None) -> FrontendRow:
        if before is None and len(self._frontends) >= self._kernel.limits.frontends:
            raise ExhaustedError(f"map frontends is full: {self._kernel.limits.frontends} entries")
        sets, numbers = self._sets, self._backends
        internal = sets.row(frontend.internal, numbers)
        external = internal
        if frontend.external is not frontend.internal:
            external = sets.row(frontend.external, numbers)
        if frontend.flags & _MAGLEV:
            if sets.knows_table(frontend.external) or len(sets.new_tables) < TABLES_PER_FLUSH:
                external = self._with_table(external, frontend)
            else:
                self._late.add(frontend.place)  # meanwhile any backend is chosen, or one by the old table
                if before is not None and before.external.table and external.size:
                    external = external._replace(table=before.external.table)
        number = self._ids.take() if before is None else before.id
        return FrontendRow(internal, external, number, frontend.affinity_s, frontend.flags, frontend.type)

    def _with_table(self, row: SetRow, frontend: Frontend) -> SetRow:
        """Without room for another table backends are chosen at random: better than not at all."""
        try:
            return self._sets.with_table(row, frontend.external, self._backends)
        except ExhaustedError as error:
            self.trouble = str(error)
            return row

    def _decide_ranges(self, number: int, wanted: frozenset[Prefix], todo: _Todo) -> None:
        known = self._ranges.get(number, frozenset())
        if wanted == known:
            return
        todo.ranges.extend((number, one) for one in sorted(wanted - known))
        todo.old_ranges.extend((number, one) for one in sorted(known - wanted))
        if wanted:
            self._ranges[number] = wanted
        else:
            del self._ranges[number]

    def _part(self, before: FrontendRow, made: FrontendRow | None) -> None:
        """Note whom clients with affinity must not go back to."""
        if not before.flags & _AFFINITY:
            return
        kept = self._sets.numbers(made.internal, made.external) if made is not None else set()
        gone_from = self._sets.numbers(before.internal, before.external) - kept
        self.parted.update((before.id, number) for number in gone_from)

    def _end_backends(self, changes: Changes) -> int:
        ended = []
        for place, backend in changes.backends.items():
            number = self._backends.pop(place, None) if backend is None else None
            if number is not None:
                self._rows[number] = gone(self._rows[number])
                ended.append((number, self._rows[number]))
                self._numbers.release(number)
        self._kernel.put_backends(ended)
        if ended:
            for told in self.on_gone:
                told([row for _, row in ended])
        return len(ended)

    def _leave_out(self, place: Place, error: ExhaustedError) -> None:
        self._left_out.add(place)
        self.trouble = f"{len(self._left_out)} places are not in the tables, the first error: " + (
            str(error) if not self.trouble else self.trouble.partition("the first error: ")[2]
        )

    def _zone(self, name: str) -> int:
        """A small number for a zone's name; 0 for none, and for those beyond 255."""
        if not name:
            return 0
        if name not in self._zones and len(self._zones) < 255:
            self._zones[name] = len(self._zones) + 1
        return self._zones.get(name, 0)

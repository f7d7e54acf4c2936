"""The kernel's service tables made equal to what the book says, changed entries only.

Order: backends, slots, frontends; then frontends that go, then backends that are gone. A packet finds a frontend's old
set of backends or its new one, and every number in either is written. Numbers and runs that became free rest.

Nothing is remembered outside of the kernel: ``adopt`` reads the tables that an earlier agent wrote, and the first
``flush`` after that changes only what is other than wanted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

from glasshive.errors import ExhaustedError
from glasshive.maps.services import BackendRow, FrontendRow, ServiceKernel, SetRow, gone, row_of
from glasshive.model.service import BackendSet, BackendState, Frontend, Place
from glasshive.service.book import Book, Changes
from glasshive.service.numbers import Clock, Numbers, Runs
from glasshive.service.slots import expand

BACKEND_REST_S = 120.0
"""How long a backend's number rests: connections that were made with it are told so meanwhile."""
RUN_REST_S = 1.0
"""How long a run of slots rests: far longer than a packet takes through a program."""
ID_REST_S = 120.0
NO_SET = SetRow()


class Written(NamedTuple):
    """What a flush did."""

    backends: int = 0
    slots: int = 0
    frontends: int = 0
    deleted: int = 0
    gone: int = 0


@dataclass(slots=True)
class _Run:
    row: SetRow
    users: int = 0


class ServiceSync:
    """Takes what changed in ``book`` and writes it."""

    def __init__(self, kernel: ServiceKernel, clock: Clock = time.monotonic) -> None:
        self.book = Book()
        self.trouble = ""
        """Why something is not in the tables; "" if everything is."""
        self._kernel = kernel
        limits = kernel.limits
        self._ids = Numbers("frontend", 2**32 - 1, ID_REST_S, clock)
        self._numbers = Numbers("backend", limits.backends - 1, BACKEND_REST_S, clock)
        self._runs = Runs("slots of backends", limits.slots, RUN_REST_S, clock)
        self._backends: dict[Place, int] = {}
        self._rows: dict[int, BackendRow] = {}
        self._frontends: dict[Place, FrontendRow] = {}
        self._run_of: dict[tuple[int, ...], _Run] = {}
        self._content: dict[int, tuple[int, ...]] = {}
        """First slot of a run -> numbers in it."""
        self._zones: dict[str, int] = {}
        self._adopted: Changes | None = None
        self._left_out: set[Place] = set()

    # -- looking

    def number_of(self, place: Place) -> int:
        """A backend's number, 0 if it has none."""
        return self._backends.get(place, 0)

    def row(self, place: Place) -> FrontendRow | None:
        """A frontend as it is in the kernel."""
        return self._frontends.get(place)

    def counts(self) -> dict[str, int]:
        """How much is in use."""
        slots = sum(one.row.size for one in self._run_of.values())
        return {
            "frontends": len(self._frontends),
            "backends": len(self._backends),
            "slots": slots,
            "restingBackends": self._numbers.resting,
        }

    # -- taking over

    def adopt(self) -> int:
        """Learn what the kernel holds, before the first flush; how many frontends that are."""
        rows, slots = self._kernel.backends(), self._kernel.slots()
        self._frontends = self._kernel.frontends()
        alive = {number: row for number, row in rows.items() if row.state != BackendState.GONE}
        self._rows = dict(rows)
        self._backends = {row.place: number for number, row in alive.items()}
        kept = set(self._backends.values())
        self._numbers.adopt(kept, (number for number in rows if number not in kept))
        self._ids.adopt(row.id for row in self._frontends.values())
        runs = [one for row in self._frontends.values() for one in (row.internal, row.external) if one.size]
        self._runs.adopt((one.first, one.size) for one in runs)
        self._run_of, self._content = {}, {}
        for one in runs:
            content = tuple(slots[one.first : one.first + one.size].tolist())
            self._content[one.first] = content
            self._run_of.setdefault(content, _Run(SetRow(one.first, one.size)))
        for row in self._frontends.values():
            for one in {row.internal, row.external}:
                self._use(one, 1)
        self._adopted = Changes(dict.fromkeys(self._frontends), dict.fromkeys(self._backends))
        return len(self._frontends)

    def resync(self) -> Written:
        """Read the kernel's tables again and mend whatever is other than wanted."""
        self.adopt()
        return self.flush()

    # -- writing

    def flush(self) -> Written:
        """Write what changed. What does not fit is left out, told in ``trouble``, and tried again each time."""
        changes = self.book.take()
        if self._adopted is not None:
            first, self._adopted = self._adopted, None
            changes = Changes({**first.frontends, **self.book.frontends()}, {**first.backends, **self.book.backends()})
        elif self._left_out:
            changes = self._with_left_out(changes)
        if not changes.frontends and not changes.backends:
            return Written()
        self.trouble = ""
        self._left_out = set()
        fresh = self._number_backends(changes)
        self._kernel.put_backends(fresh)
        runs: list[tuple[int, tuple[int, ...]]] = []
        rows, dropped, stale = self._frontend_rows(changes, runs)
        self._kernel.put_slots(self._in_use(runs))
        self._kernel.put_frontends(rows)
        self._kernel.delete_frontends(dropped)
        for one in stale:
            self._use(one, -1)
        ended = self._end_backends(changes)
        self._kernel.put_backends(ended)
        return Written(len(fresh), sum(len(one[1]) for one in runs), len(rows), len(dropped), len(ended))

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
        for place, backend in changes.backends.items():
            if backend is None:
                continue
            number = self._backends.get(place)
            if number is None:
                try:
                    number = self._numbers.take()
                except ExhaustedError as error:
                    self._leave_out(place, error)
                    continue
                self._backends[place] = number
            row = row_of(place, backend, self._zone(backend.zone))
            if self._rows.get(number) != row:
                self._rows[number] = row
                fresh.append((number, row))
        return fresh

    def _frontend_rows(
        self, changes: Changes, runs: list[tuple[int, tuple[int, ...]]]
    ) -> tuple[list[tuple[Place, FrontendRow]], list[Place], list[SetRow]]:
        """Rows to write, places to take away, and sets that lose a user; new runs are added to ``runs``."""
        rows: list[tuple[Place, FrontendRow]] = []
        dropped: list[Place] = []
        stale: list[SetRow] = []
        for place, frontend in changes.frontends.items():
            before = self._frontends.get(place)
            made = None
            if frontend is not None:
                try:
                    made = self._frontend_row(frontend, before, runs)
                except ExhaustedError as error:
                    self._leave_out(place, error)
                    continue  # what is there stays
            if made == before:
                continue
            if before is not None:
                stale.extend({before.internal, before.external})
            if made is None:
                dropped.append(place)
                self._ids.release(self._frontends.pop(place).id)
                continue
            for one in {made.internal, made.external}:
                self._use(one, 1)
            self._frontends[place] = made
            rows.append((place, made))
        return rows, dropped, stale

    def _frontend_row(
        self, frontend: Frontend, before: FrontendRow | None, runs: list[tuple[int, tuple[int, ...]]]
    ) -> FrontendRow:
        if before is None and len(self._frontends) >= self._kernel.limits.frontends:
            raise ExhaustedError(f"map frontends is full: {self._kernel.limits.frontends} entries")
        internal = self._set(frontend.internal, runs)
        external = internal if frontend.external is frontend.internal else self._set(frontend.external, runs)
        number = self._ids.take() if before is None else before.id
        return FrontendRow(internal, external, number, frontend.affinity_s, frontend.flags, frontend.type)

    def _set(self, members: BackendSet, runs: list[tuple[int, tuple[int, ...]]]) -> SetRow:
        """The run that holds these backends, a new one if there is none."""
        found = [(self._backends[place], weight) for place, weight in members if place in self._backends]
        if not found:
            return NO_SET
        content = expand(found)
        run = self._run_of.get(content)
        if run is None:
            run = _Run(SetRow(self._runs.take(len(content)), len(content)))
            self._run_of[content] = run
            self._content[run.row.first] = content
            runs.append((run.row.first, content))
        return run.row

    def _use(self, row: SetRow, more: int) -> None:
        """A frontend begins or ceases to point to a run; one without users is given back."""
        if not row.size:
            return
        content = self._content[row.first]
        run = self._run_of[content]
        run.users += more
        if run.users <= 0:
            del self._run_of[content], self._content[row.first]
            self._runs.release(row.first, row.size)

    def _in_use(self, runs: list[tuple[int, tuple[int, ...]]]) -> list[tuple[int, tuple[int, ...]]]:
        """New runs without those of frontends that found no room in the end: these are given back."""
        for first, content in [one for one in runs if not self._run_of[one[1]].users]:
            runs.remove((first, content))
            del self._run_of[content], self._content[first]
            self._runs.release(first, len(content))
        return runs

    def _end_backends(self, changes: Changes) -> list[tuple[int, BackendRow]]:
        ended = []
        for place, backend in changes.backends.items():
            number = self._backends.pop(place, None) if backend is None else None
            if number is not None:
                self._rows[number] = gone(self._rows[number])
                ended.append((number, self._rows[number]))
                self._numbers.release(number)
        return ended

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

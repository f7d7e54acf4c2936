"""The book and the tables: who has what, numbers that stay, changes that a packet never sees half done."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshive.model.address import Prefix, parse
from glasshive.model.service import (
    BackendState,
    EndpointSlice,
    Place,
    Service,
    ServiceEndpoint,
    ServicePort,
    ServiceRef,
    ServiceTables,
)
from glasshive.service.desired import desired
from glasshive.service.sets import REST_S
from glasshive.service.settings import NodeView, ServiceSettings
from glasshive.service.slots import expand, shares_of
from glasshive.service.sync import BACKEND_REST_S, TABLES_PER_FLUSH, ServiceSync
from service_memory import MemoryTables

NODE = NodeView("node1")
SETTINGS = ServiceSettings(table_size=251)


def ref(number: int) -> ServiceRef:
    return ServiceRef("default", f"s{number}")


def made(number: int, *ends: int, external: int = 0, created: str = "", **more: object) -> ServiceTables:
    """A Service at 10.96.0.``number`` with backends 10.244.0.``ends``; ``external``: also at 192.0.2.``external``."""
    one = Service(
        ref(number), created=created, cluster_addresses=(parse(f"10.96.0.{number}"),),
        external_addresses=(parse(f"192.0.2.{external}"),) if external else (), ports=(ServicePort("", 6, 80),),
    )  # fmt: skip
    found = tuple(ServiceEndpoint(parse(f"10.244.0.{end}")) for end in ends)
    part = EndpointSlice(one.ref, "a", True, (("", 6, 8080),), found)
    return desired(replace(one, **more), [part], NODE, SETTINGS)


def at(address: str, port: int = 80) -> Place:
    return Place(parse(address), port, 6)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def kernel() -> MemoryTables:
    return MemoryTables()


def test_the_order_of_writing(kernel: MemoryTables) -> None:
    sync = ServiceSync(kernel)
    sync.book.set(ref(1), made(1, 1, 2))
    sync.flush()
    assert kernel.steps == ["backends", "slots", "frontends"]
    assert kernel.members(at("10.96.0.1")) == [at("10.244.0.1", 8080), at("10.244.0.2", 8080)]
    kernel.steps.clear()
    sync.book.remove(ref(1))
    sync.flush()
    assert kernel.steps == ["delete", "backends"]
    assert {row.state for row in kernel.rows.values()} == {BackendState.GONE}
    kernel.steps.clear()
    assert not any(sync.flush())
    assert not kernel.steps


def test_only_what_changed_is_written(kernel: MemoryTables) -> None:
    sync = ServiceSync(kernel)
    for number in range(1, 20):
        sync.book.set(ref(number), made(number, number, number + 1))
    sync.flush()
    sync.book.set(ref(5), made(5, 5, 6, 60))
    done = sync.flush()
    assert (done.backends, done.slots, done.frontends) == (1, 3, 1)
    assert not sync.book.set(ref(5), made(5, 5, 6, 60))


def test_the_older_service_keeps_its_place_and_the_other_gets_it_when_it_goes() -> None:
    kernel = MemoryTables()
    sync = ServiceSync(kernel)
    shared = at("192.0.2.9")
    sync.book.set(ref(2), made(2, 2, external=9, created="2026-02-01T00:00:00Z"))
    sync.book.set(ref(1), made(1, 1, external=9, created="2026-01-01T00:00:00Z"))
    sync.book.set(ref(3), made(3, 3, external=9, created="2026-03-01T00:00:00Z"))
    sync.flush()
    assert kernel.members(shared) == [at("10.244.0.1", 8080)]
    assert [(one.loser, one.holder) for one in sync.book.clashes()] == [(ref(2), ref(1)), (ref(3), ref(1))]
    assert kernel.members(at("10.96.0.2")) == [at("10.244.0.2", 8080)], "the rest of the loser works"
    number = kernel.table[shared].id
    sync.book.remove(ref(1))
    sync.flush()
    assert kernel.members(shared) == [at("10.244.0.2", 8080)]
    assert kernel.table[shared].id == number
    sync.book.set(ref(2), made(2, 2, created="2026-02-01T00:00:00Z"))
    sync.flush()
    assert kernel.members(shared) == [at("10.244.0.3", 8080)]
    assert not sync.book.clashes()


def test_a_backend_of_two_services_is_one_and_lives_as_long_as_either() -> None:
    kernel = MemoryTables()
    sync = ServiceSync(kernel)
    sync.book.set(ref(1), made(1, 7))
    sync.book.set(ref(2), made(2, 7))
    sync.flush()
    number = sync.number_of(at("10.244.0.7", 8080))
    sync.book.remove(ref(1))
    sync.flush()
    assert kernel.rows[number].state == BackendState.ACTIVE
    sync.book.remove(ref(2))
    sync.flush()
    assert kernel.rows[number].state == BackendState.GONE


def test_numbers_and_runs_rest_before_they_are_given_again() -> None:
    clock = Clock()
    kernel = MemoryTables(backends=4, slots=4)
    sync = ServiceSync(kernel, SETTINGS, clock)
    sync.book.set(ref(1), made(1, 1, 2, 3))
    sync.flush()
    sync.book.set(ref(1), made(1, 4))
    sync.flush()
    assert "resting" in sync.trouble
    assert kernel.members(at("10.96.0.1")) == [], "an old set without its backends would be worse"
    clock.now += BACKEND_REST_S + REST_S
    sync.flush()
    assert not sync.trouble
    assert kernel.members(at("10.96.0.1")) == [at("10.244.0.4", 8080)]


def test_what_does_not_fit_is_told_and_costs_nobody_else() -> None:
    kernel = MemoryTables(frontends=2)
    sync = ServiceSync(kernel)
    for number in (1, 2, 3):
        sync.book.set(ref(number), made(number, number))
    sync.flush()
    assert "map frontends is full: 2 entries" in sync.trouble
    assert set(kernel.table) == {at("10.96.0.1"), at("10.96.0.2")}
    sync.book.remove(ref(1))
    sync.flush()
    sync.flush()
    assert not sync.trouble
    assert set(kernel.table) == {at("10.96.0.2"), at("10.96.0.3")}


def test_weights_are_kept_in_proportion() -> None:
    assert expand([(1, 5), (2, 5)]) == (1, 2)
    assert expand([(1, 2), (2, 4)]) == (1, 2, 2)
    shares = shares_of([255, 1, 128], 100)
    assert shares == [66, 1, 33]


def test_tables_of_callers_from_outside() -> None:
    kernel = MemoryTables(tables=64)
    sync = ServiceSync(kernel, SETTINGS)
    for number in range(1, TABLES_PER_FLUSH + 5):
        sync.book.set(ref(number), made(number, number, number + 1, external=number, algorithm="maglev"))
    sync.flush()
    assert sync.unfinished
    assert len(kernel.tables) == TABLES_PER_FLUSH
    sync.flush()
    assert not sync.unfinished
    row = kernel.table[at("192.0.2.3")]
    assert row.external.table
    assert not row.internal.table
    assert {kernel.rows[one].place for one in kernel.tables[row.external.table].tolist()} == set(
        kernel.members(at("192.0.2.3"))
    )
    assert not kernel.table[at("10.96.0.3")].external.table
    before = {place: row.external.table for place, row in kernel.table.items()}
    sync = ServiceSync(kernel, SETTINGS)
    for number in range(1, TABLES_PER_FLUSH + 5):
        sync.book.set(ref(number), made(number, number, number + 1, external=number, algorithm="maglev"))
    sync.resync()
    while sync.unfinished:
        sync.flush()
    assert {place: row.external.table for place, row in kernel.table.items()} == before
    for number in range(1, TABLES_PER_FLUSH + 5):
        sync.book.remove(ref(number))
    sync.flush()
    assert not kernel.tables
    assert not sync.counts()["maglevTables"]


def test_source_ranges_come_before_and_go_after_their_frontends() -> None:
    kernel = MemoryTables()
    sync = ServiceSync(kernel)
    ranges = tuple(Prefix.parse(text) for text in ("192.0.2.0/24", "198.51.100.7"))
    tables = made(1, 1, external=1)
    limited = tables._replace(frontends=tuple(one._replace(source_ranges=ranges) for one in tables.frontends[1:]))
    sync.book.set(ref(1), limited)
    sync.flush()
    assert kernel.steps == ["backends", "slots", "ranges", "frontends"]
    number = kernel.table[at("192.0.2.1")].id
    assert kernel.kept_ranges == {(number, one) for one in ranges}
    kernel.put_ranges([(4711, ranges[0])])
    kernel.steps.clear()
    sync = ServiceSync(kernel)
    sync.book.set(ref(1), limited)
    sync.resync()
    assert kernel.kept_ranges == {(number, one) for one in ranges}
    sync.book.remove(ref(1))
    sync.flush()
    assert kernel.steps == ["delete ranges", "delete", "delete ranges", "backends"]
    assert not kernel.kept_ranges


def test_clients_are_parted_from_backends_that_left() -> None:
    kernel = MemoryTables()
    sync = ServiceSync(kernel)
    sync.book.set(ref(1), made(1, 1, 2, affinity_s=60))
    sync.flush()
    number = kernel.table[at("10.96.0.1")].id
    left = sync.number_of(at("10.244.0.2", 8080))
    assert sync.affinities() == {number: 60}
    told = []
    sync.on_gone.append(told.extend)
    sync.book.set(ref(1), made(1, 1, 3, affinity_s=60))
    sync.flush()
    assert sync.parted == {(number, left)}
    assert [row.place for row in told] == [at("10.244.0.2", 8080)]


SERVICES = st.dictionaries(
    st.integers(1, 6), st.tuples(st.lists(st.integers(1, 9), max_size=4, unique=True), st.sampled_from([0, 0, 1, 2])),
    max_size=6,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(SERVICES, min_size=1, max_size=6), st.lists(st.booleans(), min_size=6, max_size=6))
def test_any_churn_with_restarts_ends_where_one_step_would(
    worlds: list[dict[int, tuple[list[int], int]]], restarts: list[bool]
) -> None:
    kernel, clock = MemoryTables(), Clock()
    sync = ServiceSync(kernel, SETTINGS, clock)
    sync.adopt()
    numbers: dict[Place, int] = {}
    for step, world in enumerate(worlds):
        clock.now += 10
        if restarts[step]:
            sync = ServiceSync(kernel, SETTINGS, clock)
            sync.adopt()
        for number in range(1, 7):
            if number in world:
                sync.book.set(ref(number), made(number, *world[number][0], external=world[number][1]))
            else:
                sync.book.remove(ref(number))
        before = {place: row.id for place, row in kernel.table.items()}
        sync.flush()
        check(kernel, sync, world)
        for place, row in kernel.table.items():
            assert before.get(place, row.id) == row.id
        alive = {row.place: number for number, row in kernel.rows.items() if row.state != BackendState.GONE}
        for place, number in alive.items():
            assert numbers.get(place, number) == number or place not in numbers
        assert not any(sync.resync()), "nothing is left to mend"
        numbers = alive


def check(kernel: MemoryTables, sync: ServiceSync, world: dict[int, tuple[list[int], int]]) -> None:
    wanted = {at(f"10.96.0.{number}"): sorted(ends) for number, (ends, _) in world.items()}
    for external in (1, 2):
        owners = sorted(number for number, (_, told) in world.items() if told == external)
        if owners:
            wanted[at(f"192.0.2.{external}")] = sorted(world[owners[0]][0])
    found = {place: sorted(one.address[-1] for one in kernel.members(place)) for place in kernel.table}
    assert found == wanted
    used = [one for row in kernel.table.values() for one in {row.internal, row.external} if one.size]
    spans = sorted({(one.first, one.first + one.size) for one in used})
    assert all(end <= start for (_, end), (start, _) in pairwise(spans)), "runs overlap"
    assert len({row.id for row in kernel.table.values()}) == len(kernel.table)
    assert set(sync.book.frontends()) == set(kernel.table)

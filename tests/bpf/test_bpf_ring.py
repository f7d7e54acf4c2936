"""Ring buffers: every record once, in order, over many turns of the ring; thrown-away, foreign and lost ones."""

from __future__ import annotations

import asyncio
import select
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bpf_objects
from glasshive import bpf
from glasshive.bpf.layout import dtype_of
from glasshive.bpf.ring import RingBuffer
from glasshive.errors import UsageError
from glasshive.events import RecordStream
from glasshive.events.stream import split

pytestmark = pytest.mark.root
PACKET = bytes(64)


@pytest.fixture
def obj() -> Iterator[bpf.LoadedObject]:
    with bpf.ObjectSpec.open(bpf_objects.compiled("ring")).load() as loaded:
        yield loaded


@pytest.fixture
def ring(obj: bpf.LoadedObject) -> Iterator[RingBuffer]:
    opened = RingBuffer(
        obj.maps["ring"], dtype_of(obj.btf, "record"), lost=lambda: int(obj.maps[".bss"].get(0)["lost"])
    )
    yield opened
    opened.close()  # pytest itself holds the last test's fixtures until after the session's own end


def fill(obj: bpf.LoadedObject, records: int, discard_every: int = 10) -> None:
    obj.maps[".data"].update(0, {"batch": records, "discard_every": discard_every})
    obj.programs["fill"].test_run(PACKET)


def test_every_record_once_and_in_order_over_many_turns(obj: bpf.LoadedObject, ring: RingBuffer) -> None:
    expected = 0
    for size in (1, 9, 10, 11, 5000, 3, 10_000, 777, 10_000, 10_000, 1):
        fill(obj, size)
        records = ring.take()
        numbers = np.arange(expected, expected + size)
        assert records["number"].tolist() == numbers[numbers % 10 != 9].tolist()
        assert (records["tail"] == records["number"]).all()
        expected += size
    assert ring.pending_bytes == 0
    assert ring.take().shape == (0,)
    assert (ring.foreign, ring.lost) == (0, 0)


def test_borrowed_records_lie_in_the_ring(obj: bpf.LoadedObject, ring: RingBuffer) -> None:
    fill(obj, 100)
    seen: list[int] = []
    while ring.pending_bytes:
        with ring.borrow() as records:
            seen += records["number"].tolist()
            assert not records.flags.owndata
    assert seen == [i for i in range(100) if i % 10 != 9]


def test_borrowing_steps_over_other_sizes(obj: bpf.LoadedObject, ring: RingBuffer) -> None:
    obj.programs["odd_size"].test_run(PACKET)
    fill(obj, 3)
    with ring.borrow() as records:
        assert len(records) == 3
    assert ring.foreign == 1


def test_records_stay_when_their_reader_fails(obj: bpf.LoadedObject, ring: RingBuffer) -> None:
    fill(obj, 5)
    with pytest.raises(ZeroDivisionError), ring.borrow():
        raise ZeroDivisionError
    assert len(ring.take()) == 5


def test_limit(obj: bpf.LoadedObject, ring: RingBuffer) -> None:
    fill(obj, 50, discard_every=0)
    assert ring.take(20)["number"].tolist() == list(range(20))
    assert len(ring.take_raw(5)) == 5
    assert ring.take()["number"].tolist() == list(range(25, 50))


def test_records_of_another_size_are_counted(obj: bpf.LoadedObject, ring: RingBuffer) -> None:
    for _ in range(3):
        fill(obj, 10)
        obj.programs["odd_size"].test_run(PACKET)
    assert len(ring.take()) == 27
    assert ring.foreign == 3


def test_records_of_any_size(obj: bpf.LoadedObject) -> None:
    ring = RingBuffer(obj.maps["ring"])
    obj.programs["odd_size"].test_run(PACKET)
    fill(obj, 10)
    raw = ring.take_raw()
    assert [len(one) for one in raw] == [12] + [88] * 9
    assert raw[0][:8] == (0xABCDEF).to_bytes(8, "little")
    with pytest.raises(UsageError, match="without a dtype"):
        ring.take()


def test_full_ring_loses_and_the_program_counts(obj: bpf.LoadedObject, ring: RingBuffer) -> None:
    room = (1 << 20) // 96
    fill(obj, room + 500, discard_every=0)
    records = ring.take()
    assert len(records) + ring.lost == room + 500
    assert ring.lost > 0
    fill(obj, 10, discard_every=0)
    assert len(ring.take()) == 10


def test_poll_wakes(obj: bpf.LoadedObject, ring: RingBuffer) -> None:
    poll = select.poll()
    poll.register(ring.fd, select.POLLIN)
    assert poll.poll(0) == []
    obj.programs["wake"].test_run(PACKET)
    assert poll.poll(1000)
    assert len(ring.take()) == 1
    assert poll.poll(0) == []


def test_other_maps_are_no_rings(obj: bpf.LoadedObject) -> None:
    with pytest.raises(UsageError, match="is a array, not a ring buffer"):
        RingBuffer(obj.maps[".bss"])


def test_stream_gives_batches(obj: bpf.LoadedObject) -> None:
    stream = RecordStream.of(obj, "ring", "record")

    async def read() -> int:
        total = 0
        async for batch in stream.batches(0.001, 0.01):
            total += len(batch)
            if total == 27:
                return total
            fill(obj, 10)
        return total

    fill(obj, 10)
    assert asyncio.run(asyncio.wait_for(read(), 10)) == 27
    fill(obj, 10)
    assert {number: len(rows) for number, rows in stream.by_type().items()} == {0: 9}
    stream.close()


def test_records_are_split_by_type() -> None:
    kind = np.dtype([("type", "u1"), ("value", "u4")])
    other = np.dtype({"names": ["first"], "formats": ["u1"], "offsets": [1], "itemsize": kind.itemsize})
    records = np.array([(1, 10), (2, 20), (1, 11)], kind)
    found = split(records, "type", {2: other})
    assert found[1]["value"].tolist() == [10, 11]
    assert found[2]["first"].tolist() == [20]
    assert split(records[:0], "type", {}) == {}


steps = st.lists(
    st.one_of(
        st.tuples(st.just("fill"), st.integers(1, 4000)),
        st.tuples(st.just("odd"), st.just(0)),
        st.tuples(st.sampled_from(["take", "raw", "borrow"]), st.sampled_from([None, 1, 7, 500])),
    ),
    max_size=30,
)


@given(steps, st.sampled_from([0, 1, 2, 10]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mix_of_readers_sees_each_record_once(
    obj: bpf.LoadedObject, ring: RingBuffer, mix: list[tuple[str, int | None]], discard_every: int
) -> None:
    ring.take()
    seen: list[int] = []
    first, lost = (int(obj.maps[".bss"].get(0)[name]) for name in ("made", "lost"))
    for step, count in [*mix, ("take", None)]:
        if step == "fill":
            fill(obj, count or 0, discard_every)
        elif step == "odd":
            obj.programs["odd_size"].test_run(PACKET)
        elif step == "take":
            seen += ring.take(count)["number"].tolist()
        elif step == "borrow":
            with ring.borrow(count) as records:
                seen += records["number"].tolist()
        else:
            seen += [int.from_bytes(raw[:8], "little") for raw in ring.take_raw(count) if len(raw) == 88]
    last = int(obj.maps[".bss"].get(0)["made"])
    assert seen == [i for i in range(first, last) if not discard_every or i % discard_every != discard_every - 1]
    assert ring.pending_bytes == 0
    assert ring.lost >= lost


def test_reading_while_a_program_writes(obj: bpf.LoadedObject, ring: RingBuffer) -> None:
    obj.maps[".data"].update(0, {"batch": 1000, "discard_every": 7})
    done = threading.Event()

    def write() -> None:
        for _ in range(30):
            obj.programs["fill"].test_run(PACKET, repeat=10)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    batches = []
    while not done.is_set() or ring.pending_bytes:
        batches.append(ring.take())
    writer.join()
    numbers = np.concatenate([batch["number"] for batch in batches])
    made = int(obj.maps[".bss"].get(0)["made"])
    assert made + ring.lost == 300_000
    assert (np.diff(numbers) > 0).all()
    assert len(numbers) == made - made // 7
    assert all((batch["tail"] == batch["number"]).all() for batch in batches)


def test_record_finished_while_it_is_looked_at_is_not_foreign(obj: bpf.LoadedObject, ring: RingBuffer) -> None:
    """The first look finds the next record still being written, the second finds it done: read, not skipped."""
    obj.maps[".data"].update(0, {"batch": 3, "discard_every": 0})
    obj.programs["fill"].test_run(PACKET)
    looks: list[int] = []

    def too_early(limit: int | None) -> tuple[int, int]:
        start, count = RingBuffer._uniform(ring, limit)
        looks.append(count)
        return (start, 0) if len(looks) == 1 else (start, count)

    ring._uniform = too_early  # type: ignore[method-assign]
    taken = ring.take()
    del ring._uniform  # or the ring would hold itself
    assert list(taken["number"]) == [0, 1, 2]
    assert ring.foreign == 0

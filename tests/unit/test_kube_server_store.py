"""The store against a model: objects, history, snapshots, and all of it again after a restart."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glasshive.kube.server.log import ADDED, DELETED, MODIFIED
from glasshive.kube.server.status import StatusError
from glasshive.kube.server.store import Store
from glasshive.kube.server.watch import Scope, Subscription

KEYS = [("a", "x"), ("a", "y"), ("b", "x"), ("", "z")]


def test_numbers_rise_and_survive(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store(tmp_path / "s.db")
        table = store.table("t")
        first = await store.put(table, ("n", "a"), {"metadata": {}, "v": 1})
        second = await store.put(table, ("n", "a"), {"metadata": {}, "v": 2})
        assert (first.rev, second.rev, store.revision) == (1, 2, 2)
        await store.remove(table, ("n", "a"), second.parse())
        await store.close()
        again = Store(tmp_path / "s.db")
        assert again.revision == 3
        assert not again.table("t").records
        assert [e.action for e in again.table("t").since(0)] == [ADDED, MODIFIED, DELETED]
        await again.close()

    asyncio.run(main())


def test_readers_see_only_what_is_durable(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store(tmp_path / "s.db")
        table = store.table("t")
        pending = store.put(table, ("n", "a"), {"metadata": {}})
        assert store.newest(table, ("n", "a")) is not None
        assert ("n", "a") not in table.records
        await pending
        assert ("n", "a") in table.records
        await store.close()

    asyncio.run(main())


def test_refused_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        store = Store(tmp_path / "s.db")
        table = store.table("t")

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(store._log, "append", full)
        writes = [store.put(table, ("n", name), {"metadata": {}}) for name in "ab"]
        for write in writes:
            with pytest.raises(StatusError, match="disk is full"):
                await write
        monkeypatch.undo()
        assert store.newest(table, ("n", "a")) is None
        await store.put(table, ("n", "a"), {"metadata": {}})
        assert list(table.records) == [("n", "a")]
        await store.close()

    asyncio.run(main())


def test_too_big_is_refused_before_anything_happens(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store(tmp_path / "s.db")
        with pytest.raises(StatusError) as caught:
            store.put(store.table("t"), ("n", "a"), {"metadata": {}, "data": "x" * (1 << 20)})
        assert caught.value.code == 413
        assert (await store.put(store.table("t"), ("n", "a"), {"metadata": {}})).rev == 1
        await store.close()

    asyncio.run(main())


operations = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "restart", "settle"]), st.sampled_from(KEYS), st.integers(0, 3)),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=operations, window=st.integers(1, 12))
def test_store_equals_model(tmp_path_factory: pytest.TempPathFactory, operations: list, window: int) -> None:
    """Objects at every remembered revision, and events since it, are those of a plain dictionary."""
    path = tmp_path_factory.mktemp("m") / "s.db"
    asyncio.run(_compare(path, operations, window))


async def _compare(path: Path, operations: list, window: int) -> None:
    store = Store(path, window=window)
    now: dict = {}
    states = {0: {}}
    events = []
    for what, key, value in operations:
        table = store.table("t")
        if what == "restart":
            await store.close()
            store = Store(path, window=window)
        elif what == "put":
            future = store.put(table, key, {"metadata": {"labels": {"v": str(value)}}, "v": value})
            events.append((store._next - 1, MODIFIED if key in now else ADDED, key, value))
            now[key] = (store._next - 1, value)
            states[store._next - 1] = dict(now)
            if value:
                await future
        elif what == "remove" and key in now:
            await store.remove(table, key, {"metadata": {}, "v": now.pop(key)[1]})
            events.append((store._next - 1, DELETED, key, None))
            states[store._next - 1] = dict(now)
        elif what == "settle":
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for again in (False, True):
        if again:
            await store.close()
            store = Store(path, window=window)
        _check(store, now, states, events)
    await store.close()


def _check(store: Store, now: dict, states: dict, events: list) -> None:
    table = store.table("t")
    assert {key: (r.rev, r.parse()["v"]) for key, r in table.records.items()} == now
    assert table.order == sorted(now)
    remembered = [rev for rev in states if rev >= table.floor]
    assert remembered, "the newest state is always remembered"
    for rev, state in states.items():
        if rev < table.floor:
            with pytest.raises(StatusError):
                table.since(rev)
            continue
        order, records = table.at(rev)
        assert {key: (records[key].rev, records[key].parse()["v"]) for key in order} == state
        told = [(e.record.rev, e.action, e.record.key) for e in table.since(rev)]
        assert told == [e[:3] for e in events if e[0] > rev]


@settings(max_examples=60, deadline=None)
@given(operations=operations, wanted=st.integers(0, 3))
def test_filtered_watch_equals_filtered_list(
    tmp_path_factory: pytest.TempPathFactory, operations: list, wanted: int
) -> None:
    """Following a selector's events from the start gives what listing with the selector gives."""
    from glasshive.api.selectors import parse_labels

    async def main() -> None:
        import json

        store = Store(tmp_path_factory.mktemp("w") / "s.db")
        table = store.table("t")
        scope = Scope(None, parse_labels(f"v={wanted}"))
        with Subscription(table, scope) as stream:
            for what, key, value in operations:
                if what == "put":
                    body = {"metadata": {"labels": {"v": str(value)}, "k": list(key)}, "v": value}
                    await store.put(table, key, body)
                elif what == "remove" and (record := store.newest(table, key)):
                    await store.remove(table, key, record.parse())
            seen: dict = {}
            for line in (await stream.drain(0)).splitlines():
                event = json.loads(line)
                key = tuple(event["object"]["metadata"]["k"])
                if event["type"] == "DELETED":
                    assert key in seen
                    del seen[key]
                else:
                    assert (event["type"] == "ADDED") == (key not in seen)
                    seen[key] = event["object"]["metadata"]["resourceVersion"]
        listed = {k: str(r.rev) for k, r in table.records.items() if scope.has(r)}
        assert seen == listed
        await store.close()

    asyncio.run(main())

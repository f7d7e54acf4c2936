"""Informers: what they report, what they survive. The server is the real one, in its own process where it is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from control_plane import ServerProcess, eventually, served
from glasshive.api.resources import CONFIG_MAP, NAMESPACE
from glasshive.errors import ApiError, DeadlineError
from glasshive.kube.client import Client, ObjectList
from glasshive.kube.informer import EventType, Informer
from glasshive.kube.objects import Object, labels_of


class Log:
    """Notes events of one namespace as (type, name)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def __call__(self, kind: EventType, old: Object | None, new: Object | None) -> None:
        assert (old is None) == (kind == "ADDED")
        assert (new is None) == (kind == "DELETED")
        obj = new or old
        assert obj is not None
        self.events.append((kind, obj["metadata"]["name"]))


def config_map(name: str, **data: str) -> Object:
    return CONFIG_MAP.object(name, data=data)


def test_reports_what_is_there_and_what_changes(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as client:
            await client.create(CONFIG_MAP, config_map("before"))
            log = Log()
            informer = Informer(client, CONFIG_MAP, log, namespace="default")
            informer.start()
            await informer.wait_synced()
            assert ("ADDED", "before") in log.events
            await client.create(CONFIG_MAP, config_map("x"))
            await client.patch(CONFIG_MAP, "x", {"data": {"a": "1"}}, "default")
            await client.delete(CONFIG_MAP, "x", "default")
            await eventually(lambda: ("DELETED", "x") in log.events)
            assert [kind for kind, name in log.events if name == "x"] == ["ADDED", "MODIFIED", "DELETED"]
            late = Log()
            informer.add_handler(late)
            assert ("ADDED", "before") in late.events
            await informer.stop()
            assert informer.get("before", "default") is not None

    asyncio.run(run())


def test_selectors_and_indexes(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as client:
            by_colour = {"colour": lambda obj: [labels_of(obj).get("colour", "none")]}
            informer = Informer(client, CONFIG_MAP, label_selector="colour", indexers=by_colour)
            informer.start()
            for name, colour in [("a", "red"), ("b", "red"), ("c", "blue")]:
                body = CONFIG_MAP.object(name, metadata={"labels": {"colour": colour}})
                await client.create(CONFIG_MAP, body)
            await client.create(CONFIG_MAP, config_map("plain"))
            await eventually(lambda: len(informer.values()) == 3)
            assert {o["metadata"]["name"] for o in informer.by_index("colour", "red")} == {"a", "b"}
            await client.patch(CONFIG_MAP, "b", {"metadata": {"labels": {"colour": "blue"}}}, "default")
            await eventually(lambda: len(informer.by_index("colour", "blue")) == 2)
            assert len(informer.by_index("colour", "red")) == 1
            await client.patch(CONFIG_MAP, "c", {"metadata": {"labels": {"colour": None}}}, "default")
            await eventually(lambda: informer.get("c", "default") is None)
            await informer.stop()

    asyncio.run(run())


def test_own_writes_show_at_once_and_are_not_repeated(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as client:
            log = Log()
            informer = Informer(client, CONFIG_MAP, log, namespace="default")
            informer.start()
            await informer.wait_synced()
            made = await client.create(CONFIG_MAP, config_map("own"))
            informer.observe(made)
            assert informer.get("own", "default") is not None
            newer = await client.patch(CONFIG_MAP, "own", {"data": {"a": "1"}}, "default")
            informer.observe(newer)
            informer.observe(made)  # an older answer that comes late changes nothing
            assert informer.get("own", "default") == newer
            await client.delete(CONFIG_MAP, "own", "default")
            informer.forget(newer)
            assert informer.get("own", "default") is None
            await client.create(CONFIG_MAP, config_map("last"))
            await eventually(lambda: ("ADDED", "last") in log.events)
            own = [kind for kind, name in log.events if name == "own"]
            assert own == ["ADDED", "MODIFIED", "DELETED"]
            await informer.stop()

    asyncio.run(run())


def test_a_handler_that_fails_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with served(tmp_path) as client:

            def broken(_kind: EventType, _old: Object | None, _new: Object | None) -> None:
                raise ValueError("broken on purpose")

            log = Log()
            informer = Informer(client, NAMESPACE, broken)
            informer.add_handler(log)
            informer.start()
            await informer.wait_synced()
            assert ("ADDED", "default") in log.events
            await informer.stop()

    asyncio.run(run())
    assert "broken on purpose" in caplog.text


def test_not_synced_says_why(tmp_path: Path) -> None:
    async def run() -> None:
        async with Client(socket=tmp_path / "none.sock") as client:
            informer = Informer(client, NAMESPACE)
            informer.start()
            with pytest.raises(DeadlineError, match=r"namespaces within 0\.2 s.*none\.sock"):
                await informer.wait_synced(0.2)
            await informer.stop()

    asyncio.run(run())


class Scripted(Client):
    """A client whose list and watch play a script, for what a healthy server does not do when asked."""

    def __init__(self, lists: list[ObjectList], watches: list[list[object]]) -> None:
        super().__init__(socket="/nowhere")
        self.lists, self.watches, self.watched_from = lists, watches, []

    async def list(self, *_: object, **__: object) -> ObjectList:  # type: ignore[override]
        return self.lists.pop(0)

    async def watch(self, *_: object, resource_version: str, **__: object):  # type: ignore[no-untyped-def,override]
        self.watched_from.append(resource_version)
        if not self.watches:
            await asyncio.Event().wait()
        for event in self.watches.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


def stored(name: str, version: int, uid: str = "", **data: str) -> Object:
    body = config_map(name, **data)
    body["metadata"] |= {"resourceVersion": str(version), "uid": uid or f"uid-{name}"}
    return body


def play(lists: list[ObjectList], watches: list[list[object]], seconds: float = 60.0) -> tuple[Log, Informer, Scripted]:
    async def run() -> tuple[Log, Informer, Scripted]:
        client, log = Scripted(lists, watches), Log()
        informer = Informer(client, CONFIG_MAP, log)
        informer.start()
        await eventually(lambda: not client.watches and not client.lists, seconds)
        await asyncio.sleep(0.05)
        await informer.stop()
        return log, informer, client

    return asyncio.run(run())


def test_gone_history_is_listed_anew_and_reported_as_differences() -> None:
    first = ObjectList([stored("stays", 1), stored("goes", 2), stored("changes", 3)], "10")
    second = ObjectList([stored("stays", 1), stored("changes", 15, a="1"), stored("comes", 16)], "20")
    log, informer, client = play([first, second], [[ApiError(410, "Expired", "too old")]])
    assert log.events == [
        ("ADDED", "stays"), ("ADDED", "goes"), ("ADDED", "changes"),
        ("DELETED", "goes"), ("MODIFIED", "changes"), ("ADDED", "comes"),
    ]  # fmt: skip
    assert client.watched_from == ["10", "20"]
    assert {o["metadata"]["name"] for o in informer.values()} == {"stays", "changes", "comes"}


def test_bookmarks_move_the_place_to_continue_from() -> None:
    bookmark = ("BOOKMARK", {"kind": "ConfigMap", "metadata": {"resourceVersion": "99"}})
    log, _, client = play([ObjectList([], "10")], [[bookmark], [("ADDED", stored("a", 100))]])
    assert client.watched_from[:3] == ["10", "99", "100"]
    assert log.events == [("ADDED", "a")]


def test_an_object_made_anew_under_its_name_is_deleted_and_added() -> None:
    first, second = ObjectList([stored("a", 5, "u1")], "10"), ObjectList([stored("a", 15, "u2")], "20")
    log, _, _ = play([first, second], [[ApiError(410, "Expired", "too old")]])
    assert log.events == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]


def test_a_store_that_starts_anew_replaces_everything() -> None:
    """Its versions are lower than those remembered: nothing old may stay."""
    first, second = ObjectList([stored("a", 500), stored("b", 501)], "600"), ObjectList([stored("a", 2, "new")], "3")
    log, informer, _ = play([first, second], [[ApiError(410, "Expired", "too old")]])
    assert [o["metadata"]["uid"] for o in informer.values()] == ["new"]
    assert log.events.count(("DELETED", "a")) == 1
    assert ("DELETED", "b") in log.events


def test_other_failures_resume_without_listing() -> None:
    broken = ApiError(503, "ServiceUnavailable", "gone for a moment")
    log, _, client = play(
        [ObjectList([stored("a", 5)], "10")],
        [[("ADDED", stored("b", 11)), broken], [broken], [("ADDED", stored("c", 12))]],
    )
    assert client.watched_from[:3] == ["10", "11", "11"]
    assert log.events == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]


def test_server_killed_and_started_again(tmp_path: Path) -> None:
    """Live informers keep their caches while the server is dead, and afterwards tell exactly what changed."""

    async def run() -> None:
        server = ServerProcess(tmp_path)
        await server.start()
        async with Client(socket=tmp_path / "api.sock") as client:
            log = Log()
            informers = [
                Informer(client, CONFIG_MAP, log, namespace="default"),
                *(Informer(client, NAMESPACE) for _ in range(20)),
            ]
            for informer in informers:
                informer.start()
            await asyncio.gather(*(i.wait_synced() for i in informers))
            for number in range(20):
                await client.create(CONFIG_MAP, config_map(f"m{number}"))
            await eventually(lambda: len(log.events) >= 20)

            for turn in range(3):
                await server.kill()
                assert informers[0].get("m19", "default") is not None
                with pytest.raises(ApiError):
                    await client.get(NAMESPACE, "default")
                await asyncio.sleep(0.2)
                await server.start()
                # Written before the informers are back: they must not miss it.
                async with Client(socket=tmp_path / "api.sock") as other:
                    await other.create(CONFIG_MAP, config_map(f"after{turn}"))
                    await other.delete(CONFIG_MAP, f"m{turn}", "default")
                    await other.create(NAMESPACE, NAMESPACE.object(f"ns{turn}"))
                await eventually(lambda t=turn: ("DELETED", f"m{t}") in log.events, what=f"deletion {turn} not seen")
                await eventually(lambda t=turn: all(i.get(f"ns{t}") for i in informers[1:]))
            names = {o["metadata"]["name"] for o in informers[0].values()}
            assert names == {f"m{i}" for i in range(3, 20)} | {"after0", "after1", "after2"}
            assert len(log.events) == len(set(log.events)), "an event was reported twice"
            for informer in informers:
                await informer.stop()
        await server.kill()

    asyncio.run(run())

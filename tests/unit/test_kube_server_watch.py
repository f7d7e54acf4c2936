"""Lists and watches over HTTP: revisions, pages, resumption, bookmarks, 410, and what survives the server's death."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from glasshive.api.resources import CONFIG_MAP
from kube_server import CMS, MERGE, PODS, TABLE, Http, config_map, pod, run, serving

ALL_CMS = "/api/v1/configmaps"


async def _make(http: Http, *names: str, **labels: str) -> list[str]:
    made = []
    for name in names:
        body = config_map(name)
        body["metadata"]["labels"] = labels
        made.append((await http("POST", CMS, body)).ok()["metadata"]["resourceVersion"])
    return made


def test_pages_show_one_revision_under_writes(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        await _make(http, *(f"c{n:02}" for n in range(10)))
        page = (await http("GET", CMS, limit=4)).ok()
        revision = page["metadata"]["resourceVersion"]
        assert page["metadata"]["remainingItemCount"] == 6
        seen = [item["metadata"]["name"] for item in page["items"]]
        await _make(http, "c05x")
        (await http("DELETE", CMS + "/c06")).ok()
        (await http("PATCH", CMS + "/c07", {"data": {"new": "1"}}, MERGE)).ok()
        while page["metadata"].get("continue"):
            page = (await http("GET", CMS, limit=4, **{"continue": page["metadata"]["continue"]})).ok()
            assert page["metadata"]["resourceVersion"] == revision
            seen += [item["metadata"]["name"] for item in page["items"]]
            assert all("data" not in item or "new" not in item["data"] for item in page["items"])
        assert seen == [f"c{n:02}" for n in range(10)]

    run(tmp_path, test)


def test_forgotten_revisions_are_410(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from glasshive.kube.server import store

    original = store.Store.__init__
    monkeypatch.setattr(store.Store, "__init__", lambda self, path: original(self, path, window=5))

    async def test(http: Http) -> None:
        first, *_ = await _make(http, *"abcdefgh")
        page = (await http("GET", CMS, limit=2)).ok()
        await _make(http, *"ijklmnop")
        answer = await http("GET", CMS, limit=2, **{"continue": page["metadata"]["continue"]})
        assert "too old" in answer.refused(410, "Expired")
        rest = (await http("GET", CMS, **{"continue": answer.body["metadata"]["continue"]})).ok()
        assert rest["items"][0]["metadata"]["name"] == "c", "the fresh token goes on, inconsistently but usefully"
        async with http.watch(CMS, resourceVersion=first) as following:
            event = await following()
            assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        (await http("GET", CMS, resourceVersion=first, resourceVersionMatch="Exact")).refused(410, "Expired")

    run(tmp_path, test)


def test_watch_from_now_and_from_then(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        first, second = await _make(http, "a", "b")
        async with http.watch(CMS, resourceVersion=first) as since, http.watch(CMS) as fresh:
            assert [(e["type"], e["object"]["metadata"]["name"]) for e in (await since(),)] == [("ADDED", "b")]
            assert [(await fresh())["object"]["metadata"]["name"] for _ in "ab"] == ["a", "b"]
            (await http("PATCH", CMS + "/a", {"data": {"x": "1"}}, MERGE)).ok()
            (await http("DELETE", CMS + "/b")).ok()
            for following in (since, fresh):
                events = [await following(), await following()]
                assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [
                    ("MODIFIED", "a"),
                    ("DELETED", "b"),
                ]
                assert int(events[1]["object"]["metadata"]["resourceVersion"]) > int(second), (
                    "the deletion's own revision"
                )

    run(tmp_path, test)


def test_selectors_turn_changes_into_arrivals_and_departures(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        (await http("POST", PODS, pod("p"))).ok()
        field = {"fieldSelector": "spec.nodeName=n1"}
        async with http.watch(PODS, **field) as mine, http.watch(PODS, labelSelector="on=yes") as labelled:
            (await http("POST", PODS + "/p/binding", {"target": {"name": "n1"}})).ok()
            assert (await mine())["type"] == "ADDED"
            (await http("PATCH", PODS + "/p", {"metadata": {"labels": {"on": "yes"}}}, MERGE)).ok()
            assert (await labelled())["type"] == "ADDED"
            assert (await mine())["type"] == "MODIFIED"
            answer = (await http("PATCH", PODS + "/p", {"metadata": {"labels": {"on": "no"}}}, MERGE)).ok()
            gone = await labelled()
            assert gone["type"] == "DELETED"
            assert gone["object"]["metadata"]["labels"] == {"on": "yes"}, "as it was when it was last selected"
            assert gone["object"]["metadata"]["resourceVersion"] == answer["metadata"]["resourceVersion"]

    run(tmp_path, test)


def test_streaming_list_and_bookmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from glasshive.kube.server import read

    monkeypatch.setattr(read, "_BOOKMARK_SECONDS", 0.2)

    async def test(http: Http) -> None:
        await _make(http, "a", "b")
        options = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
        async with http.watch(CMS, **options) as following:
            assert [(await following())["type"] for _ in range(2)] == ["ADDED", "ADDED"]
            mark = await following()
            assert mark["type"] == "BOOKMARK"
            assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
            (await http("POST", PODS, pod("elsewhere"))).ok()
            later = await following()
            assert later["type"] == "BOOKMARK"
            assert int(later["object"]["metadata"]["resourceVersion"]) > int(
                mark["object"]["metadata"]["resourceVersion"]
            )
        (await http("GET", CMS, watch="1", sendInitialEvents="true")).refused(400, "BadRequest")

    run(tmp_path, test)


def test_table_and_metadata_watches(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        await _make(http, "a", "b")
        async with http.watch(CMS, TABLE) as rows:
            first, second = await rows(), await rows()
            assert first["object"]["rows"][0]["cells"][:2] == ["a", 0]
            assert first["object"]["columnDefinitions"]
            assert second["object"]["columnDefinitions"] is None
        partial = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
        async with http.watch(CMS, partial) as following:
            assert (await following())["object"]["kind"] == "PartialObjectMetadata"

    run(tmp_path, test)


def test_watch_goes_on_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as http:
            await _make(http, "a")
            async with http.watch(CMS) as following:
                seen = (await following())["object"]["metadata"]["resourceVersion"]
            await _make(http, "b")
        async with serving(tmp_path) as http, http.watch(CMS, resourceVersion=seen) as following:
            assert (await following())["object"]["metadata"]["name"] == "b"
            await _make(http, "c")
            assert (await following())["object"]["metadata"]["name"] == "c"
            ahead = await http("GET", CMS, watch="1", resourceVersion="999999", timeoutSeconds="1")
            assert ahead.body["object"]["code"] == 410, "a revision that this store never gave"

    asyncio.run(main())


def test_stopping_ends_watches(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as http, http.watch(CMS) as following:
            stopping = asyncio.create_task(http.server.stop())
            assert await following() == {}
            await asyncio.wait_for(stopping, 60)

    asyncio.run(main())


def test_a_client_that_leaves_is_forgotten(tmp_path: Path) -> None:
    async def test(http: Http) -> None:
        table = http.server.api.registry.builtin(CONFIG_MAP).table
        async with http.watch(CMS), http.watch(CMS):
            assert len(table.listeners) == 2
        async with asyncio.timeout(3):
            while table.listeners:  # noqa: ASYNC110 - nothing tells when a connection's end has been noticed
                await asyncio.sleep(0.01)

    run(tmp_path, test)


_RUNNER = """
import asyncio, sys
from glasshive.kube.server import Server
async def main():
    server = Server(sys.argv[1] + "/store.db", socket=sys.argv[1] + "/api.sock", port=None)
    await server.start()
    print("up", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def _start(folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", _RUNNER, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


def test_kill_during_writes_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Three times: write from many tasks, kill -9 in the middle, start again, find every acknowledged write."""

    async def write(acknowledged: dict[str, Any], round_: int) -> None:
        connector = aiohttp.UnixConnector(str(tmp_path / "api.sock"), limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def writer(k: int) -> None:
                for n in range(10_000):
                    name = f"r{round_}-{k}-{n}"
                    try:
                        async with session.post("http://x" + CMS, json=config_map(name, n=str(n))) as answer:
                            body = await answer.json()
                    except (aiohttp.ClientError, ConnectionError):
                        return
                    assert answer.status == 201, body
                    acknowledged[name] = body["metadata"]["resourceVersion"]

            await asyncio.gather(*(writer(k) for k in range(16)))

    async def found() -> dict[str, Any]:
        connector = aiohttp.UnixConnector(str(tmp_path / "api.sock"))
        async with aiohttp.ClientSession(connector=connector) as session, session.get("http://x" + CMS) as answer:
            return {i["metadata"]["name"]: i["metadata"]["resourceVersion"] for i in (await answer.json())["items"]}

    async def until_killed(victim: int, round_: int) -> None:
        writing = asyncio.create_task(write(acknowledged, round_))
        enough = len(acknowledged) + 60  # of what is on the way then, some is written and some is not
        while len(acknowledged) < enough:  # noqa: ASYNC110 - the answers of 16 writers
            await asyncio.sleep(0)
        os.kill(victim, signal.SIGKILL)
        await writing

    acknowledged: dict[str, Any] = {}
    process = _start(tmp_path)
    try:
        for round_ in range(3):
            asyncio.run(until_killed(process.pid, round_))
            process.wait()
            process = _start(tmp_path)
            after = asyncio.run(found())
            assert {name: after.get(name) for name in acknowledged} == acknowledged
    finally:
        process.kill()
        process.wait()

"""200 watchers while many clients write as fast as they are answered: nobody misses an event, or sees one too many.

What was acknowledged is the model. A watcher of everything must have seen exactly that, in one order of revisions;
every other watcher exactly what its selectors make of it: a change may be an arrival or a departure to it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kube_server import MERGE, Http, run

WATCHERS = 200
WRITERS = 8
NAMESPACES = ("default", "other")
TEAMS = ("red", "blue", "")
PATIENCE_SECONDS = 150
Key = tuple[str, str]
Seen = tuple[str, Key, int]
"""Type of an event, whose it is, and the revision."""


@dataclass(frozen=True)
class Change:
    """A write as it was acknowledged. ``revision`` is 0 for a deletion, whose answer does not tell it."""

    kind: str
    key: Key
    team: str
    revision: int = 0


@dataclass
class Watcher:
    """One watch: where, with which selectors, what it must see of an object of a team, and what it has seen."""

    path: str
    query: dict[str, str]
    wants: Callable[[Key, str], bool]
    seen: list[Seen] = field(default_factory=list)
    teams: list[str] = field(default_factory=list)

    async def follow(self, http: Http, revision: str, opened: asyncio.Semaphore) -> None:
        params = {"watch": "1", "resourceVersion": revision, **self.query}
        async with http.session.get("http://x" + self.path, params=params) as answer:
            opened.release()
            async for line in answer.content:
                event = json.loads(line)
                meta = event["object"]["metadata"]
                key = (meta["namespace"], meta["name"])
                self.seen.append((event["type"], key, int(meta["resourceVersion"])))
                self.teams.append((meta.get("labels") or {}).get("team", ""))


KINDS: list[tuple[str, dict[str, str], Callable[[Key, str], bool]]] = [
    ("", {}, lambda _key, _team: True),
    ("", {"labelSelector": "team=red"}, lambda _, team: team == "red"),
    ("", {"labelSelector": "team!=red"}, lambda _, team: team != "red"),
    ("", {"labelSelector": "team"}, lambda _, team: bool(team)),
    ("/namespaces/other", {}, lambda key, _: key[0] == "other"),
    ("/namespaces/other", {"labelSelector": "team in (blue)"}, lambda key, team: key[0] == "other" and team == "blue"),
    ("", {"fieldSelector": "metadata.name=w1-0"}, lambda key, _: key[1] == "w1-0"),
]


def path_of(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


async def write(http: Http, number: int, steps: list[tuple[int, str, str]]) -> list[Change]:
    """One client: each step is about one of its objects, and makes, changes or deletes it."""
    done: list[Change] = []
    teams: dict[Key, str] = {}
    for count, (which, namespace, team) in enumerate(steps):
        key = (namespace, f"w{number}-{which}")
        labels = {"labels": {"team": team or None}} if key in teams else {"labels": {"team": team} if team else {}}
        if key not in teams:
            body = {"metadata": {"name": key[1], **labels}, "data": {"n": str(count)}}
            made = (await http("POST", path_of(namespace), body)).ok()
            done.append(Change("ADDED", key, team, int(made["metadata"]["resourceVersion"])))
            teams[key] = team
        elif count % 3:
            body = {"metadata": labels, "data": {"n": str(count)}}
            made = (await http("PATCH", path_of(*key), body, MERGE)).ok()
            done.append(Change("MODIFIED", key, team, int(made["metadata"]["resourceVersion"])))
            teams[key] = team
        else:
            (await http("DELETE", path_of(*key))).ok()
            done.append(Change("DELETED", key, teams.pop(key)))
    return done


def agrees(watcher: Watcher, acknowledged: list[list[Change]]) -> None:
    """A watcher of everything saw what was acknowledged: nothing else, in the order of revisions."""
    revisions = [revision for _, _, revision in watcher.seen]
    assert revisions == sorted(set(revisions))
    seen: dict[Key, list[tuple[str, str]]] = {}
    for (kind, key, _), team in zip(watcher.seen, watcher.teams, strict=True):
        seen.setdefault(key, []).append((kind, team))
    told: dict[Key, list[tuple[str, str]]] = {}
    for change in (change for changes in acknowledged for change in changes):
        told.setdefault(change.key, []).append((change.kind, change.team))
    assert seen == told
    known = {revision: (kind, key) for kind, key, revision in watcher.seen}
    assert all(
        known[change.revision] == (change.kind, change.key)
        for changes in acknowledged
        for change in changes
        if change.revision
    )


def through(everything: Watcher, wants: Callable[[Key, str], bool]) -> list[Seen]:
    """What a watcher with selectors must have seen."""
    found: list[Seen] = []
    inside: dict[Key, bool] = {}
    for (kind, key, revision), team in zip(everything.seen, everything.teams, strict=True):
        was, now = inside.get(key, False), kind != "DELETED" and wants(key, team)
        inside[key] = now
        if was or now:
            found.append(("ADDED" if not was else "MODIFIED" if now else "DELETED", key, revision))
    return found


async def churn(http: Http, programs: list[list[tuple[int, str, str]]]) -> None:
    (await http("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})).ok()
    revision = (await http("GET", "/api/v1/configmaps")).ok()["metadata"]["resourceVersion"]
    watchers = [
        Watcher(f"/api/v1{where}/configmaps", query, wants)
        for where, query, wants in (KINDS[number % len(KINDS)] for number in range(WATCHERS))
    ]
    opened = asyncio.Semaphore(0)
    following = [asyncio.create_task(one.follow(http, revision, opened)) for one in watchers]
    for _ in watchers:
        await opened.acquire()
    acknowledged = await asyncio.gather(*(write(http, n, steps) for n, steps in enumerate(programs)))
    total = sum(map(len, acknowledged))
    await until(lambda: len(watchers[0].seen) >= total)
    agrees(watchers[0], acknowledged)
    expected = [through(watchers[0], one.wants) for one in watchers]
    await until(lambda: all(len(one.seen) >= len(all_) for one, all_ in zip(watchers, expected, strict=True)))
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    for one, wanted in zip(watchers, expected, strict=True):
        assert one.seen == wanted, (one.path, one.query)


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not check():  # noqa: ASYNC110 - what is awaited is in 200 lists
            await asyncio.sleep(0.01)


STEP: Any = st.tuples(st.integers(0, 5), st.sampled_from(NAMESPACES), st.sampled_from(TEAMS))
PROGRAM: Any = st.lists(STEP, min_size=40, max_size=160)


@pytest.mark.timeout(600)
@settings(max_examples=3, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
@given(programs=st.lists(PROGRAM, min_size=WRITERS, max_size=WRITERS))
def test_nobody_misses_an_event_or_sees_one_too_many(
    tmp_path_factory: pytest.TempPathFactory, programs: list[list[tuple[int, str, str]]]
) -> None:
    run(tmp_path_factory.mktemp("churn"), lambda http: churn(http, programs))

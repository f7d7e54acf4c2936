"""Identities without use: marked, then deleted, unless somebody begins to use them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from control_plane import served
from glasshive import api
from glasshive.api.cilium_endpoint import CILIUM_ENDPOINT
from glasshive.api.cilium_identity import CILIUM_IDENTITY, HEARTBEAT, marked, to_object
from glasshive.api.resources import CUSTOM_RESOURCE_DEFINITION
from glasshive.model.identity import Identity
from glasshive.model.labels import Labels
from glasshive.operator.identity_garbage import IdentityGarbage, plan

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def identity(number: int, marked_ago: float | None = None) -> dict:
    obj = to_object(Identity(number, Labels.of([f"k8s:app=a{number}"])))
    if marked_ago is not None:
        obj["metadata"]["annotations"] = {HEARTBEAT: (NOW - timedelta(seconds=marked_ago)).isoformat()}
    return obj


def endpoint(number: int) -> dict:
    return CILIUM_ENDPOINT.object(f"pod{number}", "default", status={"identity": {"id": number}})


def test_marks_come_first_and_use_takes_them_off() -> None:
    known = [identity(300), identity(301, 10), identity(302, 1000), identity(303), identity(304, 1000)]
    todo = plan(known, [endpoint(303), endpoint(304), CILIUM_ENDPOINT.object("new", "default")], 900, NOW)
    assert [one["metadata"]["name"] for one in todo.mark] == ["300"]
    assert [one["metadata"]["name"] for one in todo.unmark] == ["304"]
    assert [one["metadata"]["name"] for one in todo.delete] == ["302"]


def test_two_rounds_remove_what_nobody_used_and_nothing_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as client:
            for crd in api.crds():
                await client.create(CUSTOM_RESOURCE_DEFINITION, crd)
            for number in (300, 301):
                await client.create(CILIUM_IDENTITY, identity(number))
            await client.create(CILIUM_ENDPOINT, endpoint(301))
            garbage = IdentityGarbage(client, interval_seconds=0)
            assert await garbage.sweep() == 0
            left = {one["metadata"]["name"]: marked(one) for one in (await client.list(CILIUM_IDENTITY)).items}
            assert left.keys() == {"300", "301"}
            assert left["300"]
            assert not left["301"]
            assert await garbage.sweep() == 1
            assert [one["metadata"]["name"] for one in (await client.list(CILIUM_IDENTITY)).items] == ["301"]

    asyncio.run(scenario())

"""Identities agreed on through a real API server: races, collisions, an API that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum
from pathlib import Path

import pytest

from control_plane import eventually, served
from glasshive import api
from glasshive.api.cilium_identity import CILIUM_IDENTITY, HEARTBEAT, from_object, to_object
from glasshive.api.resources import CUSTOM_RESOURCE_DEFINITION
from glasshive.errors import ApiError
from glasshive.identity.allocator import IdentityAllocator
from glasshive.identity.reserved import ReservedIdentities
from glasshive.identity.table import IdentityTable, NumberChange
from glasshive.kube.client import Client
from glasshive.model.identity import Identity
from glasshive.model.labels import Labels


class GhIdentity(IntEnum):
    GH_IDENTITY_HOST = 1
    GH_IDENTITY_INIT = 5
    GH_IDENTITY_CLUSTER_MIN = 256


RESERVED = ReservedIdentities(GhIdentity)
WEB, DB = Labels.of(["k8s:app=web"]), Labels.of(["k8s:app=db"])


@asynccontextmanager
async def allocators(folder: Path, count: int) -> AsyncIterator[tuple[Client, list[IdentityAllocator]]]:
    """Allocators of ``count`` nodes on one API server."""
    async with served(folder) as client:
        for crd in api.crds():
            await client.create(CUSTOM_RESOURCE_DEFINITION, crd)
        made = [IdentityAllocator(client, RESERVED, lambda _: None) for _ in range(count)]
        for one in made:
            one.start()
            await one.wait_synced(10)
        yield client, made
        for one in made:
            await one.stop()


def test_nodes_that_meet_the_same_labels_at_once_agree(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with allocators(tmp_path, 3) as (client, nodes):
            numbers = await asyncio.gather(*(node.resolve(WEB, 5) for node in nodes for _ in range(3)))
            assert len(set(numbers)) == 1
            assert numbers[0] is not None
            assert numbers[0] >= 256
            objects = (await client.list(CILIUM_IDENTITY)).items
            assert [from_object(one) for one in objects] == [Identity(numbers[0], WEB)]
            other = await nodes[0].resolve(DB, 5)
            assert other not in (None, numbers[0])
            await eventually(lambda: all(node.number(DB) == other for node in nodes), 5)

    asyncio.run(scenario())


def test_a_number_that_others_took_meanwhile_is_passed_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with allocators(tmp_path, 1) as (client, (node,)):
            first = next(IdentityTable(RESERVED.identities()).candidates(WEB, 256))
            task = asyncio.create_task(client.create(CILIUM_IDENTITY, to_object(Identity(first, DB))))
            number = await node.resolve(WEB, 5)
            await task
            assert number is not None
            assert node.table.labels(number) == WEB
            if number != first:
                assert node.table.labels(first) == DB

    asyncio.run(scenario())


def test_of_two_objects_for_the_same_labels_the_lower_number_counts(tmp_path: Path) -> None:
    async def scenario() -> None:
        changes: list[NumberChange] = []
        async with allocators(tmp_path, 1) as (client, (node,)):
            node._on_change = changes.append
            for number in (900, 400):
                await client.create(CILIUM_IDENTITY, to_object(Identity(number, WEB)))
            await eventually(lambda: node.number(WEB) == 400, 5)
            await client.delete(CILIUM_IDENTITY, "400")
            await eventually(lambda: node.number(WEB) == 900, 5)
            assert [(one.old, one.new) for one in changes] == [(None, 900), (900, 400), (400, 900)]

    asyncio.run(scenario())


def test_objects_that_make_no_sense_are_ignored(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with allocators(tmp_path, 1) as (client, (node,)):
            known = len(node.table)
            await client.create(
                CILIUM_IDENTITY, CILIUM_IDENTITY.object("not-a-number", **{"security-labels": {"k8s:a": "1"}})
            )
            await client.create(CILIUM_IDENTITY, to_object(Identity(700, WEB)))
            await eventually(lambda: node.number(WEB) == 700, 5)
            assert len(node.table) == known + 1

    asyncio.run(scenario())


def test_without_the_api_there_is_no_number_and_later_there_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        changes: list[NumberChange] = []
        client = Client(socket=tmp_path / "api.sock")
        node = IdentityAllocator(client, RESERVED, changes.append)
        node.start()
        assert await node.resolve(WEB, 0.2) is None
        async with served(tmp_path) as admin:
            for crd in api.crds():
                await admin.create(CUSTOM_RESOURCE_DEFINITION, crd)
            await eventually(lambda: node.number(WEB) is not None, 15)
            assert [one.labels for one in changes] == [WEB]
            await node.stop()
            await client.close()

    asyncio.run(scenario())


def test_a_marked_identity_is_unmarked_before_it_is_used(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with allocators(tmp_path, 2) as (client, (first, second)):
            number = await first.resolve(WEB, 5)
            await eventually(lambda: second.number(WEB) == number, 5)
            stamp = {"metadata": {"annotations": {HEARTBEAT: "2026-01-01T00:00:00Z"}}}
            old = await client.patch(CILIUM_IDENTITY, str(number), stamp)
            await eventually(lambda: not second.ready(WEB), 5)
            assert await second.resolve(WEB, 5) == number
            assert second.ready(WEB)
            meta = old["metadata"]
            with pytest.raises(ApiError) as refused:
                await client.delete(
                    CILIUM_IDENTITY, str(number), uid=meta["uid"], resource_version=meta["resourceVersion"]
                )
            assert refused.value.code == 409, "what the operator judged is not what is there now"

    asyncio.run(scenario())


def test_an_identity_in_use_comes_back_with_its_number_when_somebody_deletes_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with allocators(tmp_path, 2) as (client, (first, second)):
            first.in_use = lambda labels: labels == WEB
            number, other = await first.resolve(WEB, 5), await first.resolve(DB, 5)
            await eventually(lambda: second.number(WEB) == number and second.number(DB) == other, 5)
            for one in (number, other):
                await client.delete(CILIUM_IDENTITY, str(one))
            await eventually(lambda: first.number(DB) is None and second.number(DB) is None, 5)
            await eventually(lambda: second.number(WEB) == number, 5)
            assert first.number(WEB) == number
            names = [one["metadata"]["name"] for one in (await client.list(CILIUM_IDENTITY)).items]
            assert names == [str(number)]

    asyncio.run(scenario())


def test_a_number_that_others_took_is_theirs_and_its_user_gets_another(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with allocators(tmp_path, 1) as (client, (node,)):
            node.in_use = lambda labels: labels == WEB
            number = await node.resolve(WEB, 5)
            assert number is not None
            taken = to_object(Identity(number, DB))
            stored = await client.get(CILIUM_IDENTITY, str(number))
            taken["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
            await client.replace(CILIUM_IDENTITY, taken)
            await eventually(lambda: node.number(DB) == number, 5)
            await eventually(lambda: node.number(WEB) not in (None, number), 5)

    asyncio.run(scenario())

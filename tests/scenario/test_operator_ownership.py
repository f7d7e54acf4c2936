"""Owners, namespaces and definitions: what goes with what, against the real API server."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane import (
    Cluster,
    count,
    deployment,
    eventually,
    get,
    is_gone,
    play,
    pods,
    rolled_out,
)
from glasshive.api.resources import (
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    DEPLOYMENT,
    EVENT,
    NAMESPACE,
    REPLICA_SET,
    SERVICE_ACCOUNT,
    Resource,
)
from glasshive.errors import ApiError
from glasshive.kube.client import Propagation
from glasshive.kube.objects import Object
from glasshive.operator import OperatorConfig

# -- owners and namespaces


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_deleting_a_deployment_takes_everything_below(tmp_path: Path, propagation: Propagation) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(DEPLOYMENT, deployment(3))
        await eventually(rolled_out(c))
        answer = await c.client.delete(DEPLOYMENT, "web", "default", propagation=propagation)
        if propagation == "Foreground":
            assert "foregroundDeletion" in answer["metadata"]["finalizers"]
        await eventually(is_gone(c, DEPLOYMENT, "web"))
        if propagation == "Foreground":
            assert not (await c.client.list(REPLICA_SET, "default")).items
        await eventually(count(c, 0))
        assert not (await c.client.list(REPLICA_SET, "default")).items

    play(tmp_path, body)


def test_orphaned_pods_stay_and_are_adopted_again(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(DEPLOYMENT, deployment(3))
        await eventually(rolled_out(c))
        names = {p["metadata"]["name"] for p in await pods(c)}
        await c.client.delete(DEPLOYMENT, "web", "default", propagation="Orphan")
        await eventually(is_gone(c, DEPLOYMENT, "web"))
        (left,) = (await c.client.list(REPLICA_SET, "default")).items
        assert not left["metadata"].get("ownerReferences")
        await c.client.create(DEPLOYMENT, deployment(3))
        await eventually(rolled_out(c))
        assert {p["metadata"]["name"] for p in await pods(c)} == names

    play(tmp_path, body)


def test_owners_that_never_were_or_are_several(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        owners = [await c.client.create(CONFIG_MAP, CONFIG_MAP.object(f"owner{i}")) for i in range(2)]

        def ref(name: str, uid: str) -> Object:
            return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}

        refs = [ref(o["metadata"]["name"], o["metadata"]["uid"]) for o in owners]
        await c.client.create(CONFIG_MAP, CONFIG_MAP.object("child", metadata={"ownerReferences": refs}))
        lost = [ref("nobody", "00000000-0000-0000-0000-000000000000")]
        await c.client.create(CONFIG_MAP, CONFIG_MAP.object("lost", metadata={"ownerReferences": lost}))
        await eventually(is_gone(c, CONFIG_MAP, "lost"))
        await c.client.delete(CONFIG_MAP, "owner0", "default")

        async def one_owner() -> bool:
            child = await get(c, CONFIG_MAP, "child")
            assert child is not None
            return [r["name"] for r in child["metadata"]["ownerReferences"]] == ["owner1"]

        await eventually(one_owner)
        await c.client.delete(CONFIG_MAP, "owner1", "default")
        await eventually(is_gone(c, CONFIG_MAP, "child"))

    play(tmp_path, body)


def test_custom_resources_are_collected_too(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        definition = CUSTOM_RESOURCE_DEFINITION.object(
            "combs.glasshive.io",
            spec={
                "group": "glasshive.io",
                "scope": "Namespaced",
                "names": {"plural": "combs", "singular": "comb", "kind": "Comb", "listKind": "CombList"},
                "versions": [
                    {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
                ],
            },
        )
        comb = Resource.of_crd(await c.client.create(CUSTOM_RESOURCE_DEFINITION, definition))

        async def served() -> bool:
            try:
                return (await c.client.list(comb)).items == []
            except ApiError:
                return False

        await eventually(served)
        owner = await c.client.create(comb, comb.object("owner"))
        refs = [{"apiVersion": comb.api_version, "kind": "Comb", "name": "owner", "uid": owner["metadata"]["uid"]}]
        await c.client.create(CONFIG_MAP, CONFIG_MAP.object("cell", metadata={"ownerReferences": refs}))
        await c.client.create(comb, comb.object("cell", metadata={"ownerReferences": refs}))
        await c.client.delete(comb, "owner", "default")
        await eventually(is_gone(c, comb, "cell"))
        await eventually(is_gone(c, CONFIG_MAP, "cell"))
        await c.client.create(NAMESPACE, NAMESPACE.object("hive"))
        await c.client.create(comb, comb.object("inside", "hive"))
        await c.client.delete(NAMESPACE, "hive")
        await eventually(is_gone(c, NAMESPACE, "hive"))

    play(tmp_path, body)


def test_namespace_goes_with_everything_in_it(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(NAMESPACE, NAMESPACE.object("tour"))
        wish = deployment(3)
        wish["metadata"]["namespace"] = "tour"
        await c.client.create(DEPLOYMENT, wish)
        await c.client.create(CONFIG_MAP, CONFIG_MAP.object("x", "tour"))

        async def running() -> bool:
            return len(await pods(c, "tour", field_selector="status.phase=Running")) == 3

        await eventually(running)
        answer = await c.client.delete(NAMESPACE, "tour")
        assert answer["status"]["phase"] == "Terminating"
        with pytest.raises(ApiError) as refused:
            await c.client.create(CONFIG_MAP, CONFIG_MAP.object("late", "tour"))
        assert refused.value.code in {403, 404}
        await eventually(is_gone(c, NAMESPACE, "tour"))
        assert not await pods(c, "tour")
        assert not (await c.client.list(EVENT, "tour")).items

    play(tmp_path, body)


def test_every_namespace_has_its_default_account(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(NAMESPACE, NAMESPACE.object("tour"))

        async def complete() -> bool:
            account = await get(c, SERVICE_ACCOUNT, "default", "tour")
            authority = await get(c, CONFIG_MAP, "kube-root-ca.crt", "tour")
            return account is not None and authority is not None and authority["data"] == {"ca.crt": "PEM"}

        await eventually(complete)
        await c.client.delete(SERVICE_ACCOUNT, "default", "tour")
        await eventually(complete)

    play(tmp_path, body, config=OperatorConfig(ca_pem="PEM"))


def test_our_definitions_are_there(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        names = {d["metadata"]["name"] for d in (await c.client.list(CUSTOM_RESOURCE_DEFINITION)).items}
        assert {"ciliumidentities.cilium.io", "ciliumendpoints.cilium.io", "ciliumnodes.cilium.io"} <= names

    play(tmp_path, body)

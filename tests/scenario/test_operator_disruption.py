"""Disruption budgets: what they allow follows the pods, and evictions spend it, also several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from control_plane import HOLD, Cluster, count, deployment, eventually, get, play, pods, rolled_out, template
from glasshive.api.resources import DEPLOYMENT, POD, POD_DISRUPTION_BUDGET
from glasshive.errors import ApiError
from glasshive.kube.objects import Object
from glasshive.operator.disruption import status_of


def budget(**spec: Any) -> Object:
    return POD_DISRUPTION_BUDGET.object("b", spec={"selector": {"matchLabels": {"app": "web"}}, **spec})


def allowed(c: Cluster, number: int, **more: int) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        found = await get(c, POD_DISRUPTION_BUDGET, "b")
        status = (found or {}).get("status") or {}
        return {name: status.get(name) for name in more} == more and status.get("disruptionsAllowed") == number

    return check


async def evict(c: Cluster, pod: Object) -> int:
    """The code of the answer."""
    name = pod["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    try:
        await c.client.request("POST", POD.path("default", name, "eviction"), body=body)
    except ApiError as error:
        return error.code
    return 201


def test_evictions_at_once_spend_no_more_than_there_is_and_it_comes_back(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(DEPLOYMENT, deployment(3))
        await c.client.create(POD_DISRUPTION_BUDGET, budget(minAvailable=2))
        await eventually(allowed(c, 1, expectedPods=3, currentHealthy=3, desiredHealthy=2))
        codes = await asyncio.gather(*(evict(c, pod) for pod in await pods(c)))
        assert sorted(codes) == [201, 429, 429]
        await eventually(rolled_out(c))
        await eventually(allowed(c, 1, currentHealthy=3))
        assert await evict(c, (await pods(c))[0]) == 201

    play(tmp_path, body)


def test_a_share_counts_what_the_owner_wants(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(POD_DISRUPTION_BUDGET, budget(maxUnavailable="50%"))
        await eventually(allowed(c, 0, expectedPods=0))
        await c.client.create(DEPLOYMENT, deployment(4))
        await eventually(allowed(c, 2, expectedPods=4, desiredHealthy=2))
        await c.client.patch(DEPLOYMENT, "web", {"spec": {"replicas": 2}}, "default")
        await eventually(allowed(c, 1, expectedPods=2, desiredHealthy=1))

    play(tmp_path, body)


def test_a_pod_that_is_not_ready_may_go_if_enough_are(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(DEPLOYMENT, deployment(2))
        held = {**template(annotations={HOLD: "unready"}), "apiVersion": "v1", "kind": "Pod"}
        held["metadata"] |= {"name": "held", "namespace": "default"}
        await c.client.create(POD, held)
        await c.client.create(POD_DISRUPTION_BUDGET, budget(minAvailable=2))
        await eventually(allowed(c, 0, currentHealthy=2))

        async def running() -> bool:
            return all((p.get("status") or {}).get("phase") == "Running" for p in await pods(c))

        await eventually(running)
        assert {await evict(c, p) for p in await pods(c) if p["metadata"]["name"] != "held"} == {429}
        assert [await evict(c, p) for p in await pods(c) if p["metadata"]["name"] == "held"] == [201]
        await eventually(count(c, 2))

    play(tmp_path, body)


@pytest.mark.parametrize(
    ("spec", "expected", "desired"),
    [
        ({"minAvailable": 1}, 2, 1),
        ({"minAvailable": "50%"}, 5, 3),
        ({"maxUnavailable": 1}, 5, 4),
        ({"maxUnavailable": "30%"}, 5, 3),
        ({"maxUnavailable": 9}, 5, 0),
    ],
)
def test_what_must_stay(spec: dict[str, Any], expected: int, desired: int) -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}
    two = [{"metadata": {"name": name}, "status": ready} for name in ("x", "y")]
    status = status_of({"metadata": {"generation": 3}, "spec": spec}, two, 5)
    assert (status["expectedPods"], status["desiredHealthy"]) == (expected, desired)
    assert status["disruptionsAllowed"] == max(0, 2 - desired)
    assert status["observedGeneration"] == 3

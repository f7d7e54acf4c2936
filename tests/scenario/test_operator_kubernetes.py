"""StatefulSet, CronJob, silent nodes, Endpoints, revisions: against the real API server, with a paper kubelet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from control_plane import (
    ENDS,
    HOLD,
    Cluster,
    a_pod,
    count,
    deployment,
    eventually,
    get,
    is_gone,
    play,
    pods,
    reported,
    rolled_out,
    template,
)
from glasshive.api.resources import (
    CONTROLLER_REVISION,
    CRON_JOB,
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    ENDPOINTS,
    EVENT,
    JOB,
    LEASE,
    NAMESPACE,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    REPLICA_SET,
    SERVICE,
    STATEFUL_SET,
)
from glasshive.errors import ApiError
from glasshive.kube.objects import Object
from glasshive.operator import OperatorConfig
from glasshive.operator.clock import now_text
from glasshive.operator.taints import UNREACHABLE

FAST = OperatorConfig(node_monitor_seconds=0.1, node_grace_seconds=0.6, not_ready_taint_seconds=0.2)


def stateful_set(replicas: int = 3, image: str = "echo", **more: Any) -> Object:
    spec = {
        "replicas": replicas,
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "web"}},
        "template": template(image),
        **more,
    }
    return STATEFUL_SET.object("db", spec=spec)


def settled(c: Cluster, replicas: int) -> Callable[[], Awaitable[bool]]:
    """The same questions that ``kubectl rollout status`` asks."""

    async def check() -> bool:
        found = await get(c, STATEFUL_SET, "db")
        assert found is not None
        status = found.get("status") or {}
        return (
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("readyReplicas", 0) == replicas
            and status.get("replicas") == replicas
            and status.get("updateRevision") == status.get("currentRevision")
        )

    return check


async def patch_image(c: Cluster, image: str) -> None:
    body = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    await c.client.patch(STATEFUL_SET, "db", body, "default")


def test_stateful_set_in_order(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {}}}
        await c.client.create(STATEFUL_SET, stateful_set(3, volumeClaimTemplates=[claim]))
        await eventually(settled(c, 3))
        born = sorted(await pods(c), key=lambda p: int(p["metadata"]["resourceVersion"]))
        assert sorted(p["metadata"]["name"] for p in born) == ["db-0", "db-1", "db-2"]
        assert {p["spec"]["hostname"] for p in born} == {"db-0", "db-1", "db-2"}
        claims = (await c.client.list(PERSISTENT_VOLUME_CLAIM, "default")).items
        assert {o["metadata"]["name"] for o in claims} == {"data-db-0", "data-db-1", "data-db-2"}
        # A pod that is deleted comes back under its name, and as another pod.
        before = await get(c, POD, "db-1")
        assert before is not None
        await c.client.delete(POD, "db-1", "default")

        async def reborn() -> bool:
            now = await get(c, POD, "db-1")
            return now is not None and now["metadata"]["uid"] != before["metadata"]["uid"]

        await eventually(reborn)
        await eventually(settled(c, 3))
        await patch_image(c, "nginx")
        await eventually(settled(c, 3))
        assert {p["spec"]["containers"][0]["image"] for p in await pods(c)} == {"nginx"}
        assert len((await c.client.list(CONTROLLER_REVISION, "default")).items) == 2
        await patch_image(c, "echo")  # back: no third revision, the first is the newest again
        await eventually(settled(c, 3))
        numbers = [r["revision"] for r in (await c.client.list(CONTROLLER_REVISION, "default")).items]
        assert sorted(numbers) == [2, 3]
        await c.client.patch(STATEFUL_SET, "db", {"spec": {"replicas": 1}}, "default")
        await eventually(settled(c, 1))
        assert [p["metadata"]["name"] for p in await pods(c)] == ["db-0"]
        await c.client.delete(STATEFUL_SET, "db", "default", propagation="Background")
        await eventually(count(c, 0))

    play(tmp_path, body)


def test_cron_job_makes_and_keeps_few(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        job = {"spec": {"template": template(annotations={ENDS: "Succeeded"}, restartPolicy="Never")}}
        spec = {"schedule": "@every 1s", "jobTemplate": job, "successfulJobsHistoryLimit": 2}
        try:
            await c.client.create(CRON_JOB, CRON_JOB.object("tick", spec=spec))
        except ApiError as error:
            raise AssertionError(f"@every is what Kubernetes accepts too: {error}") from error

        async def jobs() -> list[Object]:
            return (await c.client.list(JOB, "default")).items

        async def several() -> bool:
            events = [e for e in (await c.client.list(EVENT, "default")).items if e["reason"] == "SuccessfulCreate"]
            made = {e["message"] for e in events if e["message"].startswith("Created job")}
            return len(made) >= 4

        await eventually(several, 15)
        finished = [j for j in await jobs() if (j.get("status") or {}).get("completionTime")]
        assert len(finished) <= 3  # one may have ended just now
        found = await get(c, CRON_JOB, "tick")
        assert found is not None
        assert found["status"]["lastScheduleTime"]
        assert found["status"]["lastSuccessfulTime"]
        await c.client.patch(CRON_JOB, "tick", {"spec": {"suspend": True}}, "default")
        await asyncio.sleep(0.3)
        before = {j["metadata"]["name"] for j in await jobs()}
        await asyncio.sleep(1.5)
        assert {j["metadata"]["name"] for j in await jobs()} <= before
        await c.client.delete(CRON_JOB, "tick", "default", propagation="Background")

        async def none() -> bool:
            return not await jobs()

        await eventually(none)

    play(tmp_path, body)


async def beat(c: Cluster, node: str) -> None:
    """Play the node's heart until cancelled."""
    with contextlib.suppress(ApiError):
        await c.client.create(NAMESPACE, NAMESPACE.object("kube-node-lease"))
    with contextlib.suppress(ApiError):
        await c.client.create(LEASE, LEASE.object(node, "kube-node-lease", spec={"holderIdentity": node}))
    number = 0
    while True:
        number += 1
        renewed = f"2026-01-01T00:00:00.{number:06}Z"
        await c.client.patch(LEASE, node, {"spec": {"renewTime": renewed}}, "kube-node-lease")
        await asyncio.sleep(0.1)


def ready_of(c: Cluster, node: str, wanted: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        found = await get(c, NODE, node)
        assert found is not None
        return any(x["type"] == "Ready" and x["status"] == wanted for x in found["status"]["conditions"])

    return check


def taint_keys(c: Cluster, node: str, wanted: set[str]) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        found = await get(c, NODE, node)
        assert found is not None
        return {t["key"] for t in found["spec"].get("taints") or ()} == wanted

    return check


def test_silent_node_loses_its_pods_and_is_welcome_back(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        hearts = {n: asyncio.create_task(beat(c, n)) for n in ("node1", "node2")}
        try:
            short = [{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]
            await c.client.create(POD, a_pod("leaves", nodeName="node2", tolerations=short))
            await c.client.create(POD, a_pod("stays", nodeName="node2", tolerations=[{"operator": "Exists"}]))
            await c.client.create(POD, a_pod("elsewhere", nodeName="node1", tolerations=short))
            await asyncio.sleep(1)
            assert await ready_of(c, "node2", "True")()
            hearts["node2"].cancel()
            await eventually(ready_of(c, "node2", "Unknown"))
            await eventually(taint_keys(c, "node2", {UNREACHABLE}))
            await eventually(is_gone(c, POD, "leaves"))
            await eventually(reported(c, "TaintManagerEviction", "leaves"))
            stays = await get(c, POD, "stays")
            assert stays is not None
            assert await get(c, POD, "elsewhere") is not None
            assert await ready_of(c, "node1", "True")()
            hearts["node2"] = asyncio.create_task(beat(c, "node2"))
            state = {"type": "Ready", "status": "True", "lastHeartbeatTime": now_text()}
            await c.client.patch(NODE, "node2", {"status": {"conditions": [state]}}, subresource="status")
            await eventually(taint_keys(c, "node2", set()))

            async def is_ready() -> bool:
                pod = await get(c, POD, "stays")
                assert pod is not None
                return any(x["type"] == "Ready" and x["status"] == "True" for x in pod["status"]["conditions"])

            await eventually(is_ready)
        finally:
            for task in hearts.values():
                task.cancel()
            await asyncio.gather(*hearts.values(), return_exceptions=True)

    play(tmp_path, body, 2, FAST)


def test_people_taint_nodes_too(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(POD, a_pod("plain", nodeName="node1"))
        await c.client.create(POD, a_pod("tough", nodeName="node1", tolerations=[{"key": "k", "operator": "Exists"}]))
        await eventually(count(c, 2))
        taint = {"key": "k", "effect": "NoExecute"}
        await c.client.patch(NODE, "node1", {"spec": {"taints": [taint]}})
        await eventually(is_gone(c, POD, "plain"))
        assert await get(c, POD, "tough") is not None

    play(tmp_path, body, 1)


def test_endpoints_follow_slices_and_spare_what_people_made(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        own = ENDPOINTS.object("manual", subsets=[{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}])
        await c.client.create(ENDPOINTS, own)
        await c.client.create(SERVICE, SERVICE.object("manual", spec={"ports": [{"port": 80}]}))
        await c.client.create(
            SERVICE, SERVICE.object("web", spec={"selector": {"app": "web"}, "ports": [{"port": 80}]})
        )
        await c.client.create(POD, {**a_pod("one"), "metadata": {"name": "one", "labels": {"app": "web"}}})

        async def mirrored() -> bool:
            found = await get(c, ENDPOINTS, "web")
            pod = await get(c, POD, "one")
            subsets = (found or {}).get("subsets") or [{}]
            ips = [a["ip"] for a in subsets[0].get("addresses") or ()]
            return pod is not None and ips == [(pod.get("status") or {}).get("podIP")]

        await eventually(mirrored)
        await c.client.delete(ENDPOINTS, "web", "default")
        await eventually(mirrored)
        await c.client.delete(SERVICE, "web", "default")
        await eventually(is_gone(c, ENDPOINTS, "web"))
        manual = await get(c, ENDPOINTS, "manual")
        assert manual is not None
        assert manual["subsets"][0]["addresses"] == [{"ip": "192.0.2.1"}]
        assert not [s for s in (await c.client.list(ENDPOINT_SLICE, "default")).items if "web" in s["metadata"]["name"]]

    play(tmp_path, body)


def test_load_balancer_says_what_it_waits_for(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        spec = {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]}
        await c.client.create(SERVICE, SERVICE.object("out", spec=spec))
        await eventually(reported(c, "LoadBalancerPending", "CiliumLoadBalancerIPPool"))

    play(tmp_path, body)


def test_daemon_set_keeps_its_history(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template("echo")}
        await c.client.create(DAEMON_SET, DAEMON_SET.object("d", spec=spec))
        await eventually(count(c, 3))
        await c.client.patch(DAEMON_SET, "d", {"spec": {"template": template("nginx")}}, "default")

        def images(wanted: str) -> Callable[[], Awaitable[bool]]:
            async def check() -> bool:
                found = await pods(c)
                return len(found) == 3 and {p["spec"]["containers"][0]["image"] for p in found} == {wanted}

            return check

        await eventually(images("nginx"))
        revisions = (await c.client.list(CONTROLLER_REVISION, "default")).items
        first = next(r for r in revisions if r["revision"] == 1)
        # What ``kubectl rollout undo`` sends.
        await c.client.patch(DAEMON_SET, "d", first["data"], "default", kind="strategic")
        await eventually(images("echo"))
        numbers = [r["revision"] for r in (await c.client.list(CONTROLLER_REVISION, "default")).items]
        assert sorted(numbers) == [2, 3]

    play(tmp_path, body)


def test_wrong_schedules_are_refused_before_they_are_stored(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        job = {"spec": {"template": template(restartPolicy="Never")}}
        for spec, part in (
            ({"schedule": "61 * * * *"}, "expected 0 to 59"),
            ({"schedule": "* * * * *", "timeZone": "Mars/Olympus"}, "unknown time zone"),
        ):
            wrong = CRON_JOB.object("wrong", spec={"jobTemplate": job, **spec})
            with pytest.raises(ApiError, match=part) as caught:
                await c.client.create(CRON_JOB, wrong)
            assert caught.value.code == 422

    play(tmp_path, body)


def test_scaling_a_stuck_rollout_favours_what_works(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(DEPLOYMENT, deployment(10))
        await eventually(rolled_out(c))
        stuck = {"spec": {"template": {"metadata": {"annotations": {HOLD: "unready"}}}}}
        await c.client.patch(DEPLOYMENT, "web", stuck, "default")

        def sizes(*wanted: int) -> Callable[[], Awaitable[bool]]:
            async def check() -> bool:
                found = (await c.client.list(REPLICA_SET, "default")).items
                return sorted(s["spec"]["replicas"] for s in found) == list(wanted)

            return check

        await eventually(sizes(5, 8))
        await c.client.patch(DEPLOYMENT, "web", {"spec": {"replicas": 20}}, "default")
        await eventually(sizes(10, 15))
        await asyncio.sleep(0.3)
        assert await sizes(10, 15)()
        await c.client.patch(DEPLOYMENT, "web", {"spec": {"replicas": 4}}, "default")
        await eventually(sizes(2, 3))

    play(tmp_path, body)

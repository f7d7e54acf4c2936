"""Deployments, DaemonSets and Jobs against the real API server, with a paper kubelet."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from control_plane import (
    ENDS,
    HOLD,
    Cluster,
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
    DAEMON_SET,
    DEPLOYMENT,
    JOB,
    NODE,
    POD,
    REPLICA_SET,
)
from glasshive.kube.objects import Object
from glasshive.operator import OperatorConfig

# -- Deployment and ReplicaSet


def test_deployment_is_spread_and_reports_itself(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(DEPLOYMENT, deployment(9))
        await eventually(rolled_out(c))
        spread = Counter(p["spec"]["nodeName"] for p in await pods(c))
        assert spread == {"node1": 3, "node2": 3, "node3": 3}
        found = await get(c, DEPLOYMENT, "web")
        assert found is not None
        assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
        entries = {e["type"]: e["status"] for e in found["status"]["conditions"]}
        assert entries == {"Available": "True", "Progressing": "True"}
        await eventually(reported(c, "ScalingReplicaSet", "from 0 to 9"))
        await eventually(reported(c, "Scheduled", "Successfully assigned default/web-"))

    play(tmp_path, body)


def test_scaling_and_self_healing(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(DEPLOYMENT, deployment(2))
        await eventually(rolled_out(c))
        scale = {"spec": {"replicas": 6}}
        await c.client.patch(DEPLOYMENT, "web", scale, "default", subresource="scale")
        await eventually(rolled_out(c))
        assert len(await pods(c)) == 6
        for doomed in (await pods(c))[:3]:
            await c.client.delete(POD, doomed["metadata"]["name"], "default")
        await eventually(rolled_out(c))
        await eventually(count(c, 6))
        await c.client.patch(DEPLOYMENT, "web", {"spec": {"replicas": 0}}, "default")
        await eventually(count(c, 0))
        await eventually(rolled_out(c))

    play(tmp_path, body)


def test_rolling_update_undo_and_history(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(DEPLOYMENT, deployment(4))
        await eventually(rolled_out(c))
        least = 4

        async def new_image() -> bool:
            nonlocal least
            found = await pods(c)
            ready = [p for p in found if any(e["type"] == "Ready" and e["status"] == "True"
                                             for e in p.get("status", {}).get("conditions") or [])]  # fmt: skip
            least = min(least, len([p for p in ready if not p["metadata"].get("deletionTimestamp")]))
            return await rolled_out(c)() and all(p["spec"]["containers"][0]["image"] == "new" for p in found)

        await c.client.patch(DEPLOYMENT, "web", {"spec": {"template": template("new")}}, "default")
        await eventually(new_image)
        assert least >= 3
        sets = (await c.client.list(REPLICA_SET, "default")).items
        revisions = {s["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: s for s in sets}
        assert set(revisions) == {"1", "2"}
        assert revisions["1"]["spec"]["replicas"] == 0
        # kubectl rollout undo sends the old template; its ReplicaSet is used again under a new revision.
        await c.client.patch(DEPLOYMENT, "web", {"spec": {"template": template()}}, "default")

        async def undone() -> bool:
            old = await get(c, REPLICA_SET, revisions["1"]["metadata"]["name"])
            assert old is not None
            return old["spec"]["replicas"] == 4 and old["metadata"]["annotations"][
                "deployment.kubernetes.io/revision"
            ] == "3"  # fmt: skip

        await eventually(undone)
        await eventually(rolled_out(c))
        assert len((await c.client.list(REPLICA_SET, "default")).items) == 2

    play(tmp_path, body)


def test_a_rollout_that_never_gets_ready_keeps_the_old_pods(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(DEPLOYMENT, deployment(4, progressDeadlineSeconds=1))
        await eventually(rolled_out(c))
        await c.client.patch(DEPLOYMENT, "web", {"spec": {"template": template("bad", {HOLD: "unready"})}}, "default")

        async def stuck() -> bool:
            found = await get(c, DEPLOYMENT, "web")
            assert found is not None
            entries = {e["type"]: e["reason"] for e in found["status"]["conditions"]}
            return entries.get("Progressing") == "ProgressDeadlineExceeded"

        await eventually(stuck)
        found = await get(c, DEPLOYMENT, "web")
        assert found is not None
        assert found["status"]["availableReplicas"] >= 3

    play(tmp_path, body)


def test_labels_decide_whose_pod_it_is(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(DEPLOYMENT, deployment(2))
        await eventually(rolled_out(c))
        one = (await pods(c))[0]["metadata"]["name"]
        await c.client.patch(POD, one, {"metadata": {"labels": {"app": "loose"}}}, "default")
        await eventually(count(c, 3))
        loose = await get(c, POD, one)
        assert loose is not None

        async def released() -> bool:
            return not (await get(c, POD, one) or {})["metadata"].get("ownerReferences")

        await eventually(released)
        await c.client.patch(POD, one, {"metadata": {"labels": {"app": "web"}}}, "default")
        await eventually(count(c, 2))

    play(tmp_path, body)


# -- DaemonSet and Job


def test_daemon_set_follows_the_nodes(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template()}
        await c.client.create(DAEMON_SET, DAEMON_SET.object("agent", spec=spec))

        def ready(wanted: int) -> Callable[[], Awaitable[bool]]:
            async def check() -> bool:
                status = (await get(c, DAEMON_SET, "agent") or {}).get("status") or {}
                return bool(status.get("numberReady") == status.get("desiredNumberScheduled") == wanted)

            return check

        await eventually(ready(3))
        await c.kubelet.add_node("node4")
        await eventually(ready(4))
        assert sorted(p["spec"]["nodeName"] for p in await pods(c)) == ["node1", "node2", "node3", "node4"]
        await c.client.delete(NODE, "node1")
        await eventually(ready(3))
        await c.client.patch(DAEMON_SET, "agent", {"spec": {"template": template("new")}}, "default")

        async def updated() -> bool:
            return await ready(3)() and {p["spec"]["containers"][0]["image"] for p in await pods(c)} == {"new"}

        await eventually(updated)

    play(tmp_path, body)


def job(annotations: dict[str, str], **spec: Any) -> Object:
    return JOB.object("j", spec={"template": template("x", annotations, restartPolicy="Never"), **spec})


def ended(c: Cluster, kind: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        entries = (await get(c, JOB, "j") or {}).get("status", {}).get("conditions") or []
        return any(e["type"] == kind and e["status"] == "True" for e in entries)

    return check


def test_job_completes(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(JOB, job({ENDS: "Succeeded"}, completions=5, parallelism=2))
        await eventually(ended(c, "Complete"))
        found = await get(c, JOB, "j")
        assert found is not None
        assert found["status"]["succeeded"] == 5
        assert len(await pods(c)) == 5
        assert {p["metadata"]["labels"]["job-name"] for p in await pods(c)} == {"j"}

    play(tmp_path, body)


def test_job_fails_and_its_pods_stay_for_their_logs(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(JOB, job({ENDS: "Failed"}, backoffLimit=2))
        await eventually(ended(c, "Failed"))
        assert len(await pods(c)) == 3

    play(tmp_path, body, config=OperatorConfig(job_retry_seconds=0.02))


def test_finished_job_goes_with_its_pods_after_its_time(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(JOB, job({ENDS: "Succeeded"}, ttlSecondsAfterFinished=1))
        await eventually(ended(c, "Complete"))
        await eventually(is_gone(c, JOB, "j"))
        await eventually(count(c, 0))

    play(tmp_path, body)


# -- speed


def test_three_nodes_and_ten_pods_are_quick(tmp_path: Path) -> None:
    """The control plane's share of ``up``: well under the two seconds that the whole may take."""

    async def body(c: Cluster) -> None:
        began = asyncio.get_running_loop().time()
        await c.client.create(DEPLOYMENT, deployment(10))
        await eventually(rolled_out(c))
        assert asyncio.get_running_loop().time() - began < 1.0

    play(tmp_path, body)

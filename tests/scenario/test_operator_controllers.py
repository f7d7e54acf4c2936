"""The controllers against the real API server, with a paper kubelet: what people see when they apply manifests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from control_plane import ENDS, HOLD, Cluster, cluster, eventually, node_object
from glasshive.api.resources import (
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    EVENT,
    JOB,
    NAMESPACE,
    NODE,
    POD,
    REPLICA_SET,
    SERVICE,
    SERVICE_ACCOUNT,
    Resource,
)
from glasshive.errors import ApiError
from glasshive.ipam.cluster_pool import Block
from glasshive.kube.client import Propagation
from glasshive.kube.objects import Object
from glasshive.operator import OperatorConfig

Body = Callable[[Cluster], Awaitable[None]]


def play(folder: Path, body: Body, nodes: int = 3, config: OperatorConfig | None = None) -> None:
    async def run() -> None:
        async with cluster(folder, nodes, config) as c:
            await body(c)

    asyncio.run(run())


def template(image: str = "echo", annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    metadata = {"labels": {"app": "web"}, "annotations": annotations or {}}
    return {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": image}], **spec}}


def deployment(replicas: int = 3, name: str = "web", image: str = "echo", **more: Any) -> Object:
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(image), **more}
    return DEPLOYMENT.object(name, spec=spec)


def a_pod(name: str, **spec: Any) -> Object:
    return POD.object(name, spec={"containers": [{"name": "c", "image": "echo"}], **spec})


async def get(c: Cluster, resource: Resource, name: str, namespace: str = "default") -> Object | None:
    try:
        return await c.client.get(resource, name, namespace if resource.namespaced else "")
    except ApiError as error:
        if error.code != 404:
            raise
        return None


async def pods(c: Cluster, namespace: str = "default", **more: str) -> list[Object]:
    return (await c.client.list(POD, namespace, **more)).items


def rolled_out(c: Cluster, name: str = "web") -> Callable[[], Awaitable[bool]]:
    """The same questions that ``kubectl rollout status`` asks."""

    async def check() -> bool:
        found = await get(c, DEPLOYMENT, name)
        assert found is not None
        status, replicas = found.get("status") or {}, found["spec"]["replicas"]
        if found["metadata"]["generation"] > status.get("observedGeneration", 0):
            return False
        fields = ("updatedReplicas", "replicas", "availableReplicas")
        return all(status.get(field, 0) == replicas for field in fields)

    return check


def count(c: Cluster, wanted: int, **more: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return len(await pods(c, **more)) == wanted

    return check


def is_gone(c: Cluster, resource: Resource, name: str, namespace: str = "default") -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return await get(c, resource, name, namespace) is None

    return check


def reported(c: Cluster, reason: str, part: str, namespace: str = "default") -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        events = (await c.client.list(EVENT, namespace)).items
        return any(e["reason"] == reason and part in e["message"] for e in events)

    return check


# -- nodes


def test_nodes_get_pod_cidrs_that_do_not_overlap_and_are_reused(tmp_path: Path) -> None:
    config = OperatorConfig(pod_blocks=[Block.parse("10.244.0.0/22", 24), Block.parse("fd00:10:244::/62", 64)])

    async def body(c: Cluster) -> None:
        async def all_have() -> bool:
            return all(n["spec"].get("podCIDRs") for n in (await c.client.list(NODE)).items)

        await eventually(all_have)
        found = {n["metadata"]["name"]: n["spec"]["podCIDRs"] for n in (await c.client.list(NODE)).items}
        assert len({cidr for cidrs in found.values() for cidr in cidrs}) == 8
        assert all(n["spec"]["podCIDR"] == n["spec"]["podCIDRs"][0] for n in (await c.client.list(NODE)).items)
        await c.kubelet.add_node("node5")
        await eventually(reported(c, "CIDRNotAvailable", "all 4 blocks of /24 in 10.244.0.0/22"))
        await c.client.delete(NODE, "node2")
        await eventually(all_have)
        late = await get(c, NODE, "node5")
        assert late is not None
        assert late["spec"]["podCIDRs"] == found["node2"]

    play(tmp_path, body, 4, config)


def test_pod_cidrs_survive_the_operator(tmp_path: Path) -> None:
    async def first(c: Cluster) -> None:
        async def all_have() -> bool:
            return all(n["spec"].get("podCIDRs") for n in (await c.client.list(NODE)).items)

        await eventually(all_have)

    async def second(c: Cluster) -> None:
        before = {n["metadata"]["name"]: n["spec"]["podCIDRs"] for n in (await c.client.list(NODE)).items}
        await c.kubelet.add_node("node9")

        async def has() -> bool:
            return bool((await get(c, NODE, "node9") or {}).get("spec", {}).get("podCIDRs"))

        await eventually(has)
        after = {n["metadata"]["name"]: n["spec"]["podCIDRs"] for n in (await c.client.list(NODE)).items}
        assert before.items() <= after.items()
        assert after["node9"] not in before.values()

    play(tmp_path, first)
    play(tmp_path, second, 0)


def test_pods_of_a_deleted_node_go(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(DEPLOYMENT, deployment(4))
        await eventually(rolled_out(c))
        await c.client.delete(NODE, "node1")
        await eventually(count(c, 0, field_selector="spec.nodeName=node1"))
        await eventually(rolled_out(c))
        assert len(await pods(c)) == 4

    play(tmp_path, body, 2)


# -- scheduling


def test_a_pod_that_nobody_takes_says_why_for_every_node_and_runs_when_one_can(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.patch(NODE, "node1", {"spec": {"unschedulable": True}})
        taint = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}
        await c.client.patch(NODE, "node2", {"spec": {"taints": [taint]}, "metadata": {"labels": {"disk": "ssd"}}})
        await c.client.create(POD, a_pod("picky", nodeSelector={"disk": "ssd"}))
        text = "0/3 nodes are available: node1, node3: node selector disk=ssd does not match; node2: untolerated taint"
        await eventually(reported(c, "FailedScheduling", text))

        async def condition() -> bool:
            found = await get(c, POD, "picky")
            entries = (found or {}).get("status", {}).get("conditions") or []
            return any(e["type"] == "PodScheduled" and e["reason"] == "Unschedulable" for e in entries)

        await eventually(condition)
        await c.client.patch(NODE, "node3", {"metadata": {"labels": {"disk": "ssd"}}})
        await eventually(count(c, 1, field_selector="spec.nodeName=node3"))

    play(tmp_path, body)


def test_preset_node_and_other_schedulers_are_respected(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(POD, a_pod("preset", nodeName="node2"))
        await c.client.create(POD, a_pod("foreign", schedulerName="somebody-else"))
        await c.client.create(POD, a_pod("plain"))
        await eventually(count(c, 2, field_selector="status.phase=Running"))
        foreign = await get(c, POD, "foreign")
        assert foreign is not None
        assert "nodeName" not in foreign["spec"]

    play(tmp_path, body)


def test_pods_that_came_before_their_nodes_wait_and_full_nodes_refuse(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(POD, a_pod("early"))
        await eventually(reported(c, "FailedScheduling", "the cluster has no nodes"))
        node = node_object("node1")
        node["status"]["allocatable"]["pods"] = "1"
        await c.client.create(NODE, node)
        await c.client.patch(NODE, "node1", {"status": node["status"]}, subresource="status")
        await eventually(count(c, 1, field_selector="status.phase=Running"))
        await c.client.create(POD, a_pod("late"))
        await eventually(reported(c, "FailedScheduling", "maximum of 1 pods reached"))
        await c.client.delete(POD, "early", "default", grace_seconds=0)
        await eventually(count(c, 1, field_selector="status.phase=Running"))

    play(tmp_path, body, 0)


def test_pods_find_and_avoid_each_other(tmp_path: Path) -> None:
    """Client near to its server, two servers apart: what connectivity checks are made of."""

    async def body(c: Cluster) -> None:
        def wish(kind: str, app: str) -> Object:
            required = [{"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "kubernetes.io/hostname"}]
            return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": required}}

        async def put(name: str, affinity: Object) -> None:
            made = a_pod(name, affinity=affinity)
            made["metadata"]["labels"] = {"app": name.partition("-")[0]}
            await c.client.create(POD, made)

        await put("client", wish("podAffinity", "server"))  # has to wait for a server
        await asyncio.gather(*(put(f"server-{i}", wish("podAntiAffinity", "server")) for i in range(4)))
        await eventually(count(c, 4, field_selector="status.phase=Running"))
        where = {p["metadata"]["name"]: p["spec"].get("nodeName") for p in await pods(c)}
        servers = [node for name, node in where.items() if name.startswith("server") and node]
        assert sorted(servers) == ["node1", "node2", "node3"]
        assert where["client"] in servers
        await eventually(reported(c, "FailedScheduling", "pod anti-affinity keeps away"))

    play(tmp_path, body)


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


# -- services


def test_endpoint_slices_follow_the_pods(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80}], "ipFamilyPolicy": "RequireDualStack"}
        await c.client.create(SERVICE, SERVICE.object("web", spec=spec))
        await c.client.create(DEPLOYMENT, deployment(4))

        def endpoints(wanted: int) -> Callable[[], Awaitable[bool]]:
            async def check() -> bool:
                found = (await c.client.list(ENDPOINT_SLICE, label_selector="kubernetes.io/service-name=web")).items
                ready = [e for s in found for e in s.get("endpoints") or [] if e["conditions"]["ready"]]
                return {s["addressType"] for s in found} == {"IPv4", "IPv6"} and len(ready) == wanted

            return check

        await eventually(endpoints(8))
        await c.client.patch(DEPLOYMENT, "web", {"spec": {"replicas": 1}}, "default")
        await eventually(endpoints(2))
        for found in (await c.client.list(ENDPOINT_SLICE, label_selector="kubernetes.io/service-name=web")).items:
            await c.client.delete(ENDPOINT_SLICE, found["metadata"]["name"], "default")
        await eventually(endpoints(2))
        await c.client.delete(SERVICE, "web", "default")

        async def none() -> bool:
            found = (
                await c.client.list(ENDPOINT_SLICE, "default", label_selector="kubernetes.io/service-name=web")
            ).items
            return not found

        await eventually(none)

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

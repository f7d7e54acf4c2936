"""Nodes, scheduling and services: the controllers against the real API server, with a paper kubelet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from control_plane import (
    Cluster,
    a_pod,
    count,
    deployment,
    eventually,
    get,
    node_object,
    play,
    pods,
    reported,
    rolled_out,
)
from glasshive.api.resources import (
    DEPLOYMENT,
    ENDPOINT_SLICE,
    NODE,
    POD,
    SERVICE,
)
from glasshive.ipam.cluster_pool import Block
from glasshive.kube.objects import Object
from glasshive.operator import OperatorConfig

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
        await eventually(count(c, 4))  # the Deployment's status may still be that of before
        await eventually(rolled_out(c))
        assert {p["spec"].get("nodeName") for p in await pods(c)} == {"node2"}

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

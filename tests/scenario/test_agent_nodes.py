"""Nodes come, change and go: routes and the ipcache of every other node follow; what is not ours stays."""

from __future__ import annotations

import asyncio

import pytest

from agent_cluster import AgentCluster, agent_cluster
from control_plane import eventually
from glasshive.api.resources import NODE
from glasshive.bpf import Map
from glasshive.model.address import parse

pytestmark = [pytest.mark.root, pytest.mark.timeout(60)]

FOREIGN = "198.51.100.0/24"


async def join(cluster: AgentCluster, address: str) -> None:
    await cluster.client.create(NODE, NODE.object("node9", spec={"podCIDRs": ["10.244.9.0/24"]}))
    status = {"addresses": [{"type": "InternalIP", "address": address}]}
    await cluster.client.patch(NODE, "node9", {"status": status}, subresource="status")


async def route(cluster: AgentCluster, prefix: str) -> str:
    _, out = await cluster.run_in(cluster.paths.node_netns("node1"), "ip", "route", "show", prefix)
    return out.strip()


async def entry(cluster: AgentCluster, address: str, length: int) -> dict | None:
    rows = await cluster.ask("node1", "/v1/maps/ipcache")
    return next((row for row in rows if row["addr"] == address and row["prefixlen"] == 96 + length), None)


def spoil(cluster: AgentCluster) -> None:
    """Write two wrong entries behind the agent's back."""
    with Map.open(f"/sys/fs/bpf/glasshive/{cluster.config.name}/node1/maps/ipcache") as ipcache:
        for address in ("198.51.100.7", "172.30.0.11"):
            ipcache.update({"prefixlen": 128, "addr": parse(address)}, {"identity": 4242})
    with Map.open(f"/sys/fs/bpf/glasshive/{cluster.config.name}/node1/maps/endpoints") as endpoints:
        endpoints.update(parse("10.244.1.77"), {"ifindex": 4242, "id": 77})


def test_a_node_that_joins_moves_and_leaves() -> None:
    async def scenario() -> None:
        async with agent_cluster("f-nodes", nodes=1, ip_families=("ipv4",)) as cluster:
            space = cluster.paths.node_netns("node1")
            await cluster.run_in(space, "ip", "route", "add", FOREIGN, "via", "172.30.255.254")
            spoil(cluster)
            await join(cluster, "172.30.0.19")

            async def via(address: str) -> bool:
                found = await entry(cluster, "10.244.9.0", 24)
                shown = await route(cluster, "10.244.9.0/24")
                return f"via {address} dev eth0" in shown and bool(found) and found["node_addr"] == address

            await eventually(lambda: via("172.30.0.19"), 5, "a new node's pod prefix must be routed")
            assert await entry(cluster, "198.51.100.7", 32) is None, "what nobody claims is removed"
            known = {row["address"] for row in await cluster.ask("node1", "/v1/maps/endpoints")}
            assert known == {"172.30.0.11", "10.244.1.1"}
            own = await entry(cluster, "172.30.0.11", 32)
            assert own is not None
            assert own["identity"] == 1, "what was changed by somebody is mended"
            node = await entry(cluster, "172.30.0.19", 32)
            assert node is not None
            assert node["identity"] == 6, "remote-node"
            moved = {"addresses": [{"type": "InternalIP", "address": "172.30.0.20"}]}
            await cluster.client.patch(NODE, "node9", {"status": moved}, subresource="status")
            await eventually(lambda: via("172.30.0.20"), 5, "a node's new address must be followed")
            assert await entry(cluster, "172.30.0.19", 32) is None
            await cluster.client.delete(NODE, "node9")

            async def gone() -> bool:
                return not await route(cluster, "10.244.9.0/24") and not await entry(cluster, "10.244.9.0", 24)

            await eventually(gone, 5, "a node that left must not be routed to")
            assert "172.30.255.254" in await route(cluster, FOREIGN), "routes of others are not touched"
            assert "gh_host" in await route(cluster, "10.244.1.0/24")

    asyncio.run(scenario())


def test_views_of_the_agent_answer_and_refuse_in_words() -> None:
    async def scenario() -> None:
        async with agent_cluster("f-views", nodes=1, ip_families=("ipv4",)) as cluster:
            await cluster.add_pod("web", "node1", app="web")
            maps = {row["name"] for row in await cluster.ask("node1", "/v1/maps")}
            assert {"endpoints", "ipcache", "conntrack", "nat", "drops", "events"} <= maps
            assert "there is no map none" in (await cluster.ask("node1", "/v1/maps/none"))["error"]
            assert "has no entries to list" in (await cluster.ask("node1", "/v1/maps/events"))["error"]
            assert "not a number" in (await cluster.ask("node1", "/v1/maps/ipcache?limit=x"))["error"]
            assert len(await cluster.ask("node1", "/v1/maps/ipcache?limit=2")) == 2
            (endpoint,) = await cluster.ask("node1", "/v1/endpoints")
            assert (endpoint["pod"], endpoint["namespace"], endpoint["hostInterface"]) == ("web", "default", "gh1")
            assert "k8s:app=web" in endpoint["labels"]
            status = await cluster.ask("node1", "/v1/status")
            assert status["ready"]
            assert status["endpoints"] == 1
            assert status["podMtu"] == 1500
            assert status["rssBytes"] < 110e6

    asyncio.run(scenario())

"""Agents on a real fabric: pods reach each other, on one node and across nodes, natively and through the tunnel."""

from __future__ import annotations

import asyncio

import pytest

from agent_cluster import AgentCluster, agent_cluster
from control_plane import eventually
from glasshive.api.resources import POD

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]


SPEC = {"nodeName": "node1", "containers": [{"name": "main", "image": "none"}]}


def addresses_of(result: dict) -> list[str]:
    return [ip["address"].split("/")[0] for ip in result["ips"]]


@pytest.mark.parametrize(
    ("routing", "families"),
    [
        ("native", ("ipv4", "ipv6")),
        ("tunnel", ("ipv4", "ipv6")),
        ("native", ("ipv6",)),
        ("tunnel", ("ipv6",)),
        ("native", ("ipv4",)),
    ],
)
def test_pods_reach_each_other_and_the_nodes(routing: str, families: tuple[str, ...]) -> None:
    async def scenario() -> None:
        name = f"f-{routing}-{len(families)}{families[0][-1]}"
        async with agent_cluster(name, nodes=2, routing=routing, ip_families=families) as cluster:
            one = addresses_of(await cluster.add_pod("one", "node1", app="one"))
            two = addresses_of(await cluster.add_pod("two", "node1", app="two"))
            three = addresses_of(await cluster.add_pod("three", "node2", app="three"))
            assert len(one) == len(families)
            for address in (*two, *three):
                assert await cluster.ping("one", address), address
            for address in one:
                assert await cluster.ping("three", address), address
            await nodes_and_pods(cluster, one, three)
            await identities_agree(cluster, one[0])

    asyncio.run(scenario())


async def nodes_and_pods(cluster: AgentCluster, one: list[str], three: list[str]) -> None:
    """A node's own processes reach local and remote pods; pods reach both nodes' router addresses."""
    space = cluster.paths.node_netns("node1")
    for address in (*one, *three):
        code, out = await cluster.run_in(space, "ping", "-c", "2", "-i", "0.1", "-W", "1", address)
        assert code == 0, out
    for node in ("node1", "node2"):
        status = await cluster.ask(node, "/v1/status")
        for address in (*status["routers"], *status["addresses"]):
            assert await cluster.ping("one", address), f"{node} {address}"


async def identities_agree(cluster: AgentCluster, address: str) -> None:
    """The same address has the same identity in both nodes' ipcache, and it is one with its labels."""
    numbers = set()
    for node in ("node1", "node2"):
        rows = await cluster.ask(node, "/v1/maps/ipcache")
        numbers |= {row["identity"] for row in rows if row["addr"] == address and row["prefixlen"] == 128}
    (number,) = numbers
    assert number >= 256
    known = {row["number"]: row["labels"] for row in await cluster.ask("node2", "/v1/identities")}
    assert "k8s:app=one" in known[number]
    assert "k8s:io.kubernetes.pod.namespace=default" in known[number]


def test_masquerade_to_the_world_and_drops_with_a_reason() -> None:
    async def scenario() -> None:
        async with agent_cluster("f-world", nodes=1) as cluster:
            await cluster.add_pod("one", "node1", app="one")
            assert await cluster.ping("one", "203.0.113.10"), "the world's address, behind masquerade"
            assert await cluster.ping("one", "2001:db8:ffff::10")
            space = cluster.netns_of("one")
            await cluster.run_in(space, "ip", "addr", "add", "10.244.1.99/32", "dev", "eth0")
            code, _ = await cluster.run_in(space, "ping", "-c1", "-W1", "-I", "10.244.1.99", "203.0.113.10")
            assert code != 0
            drops = {row["reason"]: row for row in await cluster.ask("node1", "/v1/drops")}
            assert drops["invalid-source-ip"]["packets"] == 1
            assert drops["invalid-source-ip"]["direction"] == "egress"
            records = (await cluster.ask("node1", "/v1/drop-records"))["records"]
            (spoofed,) = [one for one in records if one["reason"] == "invalid-source-ip"]
            assert (spoofed["source"], spoofed["destination"]) == ("10.244.1.99", "203.0.113.10")
            assert spoofed["protocol"] == "ICMP"
            nat = await cluster.ask("node1", "/v1/maps/nat")
            assert {row["addr"] for row in nat} >= {"172.30.0.11"}

    asyncio.run(scenario())


def test_departure_leaves_nothing_and_requests_are_idempotent() -> None:
    async def scenario() -> None:
        async with agent_cluster("f-del", nodes=1) as cluster:
            first = await cluster.add_pod("one", "node1", app="one")
            await cluster.add_pod("two", "node1", app="two")
            assert await cluster.attach("one", "node1") == first, "a repeated ADD gives the same answer"
            assert await cluster.cni("CHECK", "one") == {}
            assert await cluster.ping("one", addresses_of(await cluster.cni("ADD", "two"))[0])
            stolen = addresses_of(first)[0]
            await cluster.run_in(cluster.netns_of("one"), "ip", "addr", "del", f"{stolen}/32", "dev", "eth0")
            assert (await cluster.cni("CHECK", "one"))["details"] == f"eth0 lacks the address {stolen}"
            await cluster.run_in(cluster.paths.node_netns("node1"), "ip", "link", "del", "gh1")
            damaged = await cluster.cni("CHECK", "one")
            assert damaged["code"] == 102
            assert "gh1 (index 100001) is missing" in damaged["details"]
            for name in ("one", "two"):
                await cluster.remove_pod(name)
                assert await cluster.cni("DEL", name) == {}
            assert (await cluster.cni("CHECK", "one"))["code"] == 3
            assert await cluster.ask("node1", "/v1/endpoints") == []
            assert all(row["flags"] for row in await cluster.ask("node1", "/v1/maps/endpoints")), "only the node's own"
            await eventually_no_trace(cluster, addresses_of(first))

    asyncio.run(scenario())


async def eventually_no_trace(cluster: AgentCluster, addresses: list[str]) -> None:
    async def gone() -> bool:
        rows = await cluster.ask("node1", "/v1/maps/conntrack")
        cache = await cluster.ask("node1", "/v1/maps/ipcache")
        seen = {row["low"] for row in rows} | {row["high"] for row in rows} | {row["addr"] for row in cache}
        return not seen & set(addresses)

    await eventually(gone, 10, "connections or ipcache entries of a departed pod are still there")


def test_an_exhausted_pool_says_so_and_gc_frees_it() -> None:
    async def scenario() -> None:
        async with agent_cluster("f-full", nodes=1, ip_families=("ipv4",), pod_cidrs=["10.244.1.0/29"]) as cluster:
            for number in range(5):
                await cluster.add_pod(f"p{number}", "node1")
            await cluster.client.create(POD, POD.object("p5", "default", spec=SPEC))
            refused = await cluster.attach("p5", "node1")
            assert refused["code"] == 100
            assert "10.244.1.0/29" in refused["msg"]
            assert "all 5 pod addresses are in use" in refused["msg"]
            assert len(await cluster.ask("node1", "/v1/endpoints")) == 5
            keep = [{"containerID": f"sandbox-p{n}", "ifname": "eth0"} for n in range(4)]
            config = {"cniVersion": "1.1.0", "cni.dev/valid-attachments": keep}
            assert await cluster.ask("node1", "/cni", {"command": "GC", "config": config}) == {}
            assert len(await cluster.ask("node1", "/v1/endpoints")) == 4
            assert "code" not in await cluster.attach("p5", "node1"), "the address that rested is given at once"

    asyncio.run(scenario())


def test_broken_requests_are_refused_in_words() -> None:
    async def scenario() -> None:
        async with agent_cluster("f-bad", nodes=1, ip_families=("ipv4",)) as cluster:
            for body, code, words in (
                ({"command": "JUMP"}, 4, "CNI_COMMAND is 'JUMP'"),
                ({"command": "ADD", "containerId": "x"}, 4, "needs CNI_NETNS, CNI_IFNAME"),
                ({"command": "ADD", "containerId": "x", "netns": "/none", "ifname": "eth0"}, 4, "K8S_POD_NAME"),
                (
                    {
                        "command": "ADD", "containerId": "x", "netns": "/run/netns/none", "ifname": "eth0",
                        "args": {"K8S_POD_NAME": "a", "K8S_POD_NAMESPACE": "b"},
                    },
                    4, "/run/netns/none does not exist",
                ),
                ({"command": "STATUS", "config": {"cniVersion": "9.9"}}, 1, "9.9 is not supported"),
                ([], 6, "JSON object"),
            ):  # fmt: skip
                answer = await cluster.ask("node1", "/cni", body)
                assert answer["code"] == code, answer
                assert words in answer["msg"]
            assert await cluster.ask("node1", "/cni", {"command": "STATUS"}) == {}
            assert await cluster.ask("node1", "/v1/endpoints") == []

    asyncio.run(scenario())

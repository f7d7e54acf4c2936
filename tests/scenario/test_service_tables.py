"""Services in, tables of a running agent out: written, changed, taken over by the next agent."""

from __future__ import annotations

import asyncio

import pytest

from agent_cluster import agent_cluster
from control_plane import eventually
from glasshive.api.resources import ENDPOINT_SLICE, SERVICE
from glasshive.maps.services import ServiceKernel
from service_tables import endpoint, ids, kernel, service, slice_of, table

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]
NAME = "svcc-tables"


def ours(found: ServiceKernel) -> dict[str, str]:
    """The table without the Service of the Kubernetes API, which the server makes."""
    return {place: told for place, told in table(found).items() if not place.startswith("10.96.0.1:")}


async def become(found: ServiceKernel, wanted: dict[str, str]) -> None:
    try:
        await eventually(lambda: ours(found) == wanted, 15)
    except AssertionError:
        assert ours(found) == wanted


def test_cluster_ips_follow_their_endpoints_and_outlive_the_agent() -> None:
    asyncio.run(_follow())


async def _follow() -> None:
    async with agent_cluster(NAME, nodes=1) as cluster:
        found = kernel(NAME, "node1")
        client = cluster.client
        await become(found, {})
        await client.create(
            SERVICE,
            service("web", "http=80", "dns=53/UDP", clusterIP="10.96.0.80", clusterIPs=["10.96.0.80", "fd00:10:96::80"],
                    ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="RequireDualStack"),
        )  # fmt: skip
        nobody = "ClusterIP [reject] nobody"
        places = ("10.96.0.80:80/TCP", "10.96.0.80:53/UDP", "[fd00:10:96::80]:80/TCP", "[fd00:10:96::80]:53/UDP")
        await become(found, dict.fromkeys(places, nobody))
        first, _ = ids(found)
        ends = [endpoint("10.244.1.5", "node1"), endpoint("10.244.2.6", "node2")]
        made = await client.create(ENDPOINT_SLICE, slice_of("web", ends, "http=8080", "dns=5353/UDP"))
        both = "ClusterIP [] 10.244.1.5:8080/TCP local, 10.244.2.6:8080/TCP"
        wanted = {
            "10.96.0.80:80/TCP": both,
            "10.96.0.80:53/UDP": "ClusterIP [] 10.244.1.5:5353/UDP local, 10.244.2.6:5353/UDP",
            "[fd00:10:96::80]:80/TCP": nobody,
            "[fd00:10:96::80]:53/UDP": nobody,
        }
        await become(found, wanted)
        known = ids(found)
        assert known[0] == first, "a frontend keeps its id while its backends come and go"

        cluster.kill_agent("node1")
        made["endpoints"] = [endpoint("10.244.2.6", "node2"), endpoint("10.244.2.7", "node2")]
        await client.replace(ENDPOINT_SLICE, made)
        assert ours(found) == wanted, "without an agent the tables stay"
        cluster.start_agent("node1")
        await cluster.agent_ready("node1")
        wanted["10.96.0.80:80/TCP"] = "ClusterIP [] 10.244.2.6:8080/TCP, 10.244.2.7:8080/TCP"
        wanted["10.96.0.80:53/UDP"] = "ClusterIP [] 10.244.2.6:5353/UDP, 10.244.2.7:5353/UDP"
        await become(found, wanted)
        frontends, backends = ids(found)
        assert frontends == known[0], "the next agent keeps frontends' ids"
        for place, number in known[1].items():
            assert backends.get(place, number) == number, "and backends' numbers"
        assert not set(known[1].values()) & {n for place, n in backends.items() if place not in known[1]}

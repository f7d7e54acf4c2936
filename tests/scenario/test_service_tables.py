"""Services in, tables of a running agent out: written, changed, taken over by the next agent."""

from __future__ import annotations

import asyncio
import random
from typing import Any

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


def test_churn_with_agents_that_die_ends_where_the_api_is() -> None:
    asyncio.run(_churn())


async def _churn() -> None:
    """Services and their endpoints come, change and go at random while the agent is killed and started again.

    At every moment each frontend leads only to backends that its Service had lately; in the end the tables are what
    the API says, frontends that lived on have their ids, and what the agent thinks is what the kernel has.
    """
    chance = random.Random(7)
    async with agent_cluster("svcc-churn", nodes=1) as cluster:
        client, found = cluster.client, kernel("svcc-churn", "node1")
        wanted: dict[int, list[int]] = {}
        lately: dict[str, set[str]] = {}
        for step in range(60):
            number = chance.randrange(8)
            ends = sorted(chance.sample(range(1, 30), chance.randrange(4)))
            if number not in wanted:
                await client.create(SERVICE, service(f"s{number}", clusterIP=f"10.96.1.{number}"))
                await client.create(ENDPOINT_SLICE, churned(number, ends))
                wanted[number] = ends
            elif chance.random() < 0.25:
                await client.delete(SERVICE, f"s{number}", "default")
                await client.delete(ENDPOINT_SLICE, f"s{number}-ipv4", "default")
                del wanted[number]
            else:
                changes = {"endpoints": churned(number, ends)["endpoints"]}
                await client.patch(ENDPOINT_SLICE, f"s{number}-ipv4", changes, "default")
                wanted[number] = ends
            lately.setdefault(f"10.96.1.{number}:80/TCP", set()).update(f"10.244.9.{end}:8080/TCP" for end in ends)
            for place, told in ours(found).items():
                members = told.partition("] ")[2].replace(" (gone)", "").split(", ")
                assert members == ["nobody"] or set(members) <= lately[place], (place, told)
            if step % 20 == 10:
                cluster.kill_agent("node1")
                known = ids(found)[0]
                cluster.start_agent("node1")
                await cluster.agent_ready("node1")
                now = ids(found)[0]
                assert all(now[place] == known[place] for place in known.keys() & now.keys())
        told = {f"10.96.1.{number}:80/TCP": told_of(ends) for number, ends in wanted.items()}
        await become(found, told)
        rows = {row["frontend"]: row for row in await cluster.ask("node1", "/v1/services/frontends")}
        assert {place: row["id"] for place, row in rows.items()} == {
            str(place): number for place, number in ids(found)[0].items()
        }
        status = (await cluster.ask("node1", "/v1/status"))["features"]["services"]
        assert status["trouble"] == ""
        assert status["frontends"] == len(told) + 1


def churned(number: int, ends: list[int]) -> dict[str, Any]:
    return slice_of(f"s{number}", [endpoint(f"10.244.9.{end}", "node2") for end in ends])


def told_of(ends: list[int]) -> str:
    members = ", ".join(sorted(f"10.244.9.{end}:8080/TCP" for end in ends))
    return f"ClusterIP [] {members}" if ends else "ClusterIP [reject] nobody"

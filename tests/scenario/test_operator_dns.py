"""The Service kube-dns: made, made again, and not made where somebody else has its address."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from control_plane import Cluster, PaperKubelet, eventually, get, play, served
from glasshive.api.resources import SERVICE
from glasshive.operator import Operator, OperatorConfig
from glasshive.operator.cluster_dns import NAME, NAMESPACE

CONFIG = OperatorConfig(dns_addresses=["10.96.0.10", "fd00:10:96::a"])


async def stands(c: Cluster) -> bool:
    service = await get(c, SERVICE, NAME, NAMESPACE)
    return service is not None and service["spec"]["clusterIPs"] == list(CONFIG.dns_addresses)


def test_made_and_made_again(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await eventually(lambda: stands(c))
        service = await get(c, SERVICE, NAME, NAMESPACE)
        assert service is not None
        assert service["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
        assert {(p["port"], p["protocol"]) for p in service["spec"]["ports"]} == {(53, "UDP"), (53, "TCP")}
        uid = service["metadata"]["uid"]
        await c.client.delete(SERVICE, NAME, NAMESPACE)

        async def again() -> bool:
            found = await get(c, SERVICE, NAME, NAMESPACE)
            return found is not None and found["metadata"]["uid"] != uid

        await eventually(again)
        assert await stands(c)

    play(tmp_path, body, config=CONFIG)


def test_waits_for_its_address(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as client:
            spec = {"clusterIP": "10.96.0.10", "ports": [{"port": 80}]}
            await client.create(SERVICE, SERVICE.object("thief", "default", spec=spec))
            operator = Operator(client, CONFIG)
            task = asyncio.create_task(operator.run())
            c = Cluster(client, operator, PaperKubelet(client))
            await asyncio.wait_for(operator.ready.wait(), 20)
            assert not await stands(c)
            await client.delete(SERVICE, "thief", "default")
            await eventually(lambda: stands(c))
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(run())

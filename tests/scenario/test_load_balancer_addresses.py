"""LB IPAM as people meet it: pools and services in, addresses and conditions out, over restarts of the operator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from control_plane import Cluster, eventually, get, play, reported
from glasshive.api.load_balancer_pool import CILIUM_LOAD_BALANCER_IP_POOL as POOL
from glasshive.api.load_balancer_request import IPS, SATISFIED, SHARING_KEY
from glasshive.api.resources import NODE, SERVICE
from glasshive.kube.objects import Object
from glasshive.operator import Operator, OperatorConfig

CONFIG = OperatorConfig(service_cidrs=("10.96.0.0/16", "fd00:10:96::/112"))


def pool(name: str, *cidrs: str, **spec: Any) -> Object:
    return POOL.object(name, spec={"blocks": [{"cidr": cidr} for cidr in cidrs], **spec})


def service(name: str, port: int = 80, *, annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    whole = {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": port}], **spec}
    return SERVICE.object(name, metadata={"annotations": annotations or {}}, spec=whole)


def conditions(obj: Object | None) -> dict[str, Object]:
    return {one["type"]: one for one in ((obj or {}).get("status") or {}).get("conditions") or ()}


def has(c: Cluster, name: str, reason: str, *addresses: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        found = await get(c, SERVICE, name)
        ingress = ((found or {}).get("status") or {}).get("loadBalancer", {}).get("ingress") or []
        said = conditions(found).get(SATISFIED, {})
        return [one["ip"] for one in ingress] == [*addresses] and said.get("reason", "") == reason

    return check


def pool_says(c: Cluster, name: str, kind: str, text: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        said = conditions(await get(c, POOL, name)).get(f"cilium.io/{kind}", {})
        return text in (said.get("status"), said.get("message")) or text in str(said.get("message"))

    return check


def test_services_get_addresses_when_a_pool_comes_and_lose_them_when_it_goes(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(SERVICE, service("early"))
        await c.client.create(SERVICE, service("other", loadBalancerClass="example.com/other"))
        await c.client.create(POOL, pool("blue", "10.9.0.0/30", allowFirstLastIPs="No"))
        await eventually(has(c, "early", "satisfied", "10.9.0.1"))
        await c.client.create(SERVICE, service("second", loadBalancerClass="io.cilium/l2-announcer"))
        await eventually(has(c, "second", "satisfied", "10.9.0.2"))
        await c.client.create(SERVICE, service("third"))
        await eventually(has(c, "third", "out_of_ips"))
        await eventually(reported(c, "LoadBalancerPending", "no IPv4 address left in pool blue"))
        await eventually(pool_says(c, "blue", "IPsAvailable", "0"))
        await eventually(pool_says(c, "blue", "IPsUsed", "2"))
        await c.client.delete(SERVICE, "second", "default")
        await eventually(has(c, "third", "satisfied", "10.9.0.2"))
        await c.client.patch(SERVICE, "third", {"spec": {"type": "ClusterIP"}}, "default")
        await eventually(has(c, "third", ""))
        await c.client.delete(POOL, "blue")
        await eventually(has(c, "early", "no_pool"))
        assert await has(c, "other", "")()

    play(tmp_path, body, nodes=1, config=CONFIG)


def test_a_pool_that_overlaps_is_not_used_and_says_with_what(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(POOL, pool("pods", "10.244.128.0/24"))
        await c.client.create(POOL, pool("services", "10.96.7.0/24"))
        await eventually(pool_says(c, "pods", "PoolConflict", "the pods' CIDR 10.244.0.0/16"))
        await eventually(pool_says(c, "services", "PoolConflict", "the services' CIDR 10.96.0.0/16"))
        await eventually(reported(c, "PoolConflict", "10.244.128.0/24 overlaps"))
        await c.client.create(SERVICE, service("web"))
        await eventually(has(c, "web", "no_pool"))
        await c.client.create(POOL, pool("good", "10.9.0.0/24"))
        await eventually(has(c, "web", "satisfied", "10.9.0.0"))
        # A machine joins whose address the pool gives away: what is given stays, nothing new is given.
        await c.kubelet.add_node("late")
        status = {"addresses": [{"type": "InternalIP", "address": "10.9.0.77"}]}
        await c.client.patch(NODE, "late", {"status": status}, subresource="status")
        await eventually(pool_says(c, "good", "PoolConflict", "address 10.9.0.77 of node late"))
        await c.client.create(SERVICE, service("next"))
        await eventually(has(c, "next", "no_pool"))
        assert await has(c, "web", "satisfied", "10.9.0.0")()

    play(tmp_path, body, nodes=1, config=CONFIG)


def test_requests_and_sharing_as_annotations_say(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(POOL, pool("p", "10.9.0.0/24", "fd00:9::/120"))
        wish = {IPS[0]: "10.9.0.50", SHARING_KEY[0]: "k"}
        await c.client.create(SERVICE, service("a", annotations=wish))
        await c.client.create(SERVICE, service("b", 443, annotations=wish))
        await c.client.create(SERVICE, service("clash", annotations=wish))
        await c.client.create(SERVICE, service("field", loadBalancerIP="10.9.0.51"))
        await c.client.create(SERVICE, service("odd", annotations={IPS[0]: "10.9.0.300"}))
        await c.client.create(SERVICE, service("both", ipFamilyPolicy="RequireDualStack"))
        await eventually(has(c, "a", "satisfied", "10.9.0.50"))
        await eventually(has(c, "b", "satisfied", "10.9.0.50"))
        await eventually(has(c, "clash", "already_allocated_incompatible_service"))
        await eventually(has(c, "field", "satisfied", "10.9.0.51"))
        await eventually(has(c, "odd", "invalid_request"))
        await eventually(has(c, "both", "satisfied", "10.9.0.0", "fd00:9::"))
        await c.client.delete(SERVICE, "a", "default")
        await eventually(has(c, "clash", "satisfied", "10.9.0.50"))

    play(tmp_path, body, nodes=1, config=CONFIG)


def test_addresses_are_the_same_after_a_restart_of_the_operator(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(POOL, pool("p", "10.9.0.0/24"))
        for name in "abc":
            await c.client.create(SERVICE, service(name))
            await eventually(has(c, name, "satisfied", f"10.9.0.{'abc'.index(name)}"))
        await c.client.delete(SERVICE, "a", "default")
        await eventually(pool_says(c, "p", "IPsUsed", "2"))
        second = asyncio.create_task(Operator(c.client, CONFIG).run())  # takes over while the first still works
        try:
            await c.client.create(SERVICE, service("d"))
            await eventually(has(c, "d", "satisfied", "10.9.0.0"))
            assert await has(c, "b", "satisfied", "10.9.0.1")()
            assert await has(c, "c", "satisfied", "10.9.0.2")()
        finally:
            second.cancel()
            with suppress(asyncio.CancelledError):
                await second

    play(tmp_path, body, nodes=1, config=CONFIG)

"""LB IPAM over the API under random changes: an address is given once, unless it is shared; a restart changes none."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

from control_plane import Cluster, eventually, play
from glasshive.api.load_balancer_pool import CILIUM_LOAD_BALANCER_IP_POOL as POOL
from glasshive.api.load_balancer_pool import pool_of
from glasshive.api.load_balancer_request import IPS, SATISFIED, SHARING_KEY, request_of
from glasshive.api.resources import SERVICE
from glasshive.api.selectors import matches
from glasshive.errors import ApiError
from glasshive.ipam.address_sharing import may_share
from glasshive.kube.objects import Object
from glasshive.model.span import number
from glasshive.operator import Operator

NAMES = [f"s{at}" for at in range(12)]
POOLS = {"p": ["10.9.0.0/30"], "q": ["10.9.1.0/30", "fd00:9::/126"], "r": ["10.9.0.2/31"]}
STEPS = 120


def service(chance: random.Random, name: str) -> Object:
    annotations = {}
    if chance.random() < 0.3:
        annotations[SHARING_KEY[0]] = chance.choice("kl")
    if chance.random() < 0.3:
        annotations[IPS[0]] = chance.choice(["10.9.0.1", "10.9.1.2", "fd00:9::1", "192.0.2.1"])
    ports = [{"name": f"p{at}", "port": at} for at in chance.sample([80, 81, 82], chance.randint(1, 2))]
    spec = {
        "type": chance.choice(["LoadBalancer"] * 4 + ["ClusterIP"]),
        "ipFamilyPolicy": chance.choice(["SingleStack", "RequireDualStack", "PreferDualStack"]),
        "ports": ports,
    }
    return SERVICE.object(name, metadata={"labels": {"color": chance.choice(["red", "blue"])},
                                          "annotations": annotations}, spec=spec)  # fmt: skip


async def step(c: Cluster, chance: random.Random) -> None:
    kind = chance.random()
    with suppress(ApiError):  # it is not there, or is there already
        if kind < 0.5:
            await c.client.create(SERVICE, service(chance, chance.choice(NAMES)))
        elif kind < 0.7:
            await c.client.delete(SERVICE, chance.choice(NAMES), "default")
        elif kind < 0.8:
            labels = {"metadata": {"labels": {"color": chance.choice(["red", "blue"])}}}
            await c.client.patch(SERVICE, chance.choice(NAMES), labels, "default")
        elif kind < 0.9:
            name = chance.choice(list(POOLS))
            spec: dict[str, Any] = {"blocks": [{"cidr": one} for one in POOLS[name]]}
            if chance.random() < 0.3:
                spec["serviceSelector"] = {"matchLabels": {"color": "blue"}}
            await c.client.create(POOL, POOL.object(name, spec=spec))
        elif kind < 0.95:
            await c.client.delete(POOL, chance.choice(list(POOLS)))
        else:
            change = {"spec": {"disabled": chance.random() < 0.5}}
            await c.client.patch(POOL, chance.choice(list(POOLS)), change)


def held(one: Object) -> list[int]:
    return [number(i["ip"]) for i in ((one.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []]


async def fault(c: Cluster) -> str:
    """What does not fit in what everybody can see; "" if all does."""
    pools = {one["metadata"]["name"]: one for one in (await c.client.list(POOL)).items}
    services = [one for one in (await c.client.list(SERVICE, "default")).items if one["metadata"]["name"] in NAMES]
    known = [pool_of(one) for one in pools.values()]
    holders: dict[int, list[Object]] = {}
    for one in services:
        name, request, addresses = one["metadata"]["name"], request_of(one), held(one)
        told = next((x for x in (one["status"].get("conditions") or []) if x["type"] == SATISFIED), None)
        if (one["spec"]["type"] == "LoadBalancer") != (told is not None):
            return f"{name}: {one['spec']['type']} with condition {told}"
        if told is None and addresses:
            return f"{name} keeps {addresses}"
        whole = len(addresses) == len(request.wanted or request.families)
        if told is not None and told["status"] == "True" and not (whole or request.prefers_both):
            return f"{name} is satisfied with {addresses}"
        for address in addresses:
            holders.setdefault(address, []).append(one)
            if not any(address in span and matches(p.selector, request.labels) for p in known for span in p.spans):
                return f"{name} has {address} of no pool for it"
    for address, users in holders.items():
        if any(may_share(request_of(a), request_of(b)) for a in users for b in users if a is not b):
            return f"{address} is held by {[one['metadata']['name'] for one in users]}"
    for pool in known:
        used = sum(1 for one in holders if any(one in span for span in pool.spans))
        listed = (pools[pool.name].get("status") or {}).get("conditions") or []
        if str(used) not in [x["message"] for x in listed if x["type"] == "cilium.io/IPsUsed"]:
            return f"pool {pool.name} has {used} used and says {listed}"
    return ""


def test_whatever_happens_addresses_are_given_once(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)

    async def body(c: Cluster) -> None:
        chance = random.Random(seed)
        await c.client.create(POOL, POOL.object("p", spec={"blocks": [{"cidr": one} for one in POOLS["p"]]}))
        for at in range(STEPS):
            await step(c, chance)
            if at % 40 == 39:
                last = ""

                async def fits() -> bool:
                    nonlocal last
                    last = await fault(c)
                    return not last

                try:
                    await eventually(fits)
                except AssertionError:
                    raise AssertionError(f"seed {seed}, step {at}: {last}") from None
        before = {one["metadata"]["name"]: held(one) for one in (await c.client.list(SERVICE, "default")).items}
        second = asyncio.create_task(Operator(c.client).run())
        try:
            await eventually(lambda: fault_free(c))
            after = {one["metadata"]["name"]: held(one) for one in (await c.client.list(SERVICE, "default")).items}
            assert after == before
        finally:
            second.cancel()
            with suppress(asyncio.CancelledError):
                await second

    play(tmp_path, body, nodes=1)


async def fault_free(c: Cluster) -> bool:
    return not await fault(c)

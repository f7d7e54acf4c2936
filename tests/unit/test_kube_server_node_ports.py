"""Node ports: given once, kept, freed, refused; dry runs take nothing. Pure, and through a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane import served
from glasshive.api.resources import SERVICE
from glasshive.errors import ApiError
from glasshive.kube.client import Client
from glasshive.kube.objects import Object
from glasshive.kube.server.service_port import NodePorts, slots_of


def spec(*ports: Object, kind: str = "NodePort", **more: Any) -> Object:
    return {"type": kind, "ports": [dict(p) for p in ports], **more}


WEB = {"port": 80, "protocol": "TCP"}
DNS = ({"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"})


def test_numbers_are_given_kept_and_shared_between_protocols() -> None:
    ports = NodePorts()
    first = spec(WEB, *DNS)
    assert ports.assign(first, {}, "a/one") == []
    numbers = [p["nodePort"] for p in first["ports"]]
    assert numbers[1] == numbers[2] != numbers[0]
    assert all(30086 <= number <= 32767 for number in numbers)
    again = spec(WEB, *DNS)
    assert ports.assign(again, first, "a/one") == []
    assert again == first
    other = spec({**WEB, "nodePort": numbers[0]})
    (fault,) = ports.assign(other, {}, "a/two")
    assert "already allocated (by service a/one)" in str(fault)
    ports.release({"spec": first}, "a/one", keep={"spec": spec(*first["ports"][1:])})
    assert ports.assign(other, {}, "a/two") == []


@pytest.mark.parametrize(
    ("given_spec", "before", "part"),
    [
        (spec({**WEB, "nodePort": 80}), {}, "valid ports is 30000-32767"),
        (spec({**WEB, "nodePort": 30001}, {"port": 81, "protocol": "TCP", "nodePort": 30001}), {}, "given twice"),
        (spec({**WEB, "nodePort": 30001}, kind="ClusterIP"), {}, "may not be used when `type` is 'ClusterIP'"),
    ],
)
def test_refusals(given_spec: Object, before: Object, part: str) -> None:
    ports = NodePorts()
    faults = ports.assign(given_spec, before, "a/b")
    assert part in str(faults[0])
    assert ports.assign(spec({**WEB, "nodePort": 30001}), {}, "c/d") == [], "a refused Service took nothing"


def test_changing_the_type() -> None:
    ports = NodePorts()
    before = spec(WEB)
    assert ports.assign(before, {}, "a/b") == []
    after = {**spec(*before["ports"]), "type": "ClusterIP"}
    assert ports.assign(after, before, "a/b") == []
    assert slots_of({"spec": after}) == []
    balancer = spec(WEB, kind="LoadBalancer", allocateLoadBalancerNodePorts=False)
    assert ports.assign(balancer, {}, "a/c") == []
    assert slots_of({"spec": balancer}) == []
    assert ports.assign(spec(WEB, kind="LoadBalancer"), {}, "a/d") == []


def test_a_full_range_is_said() -> None:
    ports = NodePorts(range(30000, 30003))
    for number in range(3):
        assert ports.assign(spec(WEB), {}, f"a/{number}") == []
    (fault,) = ports.assign(spec(WEB), {}, "a/late")
    assert "all node ports from 30000 to 30002 are in use" in str(fault)
    assert ports.assign(spec(DNS[0]), {}, "a/udp") == [], "another protocol may share a number"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.booleans()), max_size=40))
def test_no_slot_has_two_holders(steps: list[tuple[int, int, bool]]) -> None:
    ports, stored = NodePorts(range(30000, 30012)), dict[str, Object]()
    for name, wish, remove in steps:
        owner, before = f"a/{name}", stored.get(f"a/{name}")
        if remove and before is not None:
            ports.release({"spec": before}, owner)
            del stored[owner]
            continue
        wanted = spec(*({"port": n, "protocol": "TCP" if n % 2 else "UDP"} for n in range(wish)))
        if not ports.assign(wanted, before or {}, owner):
            if before is not None:
                ports.release({"spec": before}, owner, keep={"spec": wanted})
            stored[owner] = wanted
        held = [slot for one in stored.values() for slot in slots_of({"spec": one})]
        assert len(held) == len(set(held))
        assert set(ports._held) == set(held)


def play(folder: Path, body: Callable[[Client], Awaitable[None]]) -> None:
    async def run() -> None:
        async with served(folder) as client:
            await body(client)

    asyncio.run(run())


def test_through_the_server(tmp_path: Path) -> None:
    async def body(client: Client) -> None:
        made = await client.create(SERVICE, SERVICE.object("one", spec=spec(WEB)))
        number = made["spec"]["ports"][0]["nodePort"]
        with pytest.raises(ApiError, match="already allocated") as caught:
            await client.create(SERVICE, SERVICE.object("two", spec=spec({**WEB, "nodePort": number})))
        assert (caught.value.code, caught.value.reason) == (422, "Invalid")
        # What was refused, and what was only tried, holds neither its address nor its port.
        path = SERVICE.path("default")
        for ip, port in (("10.96.0.77", 31077), ("10.96.0.77", 31077)):
            wish = SERVICE.object("dry", spec=spec({**WEB, "nodePort": port}, clusterIP=ip))
            await client.request("POST", path, body=wish, query={"dryRun": "All"})
        wish = SERVICE.object("real", spec=spec({**WEB, "nodePort": 31077}, clusterIP="10.96.0.77"))
        await client.create(SERVICE, wish)
        await client.delete(SERVICE, "one", "default")
        await client.create(SERVICE, SERVICE.object("two", spec=spec({**WEB, "nodePort": number})))
        changed = await client.patch(SERVICE, "two", {"spec": {"type": "ClusterIP"}}, "default")
        assert "nodePort" not in changed["spec"]["ports"][0]
        await client.create(SERVICE, SERVICE.object("three", spec=spec({**WEB, "nodePort": number})))

    play(tmp_path, body)
    # A new server over the same store knows what is held.

    async def later(client: Client) -> None:
        with pytest.raises(ApiError, match="already allocated"):
            await client.create(SERVICE, SERVICE.object("x", spec=spec({**WEB, "nodePort": 31077})))

    play(tmp_path, later)

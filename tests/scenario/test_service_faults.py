"""Bad input on Services: a condition and an event on the one that is wrong, and on no other; gone when it is mended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from control_plane import Cluster, deployment, eventually, get, play, reported
from glasshive.api.resources import DEPLOYMENT, EVENT, SERVICE
from glasshive.api.service_conditions import ACCEPTED, SELECTS
from glasshive.kube.objects import Object
from glasshive.operator import OperatorConfig

CONFIG = OperatorConfig(service_cidrs=("10.96.0.0/16", "fd00:10:96::/112"))


def service(name: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    whole = {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec}
    return SERVICE.object(name, metadata={"annotations": annotations or {}}, spec=whole)


def says(c: Cluster, name: str, kind: str, reason: str = "", text: str = "") -> Callable[[], Awaitable[bool]]:
    """Whether a Service has the condition, or (without a reason) has it not."""

    async def check() -> bool:
        found = await get(c, SERVICE, name)
        listed = ((found or {}).get("status") or {}).get("conditions") or []
        said: Object = next((one for one in listed if one["type"] == kind), {})
        return said.get("reason", "") == reason and text in said.get("message", "")

    return check


def test_of_two_that_want_the_same_address_and_port_the_younger_is_told(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(DEPLOYMENT, deployment(1))
        await c.client.create(SERVICE, service("a", externalIPs=["192.0.2.7"]))
        await eventually(says(c, "a", ACCEPTED))
        await c.client.create(SERVICE, service("b", externalIPs=["192.0.2.7"]))
        await c.client.create(SERVICE, service("other", ports=[{"port": 81}], externalIPs=["192.0.2.7"]))
        await eventually(says(c, "b", ACCEPTED, "port_clash", "192.0.2.7:80/TCP belongs to Service default/a"))
        await eventually(reported(c, "ServicePortClash", "192.0.2.7:80/TCP"))
        assert await says(c, "a", ACCEPTED)()
        assert await says(c, "other", ACCEPTED)()
        await c.client.delete(SERVICE, "a", "default")
        await eventually(says(c, "b", ACCEPTED))

    play(tmp_path, body, nodes=1, config=CONFIG)


def test_addresses_of_the_cluster_and_fields_that_make_no_sense_are_named(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(DEPLOYMENT, deployment(1))
        await c.client.create(SERVICE, service("mine", externalIPs=["10.96.0.1"]))
        await c.client.create(SERVICE, service("pods", externalIPs=["10.244.0.9"]))
        odd = {"service.cilium.io/forwarding-mode": "teleport"}
        await c.client.create(SERVICE, service("odd", annotations=odd))
        await c.client.create(SERVICE, service("good"))
        await eventually(says(c, "mine", ACCEPTED, "address_in_cluster", "the services' CIDR 10.96.0.0/16"))
        await eventually(says(c, "pods", ACCEPTED, "address_in_cluster", "the pods' CIDR"))
        await eventually(says(c, "odd", ACCEPTED, "invalid_field", "'teleport' is none of dsr, snat"))
        await eventually(reported(c, "ServiceFieldInvalid", "teleport"))
        assert await says(c, "good", ACCEPTED)()
        await c.client.patch(SERVICE, "odd", {"metadata": {"annotations": None}}, "default")
        await eventually(says(c, "odd", ACCEPTED))

    play(tmp_path, body, nodes=1, config=CONFIG)


def test_a_selector_that_matches_nothing_is_told_until_it_matches(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(SERVICE, service("lonely"))
        await c.client.create(SERVICE, SERVICE.object("manual", spec={"ports": [{"port": 80}]}))
        await eventually(says(c, "lonely", SELECTS, "no_pods", "spec.selector matches no pod"))
        await eventually(reported(c, "ServiceSelectsNothing", "matches no pod"))
        assert await says(c, "manual", SELECTS)()
        await c.client.create(DEPLOYMENT, deployment(1))
        await eventually(says(c, "lonely", SELECTS))
        events = (await c.client.list(EVENT, "default")).items
        told = [one for one in events if one["reason"] == "ServiceSelectsNothing"]
        assert [(one["involvedObject"]["name"], one["count"]) for one in told] == [("lonely", 1)]

    play(tmp_path, body, nodes=1, config=CONFIG)

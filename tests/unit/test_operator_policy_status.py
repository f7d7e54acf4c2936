"""What the operator says of policies in their status, and when it says something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from control_plane import Cluster, eventually, get, node_object, play, reported
from glasshive.api.admin_network_policy import ADMIN_NETWORK_POLICY
from glasshive.api.cilium_policy_schema import CILIUM_NETWORK_POLICY
from glasshive.api.resources import NETWORK_POLICY, NODE, Resource
from policy_objects import admin_policy, cilium_policy, network_policy

CONTRADICTION = "endpointSelector: {}\ningress: [{fromEntities: [host]}]\ningressDeny: [{fromEntities: [all]}]"
NETWORKS = "priority: 1\nsubject: {namespaces: {}}\negress: [{action: Deny, to: [networks: [203.0.113.0/24]]}]"


async def condition(c: Cluster, resource: Resource, name: str, kind: str = "Valid") -> dict[str, Any]:
    obj = await get(c, resource, name) or {}
    found = [one for one in (obj.get("status") or {}).get("conditions") or () if one["type"] == kind]
    return found[0] if found else {}


def test_rules_that_cannot_decide_are_named_in_the_status(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(CILIUM_NETWORK_POLICY, cilium_policy(CONTRADICTION, "default"))

        async def said() -> bool:
            valid = await condition(c, CILIUM_NETWORK_POLICY, "cnp")
            return valid.get("status") == "True" and "spec.ingress[0]: can never allow anything" in valid["message"]

        await eventually(said)

    play(tmp_path, body, nodes=1)


def test_an_object_that_stops_making_sense_keeps_its_last_valid_form_in_its_status(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        good, bad = "endpointSelector: {}\ningress: [{}]", "endpointSelector: {}\ningress: [{fromCIDR: [nonsense]}]"
        await c.client.create(CILIUM_NETWORK_POLICY, cilium_policy(good, "default"))

        async def status() -> dict[str, Any]:
            return (await get(c, CILIUM_NETWORK_POLICY, "cnp") or {}).get("status") or {}

        async def enforced(generation: int, form: object) -> bool:
            found = await status()
            return (found.get("enforcedGeneration"), found.get("enforcedForm")) == (generation, form)

        await eventually(lambda: enforced(1, None))
        await c.client.patch(CILIUM_NETWORK_POLICY, "cnp", cilium_policy(bad, "default"), "default")
        await eventually(lambda: enforced(1, {"spec": cilium_policy(good)["spec"]}))
        await c.client.patch(CILIUM_NETWORK_POLICY, "cnp", cilium_policy(good, "default"), "default")
        await eventually(lambda: enforced(3, None))

    play(tmp_path, body, nodes=1)


def test_a_node_that_joins_may_make_a_rule_impossible(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        await c.client.create(ADMIN_NETWORK_POLICY, admin_policy(NETWORKS))

        async def status_is(status: str) -> bool:
            return (await condition(c, ADMIN_NETWORK_POLICY, "anp")).get("status") == status

        await eventually(lambda: status_is("True"))
        await c.client.create(NODE, node_object("late", podCIDRs=["203.0.113.0/25"]))
        await eventually(lambda: status_is("False"))
        assert "which holds addresses of the cluster" in (await condition(c, ADMIN_NETWORK_POLICY, "anp"))["message"]

    play(tmp_path, body, nodes=1)


def test_a_kind_without_conditions_is_answered_with_an_event(tmp_path: Path) -> None:
    async def body(c: Cluster) -> None:
        # The server lets both pass; odd host bits are a warning, the second block is the fault.
        odd = network_policy(
            "ingress: [{from: [{ipBlock: {cidr: 10.0.0.1/8}}, {ipBlock: {cidr: '::ffff:10.0.0.0/104'}}]}]", "default"
        )
        answer = await c.client.create(NETWORK_POLICY, odd)
        assert answer["metadata"]["name"] == "np"
        await eventually(reported(c, "InvalidPolicy", "is an IPv4 address in IPv6 form"))

    play(tmp_path, body, nodes=1)

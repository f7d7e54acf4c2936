"""What the agent reads policies with: referred objects and the cluster's own addresses, as they are now."""

from __future__ import annotations

import asyncio
from pathlib import Path

from control_plane import eventually, served
from glasshive import api
from glasshive.agent.policy.kept import KeptForms
from glasshive.agent.policy.sources import PolicySources
from glasshive.api.admin_network_policy import ADMIN_NETWORK_POLICY
from glasshive.api.cidr_group import CILIUM_CIDR_GROUP
from glasshive.api.cilium_policy_schema import CILIUM_NETWORK_POLICY
from glasshive.api.policy_reading import Options
from glasshive.api.policy_status import form_of
from glasshive.api.resources import CUSTOM_RESOURCE_DEFINITION
from glasshive.model.address import Prefix, parse
from glasshive.model.node import NodeFacts
from glasshive.model.policy import CidrPeer, PolicyObject
from policy_objects import admin_policy, cilium_policy

DENY = "priority: 1\nsubject: {namespaces: {}}\negress: [{action: Deny, to: [networks: [10.0.0.0/8]]}]"
GROUP = "endpointSelector: {}\ningress: [{fromCIDRSet: [{cidrGroupRef: office}]}]"


GOOD, BAD = "endpointSelector: {}\ningress: [{}]", "endpointSelector: {}\ningress: [{fromCIDR: [nonsense]}]"


def test_an_agent_that_has_not_seen_the_last_valid_form_is_told_of_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as client:
            for crd in api.crds():
                await client.create(CUSTOM_RESOURCE_DEFINITION, crd)
            old, bad = cilium_policy(GOOD, "default"), cilium_policy(BAD, "default")
            await client.create(CILIUM_NETWORK_POLICY, bad)
            sources = PolicySources(client, Options(), lambda *_: None, KeptForms(tmp_path / "kept.json"))
            sources.start()
            await sources.wait_synced(10)
            sources.flush()
            assert [one.default_denies for one in sources.in_force()] == [()], "there is no earlier form"
            status = {"enforcedGeneration": 0, "enforcedForm": form_of(old)}
            await client.patch(CILIUM_NETWORK_POLICY, "cnp", {"status": status}, "default", subresource="status")
            await eventually(lambda: all(one.default_denies for one in sources.in_force()))
            await sources.stop()

    asyncio.run(scenario())


def test_objects_are_read_again_when_what_they_refer_to_changes(tmp_path: Path) -> None:
    told: dict[str, PolicyObject] = {}
    nodes: list[NodeFacts] = []

    def on_objects(put: list[PolicyObject], _gone: object) -> None:
        told.update({one.ref.kind: one for one in put})

    def prefixes() -> list[str]:
        rules = told["CiliumNetworkPolicy"].rules if "CiliumNetworkPolicy" in told else ()
        return [str(one.prefix) for rule in rules for one in rule.peers or () if isinstance(one, CidrPeer)]

    def severities() -> list[str]:
        policy = told.get("AdminNetworkPolicy")
        return [one.severity for one in policy.findings] if policy else []

    async def scenario() -> None:
        async with served(tmp_path) as client:
            for crd in api.crds():
                await client.create(CUSTOM_RESOURCE_DEFINITION, crd)
            kept = KeptForms(tmp_path / "kept.json")
            sources = PolicySources(client, Options(), on_objects, kept, lambda: nodes)
            sources.start()
            await sources.wait_synced(10)
            await client.create(ADMIN_NETWORK_POLICY, admin_policy(DENY))
            await client.create(CILIUM_NETWORK_POLICY, cilium_policy(GROUP, "default"))
            # Nobody knows the cluster's addresses yet: the rule is honoured for what is outside, and says so.
            await eventually(lambda: severities() == ["warning"])
            await eventually(lambda: "CiliumNetworkPolicy" in told)
            assert prefixes() == []
            nodes.append(NodeFacts("node1", (parse("172.30.0.11"),), (Prefix.parse("172.20.0.0/24"),)))
            sources.node_moved("node1")
            await eventually(lambda: severities() == [])
            denied = told["AdminNetworkPolicy"].rules
            assert denied
            # Now the rule would have to refuse pods by their addresses; its last valid form stays in force.
            nodes.append(NodeFacts("node2", (), (Prefix.parse("10.244.1.0/24"),)))
            sources.node_moved("node2")
            await eventually(lambda: any(not parsed.valid for _, parsed in sources.objects()))
            await eventually(lambda: severities() == ["warning"])
            assert [one.rules for one in sources.in_force() if one.ref.kind == "AdminNetworkPolicy"] == [denied]
            group = CILIUM_CIDR_GROUP.object("office", spec={"externalCIDRs": ["192.0.2.0/24"]})
            await client.create(CILIUM_CIDR_GROUP, group)
            await eventually(lambda: prefixes() == ["192.0.2.0/24"])
            await sources.stop()

    asyncio.run(scenario())

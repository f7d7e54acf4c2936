"""Explanations: the verdict is the oracle's, the proposed change does flip it, and the words name what matters."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from glasshive.model.address import Prefix
from glasshive.model.labels import Labels
from glasshive.model.policy import (
    Action,
    CidrPeer,
    DefaultDeny,
    Direction,
    LabelPeer,
    Match,
    ObjectRef,
    Peer,
    PolicyObject,
    Ports,
    Rule,
    RuleOrigin,
    Subject,
    SubjectKind,
    Tier,
    Verdict,
)
from glasshive.policy.engine import PutObject
from glasshive.policy.explain import Explanation, Why, explain
from glasshive.policy.ports import NamedPort
from glasshive.policy.remedy import NEW, Remedy
from glasshive.policy.trace import Party, trace
from policy_cases import Case, cases
from policy_oracle import Cluster, Packet, judge
from policy_tables import Tables
from policy_worlds import engine_of, everybody, identity_of

pytestmark = pytest.mark.timeout(600)  # the machine may be busy

EXAMPLES = int(os.environ.get("GLASSHIVE_POLICY_EXAMPLES", "20"))
ALLOWED = {None: True, Verdict.ALLOW: True, Verdict.DENY_DEFAULT: False, Verdict.DENY_RULE: False}


def passes(cluster: Cluster, packet: Packet) -> bool:
    said = judge(cluster, packet)
    return said is None or said.verdict == "allow"


def edited(cluster: Cluster, remedy: Remedy) -> Cluster:
    """The objects with the proposed edits made."""
    swapped = {before: after for before, after in remedy.edits if before is not None}
    objects = []
    for one in cluster.objects:
        rules = tuple(after for rule in one.rules if (after := swapped.get(rule, rule)) is not None)
        objects.append(replace(one, rules=rules))
    new = tuple(after for before, after in remedy.edits if before is None and after is not None)
    return replace(cluster, objects=(*objects, PolicyObject(NEW, new)))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(cases(), st.data())
def test_the_verdict_is_right_and_the_proposed_change_flips_it(case: Case, data: st.DataObject) -> None:
    engine, tables = engine_of(case), Tables()
    tables.carry_out(engine.apply(*everybody(case), *(PutObject(one) for one in case.cluster.objects)))
    for subject in (*case.pods, case.nodes[0]):
        peer = data.draw(st.sampled_from(case.everybody))
        for direction in Direction:
            for protocol, port in case.packets:
                packet = Packet(subject, peer, direction, protocol, port)
                told = tell(case, tables, engine, packet)
                was = passes(case.cluster, packet)
                assert told.allowed == was
                assert told.text()
                if case.cluster.mode == "never":
                    assert told.remedy is None
                else:
                    assert told.remedy is not None, "some rule can always turn it round"
                    assert passes(edited(case.cluster, told.remedy), packet) != was, told.remedy.text


def tell(case: Case, tables: Tables, engine, packet: Packet) -> Explanation:  # type: ignore[no-untyped-def]
    peer = packet.peer
    addresses = [Prefix.parse(peer.address)] if peer.address else []
    number = identity_of(case, tables, peer)
    direction = Direction(packet.direction)
    sent = packet.protocol, packet.port
    return explain(engine, packet.subject.name, direction, sent, peer=number, addresses=addresses)


# --- one case each ---

WEB, CLIENT, OTHER = (Party(name, Labels.of([f"k8s:app={name}"])) for name in ("web", "client", "other"))
WORLD = Party("10.1.2.3", addresses=(Prefix.parse("10.1.2.3"),), kind=None)
ON_WEB = Subject(SubjectKind.ENDPOINT, (Match("k8s", "app", "in", frozenset({"web"})),))
REF = ObjectRef("CiliumNetworkPolicy", "default", "web", file="web.yaml")


def app(name: str) -> Peer:
    return LabelPeer((Match("k8s", "app", "in", frozenset({name})),))


def allow(peers: tuple[Peer, ...] | None, ports: tuple[Ports, ...] | None, index: int = 0, **more: object) -> Rule:
    action = more.pop("action", Action.ALLOW)
    origin = RuleOrigin(REF, "ingress", index)
    return Rule(origin, ON_WEB, Direction.INGRESS, action, peers, ports, **more)  # type: ignore[arg-type]


def told(*rules: Rule, source: Party = CLIENT, target: Party = WEB, port: int = 80) -> Explanation:
    value = PolicyObject(REF, rules, (DefaultDeny(REF, ON_WEB, Direction.INGRESS),))
    found = trace([value], source, target, (6, port)).ingress
    assert found is not None
    return found


P80, P8080 = (Ports(6, 80, 80),), (Ports(6, 8080, 8080),)
ROWS = {
    "peer fits": (allow((app("client"),), P8080), CLIENT, Why.PORT, "add 80/TCP to"),
    "port fits": (allow((app("other"),), P80), CLIENT, Why.PEER, "add k8s:app=client to the peers of"),
    "pod by CIDR": (
        allow((CidrPeer(Prefix.parse("10.0.0.0/8")),), None),
        replace(CLIENT, addresses=(Prefix.parse("10.244.1.5"),)),
        Why.HAS_IDENTITY,
        "add k8s:app=client to the peers of",
    ),
    "excepted": (
        allow((CidrPeer(Prefix.parse("10.0.0.0/8"), (Prefix.parse("10.1.0.0/16"),)),), None),
        WORLD,
        Why.EXCEPT,
        "add 10.1.2.3/32 to the peers of",
    ),
    "no such name": (allow((app("client"),), (Ports(6, name="http"),)), CLIENT, Why.NAME, "add 80/TCP to"),
    "needs a proxy": (
        allow((app("client"),), P80, needs=frozenset({"l7"})),
        CLIENT,
        Why.NEEDS,
        "take what is not enforced yet (l7) out of",
    ),
}


@pytest.mark.parametrize(("rule", "source", "why", "change"), ROWS.values(), ids=ROWS)
def test_near_misses_and_the_change_that_would_do(rule: Rule, source: Party, why: Why, change: str) -> None:
    found = told(rule, source=source)
    assert found.verdict is Verdict.DENY_DEFAULT
    assert found.isolated_by == (REF,)
    assert [one.why for one in found.near if one.origin == rule.origin] == [why]
    assert found.remedy is not None
    assert found.remedy.text.startswith(change)
    assert "default deny holds by CiliumNetworkPolicy default/web" in found.text()


def test_a_deny_rule_is_named_and_the_allow_rule_that_it_beats_too() -> None:
    found = told(allow((app("client"),), None), allow((app("client"),), P80, 1, action=Action.DENY))
    assert found.verdict is Verdict.DENY_RULE
    assert found.rule == RuleOrigin(REF, "ingress", 1)
    assert [(one.origin.index, one.why) for one in found.near] == [(0, Why.OUTRANKED)]
    assert found.remedy is not None
    assert found.remedy.text.startswith("remove CiliumNetworkPolicy default/web of web.yaml, ingress[1]")


def test_an_admin_pass_is_told() -> None:
    pass_on = allow(None, None, 2, action=Action.PASS, tier=Tier.ADMIN)
    found = told(pass_on, allow((app("client"),), P80))
    assert found.allowed
    assert [one.why for one in found.near] == [Why.PASSES]


def test_the_row_is_the_one_in_the_tables() -> None:
    rule = allow((app("client"),), (Ports(6, 80, 95),))
    assert str(told(rule, port=83).row) == "policy 1 ingress, identity 256, 80-95/TCP"
    assert str(told(rule, source=OTHER).row) == "policy 1 ingress, any peer"
    # Offline nobody has given the numbers.
    assert "\n  row          ingress, the identity of the peer, 80-95/TCP\n" in told(rule, port=83).text(offline=True)


def test_a_trace_has_both_sides_and_the_world_none() -> None:
    value = PolicyObject(REF, (allow((app("client"),), (Ports(6, name="http"),)),), ())
    served = replace(WEB, named_ports=frozenset({NamedPort("http", 6, 80)}))
    found = trace([value], CLIENT, served, (6, 80))
    assert found.allowed
    assert found.egress is not None
    assert found.egress.reason() == "no policy selects it in this direction"
    assert trace([value], WORLD, served, (6, 80)).egress is None
    assert trace([value], WORLD, served, (6, 80)).text().endswith("Verdict: ALLOWED")

"""The engine's rows against the oracle, incremental against from scratch, and no third verdict on the way."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from glasshive.model.policy import Direction, Verdict
from glasshive.policy.delta import Delta
from glasshive.policy.engine import (
    Change,
    Engine,
    PutIdentity,
    PutObject,
    PutSubject,
    RemoveIdentity,
    RemoveObject,
    RemoveSubject,
)
from glasshive.policy.resolve import LOCALHOST, SubjectFacts
from policy_cases import Case, cases, policies
from policy_oracle import Packet, judge
from policy_tables import Tables
from policy_tally import TALLY, examples, time_limit
from policy_worlds import engine_of, everybody, identity_of

pytestmark = pytest.mark.timeout(time_limit(2))

EXAMPLES = examples(40)
QUIET = settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
TEXTS = {Verdict.ALLOW: "allow", Verdict.DENY_RULE: "deny-rule", Verdict.DENY_DEFAULT: "deny-default"}


def agree(case: Case, engine: Engine, tables: Tables) -> int:
    """Every packet from and to everybody: the oracle's word and the tables'."""
    compared = 0
    for subject in (*case.pods, case.nodes[0]):
        for peer in case.everybody:
            number = identity_of(case, tables, peer)
            for direction in Direction:
                for protocol, port in case.packets:
                    said = judge(case.cluster, Packet(subject, peer, direction, protocol, port))
                    found = tables.look(subject.name, direction, number, protocol, port)
                    where = f"{subject.name} {direction} {peer.name} {protocol}/{port}"
                    assert (said is None) == (found is None), where
                    compared += 1
                    if said is None or found is None:
                        continue
                    assert TEXTS[found[0]] == said.verdict, where
                    if said.by:
                        assert engine.origin(found[1]) in said.by, where
                    elif found[1]:
                        assert said.verdict == "allow", where
                        assert peer.name == "host" or engine.origin(found[1]) == LOCALHOST.origin, where
    return compared


@QUIET
@given(cases())
def test_rows_say_what_the_oracle_says(case: Case) -> None:
    engine, tables = engine_of(case), Tables()
    tables.carry_out(engine.apply(*everybody(case), *(PutObject(one) for one in case.cluster.objects)))
    TALLY.add("oracle and rows", agree(case, engine, tables))


def canonical(engine: Engine) -> dict[object, object]:
    """An engine's state without numbers that depend on history: per subject, its flags and rows by address block."""
    blocks = {block.identity.number: str(block.prefix) for block in engine.blocks()}
    state: dict[object, object] = {"blocks": sorted(blocks.values())}
    rows = {one.number: one.peers for one in engine.rows()}
    for one in engine.assignments():
        peers = {
            (direction, blocks.get(peer, peer)): found for (direction, peer), found in rows.get(one.number, {}).items()
        }
        state[one.subject] = one.ingress, one.egress, peers
    return state


@st.composite
def histories(draw: st.DrawFn) -> tuple[Case, list[Change]]:
    """A case, and a way to it through objects, identities and subjects that come, change and go."""
    case = draw(cases(max_objects=3))
    wanted = [*everybody(case), *(PutObject(one) for one in case.cluster.objects)]
    detours: list[Change] = []
    for number in draw(st.lists(st.integers(0, 4), max_size=4)):
        other = draw(policies(f"p{number}"))
        detours += [PutObject(other)] + [RemoveObject(other.ref)] * draw(st.integers(0, 1))
        if other.ref not in {one.ref for one in case.cluster.objects}:
            wanted.append(RemoveObject(other.ref))
    for who in draw(st.lists(st.sampled_from(case.pods), max_size=3)):
        labels = draw(st.sampled_from(case.pods)).labels
        detours.append(draw(st.sampled_from((RemoveSubject(who.name), PutSubject(who.name, SubjectFacts(labels))))))
        identity = case.identities[who.name]
        detours.append(draw(st.sampled_from((RemoveIdentity(identity.number), PutIdentity(identity)))))
    mixed = draw(st.permutations([*detours, *draw(st.lists(st.sampled_from(wanted), max_size=8))]))
    return case, [*mixed, *wanted]


@QUIET
@given(histories(), st.integers(1, 4))
def test_any_history_ends_where_a_fresh_engine_begins(history: tuple[Case, list[Change]], step: int) -> None:
    case, changes = history
    engine, tables = engine_of(case), Tables()
    for at in range(0, len(changes), step):
        tables.carry_out(engine.apply(*changes[at : at + step]))
        engine.released(tables.retired)
        tables.retired.clear()
    fresh, whole = engine_of(case), Tables()
    whole.carry_out(fresh.apply(*everybody(case), *(PutObject(one) for one in case.cluster.objects)))
    assert canonical(engine) == canonical(fresh)
    expected = Tables()
    for policy in engine.rows():
        expected.carry_out(Delta(appeared=(policy,)))
    assert (tables.peers, tables.ports) == (expected.peers, expected.ports), "the tables hold what the engine wants"
    assert {b.prefix: b.identity.number for b in engine.blocks()} == tables.blocks
    TALLY.add("oracle and rows after a history", agree(case, engine, tables))

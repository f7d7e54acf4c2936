"""What a change touches and what it leaves alone: shared numbers, rows that are written, objects that are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from glasshive.model.address import Prefix
from glasshive.model.identity import Identity
from glasshive.model.labels import Labels
from glasshive.model.policy import (
    Action,
    CidrPeer,
    DefaultDeny,
    Direction,
    Finding,
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
    Verdict,
)
from glasshive.policy.delta import Assignment, DropBlocks, Flip, Grace, PutBlocks, PutPeers, PutPorts, Retire
from glasshive.policy.engine import (
    Engine,
    PutIdentity,
    PutObject,
    PutSubject,
    RemoveIdentity,
    RemoveObject,
    RemoveSubject,
    SetMode,
)
from glasshive.policy.ports import NamedPort
from glasshive.policy.resolve import Mode, Settings, SubjectFacts
from policy_cases import reserved

WEB, CLIENT, OTHER = (Labels.of([f"k8s:app={name}"]) for name in ("web", "client", "other"))
HTTP = (Ports(6, 80, 80),)


def app(name: str) -> tuple[Match, ...]:
    return (Match("k8s", "app", "in", frozenset({name})),)


def policy(name: str, on: str, *peers: Peer, ports: tuple[Ports, ...] | None = HTTP, count: int = 1) -> PolicyObject:
    ref = ObjectRef("CiliumNetworkPolicy", "n", name)
    subject = Subject(SubjectKind.ENDPOINT, app(on))
    rules = tuple(
        Rule(RuleOrigin(ref, "ingress", at), subject, Direction.INGRESS, Action.ALLOW, peers, ports)
        for at in range(count)
    )
    return PolicyObject(ref, rules, (DefaultDeny(ref, subject, Direction.INGRESS),))


CLIENTS = policy("p", "web", LabelPeer(app("client")))
START = (
    PutIdentity(reserved(1)),
    PutIdentity(reserved(9)),
    PutIdentity(Identity(256, WEB)),
    PutIdentity(Identity(257, CLIENT)),
)


def started(*more: PutObject | PutSubject, **settings: object) -> Engine:
    engine = Engine(Settings(**settings))  # type: ignore[arg-type]
    engine.apply(*START, *more)
    return engine


def web(key: object, *ports: NamedPort) -> PutSubject:
    return PutSubject(key, SubjectFacts(WEB, frozenset(ports)))


def test_the_thousandth_replica_writes_nothing() -> None:
    engine = started(PutObject(CLIENTS), web(0))
    for key in range(1, 1000):
        delta = engine.apply(web(key))
        assert list(delta.steps()) == [Flip((Assignment(key, 1, ingress=True, egress=False),))]
    assert len(engine.rows()) == 1


def test_subjects_that_no_rule_tells_apart_share_a_number() -> None:
    engine = started(PutObject(CLIENTS), web(0), web(1, NamedPort("http", 6, 80)), PutSubject("x", SubjectFacts(OTHER)))
    assert [one.number for one in engine.assignments()] == [1, 1, 0]


def test_named_ports_tell_subjects_apart_only_if_a_rule_uses_them() -> None:
    named = policy("p", "web", LabelPeer(app("client")), ports=(Ports(6, name="http"),))
    engine = started(PutObject(named), web(0, NamedPort("http", 6, 80)), web(1, NamedPort("http", 6, 8080)))
    assert len({one.number for one in engine.assignments()}) == 2


def test_an_identity_that_no_rule_means_writes_nothing() -> None:
    engine = started(PutObject(CLIENTS), web(0))
    assert not engine.apply(PutIdentity(Identity(300, OTHER)))
    assert not engine.apply(RemoveIdentity(300))


def test_an_identity_that_a_rule_means_writes_its_rows_and_takes_them_along() -> None:
    engine = started(PutObject(CLIENTS), web(0))
    came = engine.apply(PutIdentity(Identity(300, CLIENT)))
    assert [type(step) for step in came.steps()] == [PutPorts, PutPeers]
    assert [(one.key.peer, one.before) for one in came.changed] == [(300, None)]
    gone = engine.apply(RemoveIdentity(300))
    assert [(one.key.peer, one.before, one.after) for one in gone.gone] == [(300, came.changed[0].after, None)]


def test_a_policy_change_concerns_those_whom_it_selects() -> None:
    engine = started(PutObject(CLIENTS), web(0), PutSubject("other", SubjectFacts(OTHER)))
    delta = engine.apply(PutObject(policy("q", "other", LabelPeer(app("web")))))
    assert [one.subject for one in delta.flips] == ["other"]
    assert not delta.retired
    assert not engine.apply(PutObject(policy("r", "nobody", LabelPeer(app("web")))))


def test_the_same_object_again_changes_nothing() -> None:
    engine = started(PutObject(CLIENTS), web(0))
    assert not engine.apply(PutObject(CLIENTS))
    assert not engine.apply(PutObject(replace(CLIENTS, description="another")))


def test_a_changed_rule_means_a_new_number_and_the_old_one_is_free_after_its_grace() -> None:
    engine = started(PutObject(CLIENTS), web(0))
    delta = engine.apply(PutObject(policy("p", "web", LabelPeer(app("other")))))
    assert [one.number for one in delta.appeared] == [2]
    assert [one.number for one in delta.retired] == [1]
    kinds = [type(step) for step in delta.steps()]
    assert kinds.index(PutPeers) < kinds.index(Flip) < kinds.index(Grace) < kinds.index(Retire)
    assert [one.number for one in engine.apply(PutObject(CLIENTS)).appeared] == [3], "1 is not free yet"
    engine.released([1])
    assert [one.number for one in engine.apply(RemoveObject(CLIENTS.ref)).retired] == [3]
    assert [one.number for one in engine.apply(PutObject(CLIENTS)).appeared] == [1]


def test_numbers_of_an_earlier_life_are_not_given_until_they_are_free() -> None:
    engine = Engine(taken=[1, 2, 4])
    engine.apply(*START, PutObject(CLIENTS), web(0))
    assert engine.assignments()[0].number == 3
    engine.released([2])
    engine.apply(PutObject(policy("q", "other", LabelPeer(app("web")))), PutSubject("other", SubjectFacts(OTHER)))
    assert engine.assignment("other") == Assignment("other", 2, ingress=True, egress=False)


def test_an_object_that_is_refused_leaves_the_old_one_in_force() -> None:
    engine = started(PutObject(CLIENTS), web(0))
    refused = PolicyObject(CLIENTS.ref, findings=(Finding("error", "spec", "cannot be"),))
    assert not engine.apply(PutObject(refused))
    assert engine.book.objects()[-1] == CLIENTS
    warned = replace(CLIENTS, rules=(), findings=(Finding("warning", "spec", "odd"),))
    assert engine.apply(PutObject(warned)).flips


def test_what_goes_with_the_last_object() -> None:
    engine = started(PutObject(CLIENTS), web(0))
    delta = engine.apply(RemoveObject(replace(CLIENTS.ref, uid="another")))
    assert delta.flips == (Assignment(0, 0, ingress=False, egress=False),)
    assert not engine.rows()
    assert [str(one.origin.object) for one in engine.applicable(0).rules] == []
    assert not engine.apply(RemoveObject(CLIENTS.ref))


def test_blocks_come_with_their_rules_and_go_with_them() -> None:
    ten = CidrPeer(Prefix.parse("10.0.0.0/8"), (Prefix.parse("10.1.0.0/16"),))
    engine = started(PutObject(CLIENTS), web(0))
    delta = engine.apply(PutObject(policy("q", "web", ten)))
    assert {str(one.prefix) for one in delta.blocks_added} == {"10.0.0.0/8", "10.1.0.0/16"}
    kinds = [type(step) for step in delta.steps()]
    assert kinds.index(PutPeers) < kinds.index(PutBlocks) < kinds.index(Grace) < kinds.index(Flip)
    other = engine.apply(PutObject(policy("r", "other", ten)))
    assert not other.blocks_added
    assert not engine.apply(RemoveObject(ObjectRef("CiliumNetworkPolicy", "n", "r"))).blocks_removed
    gone = engine.apply(RemoveObject(ObjectRef("CiliumNetworkPolicy", "n", "q")))
    assert len(gone.blocks_removed) == 2
    kinds = [type(step) for step in gone.steps()]
    assert kinds.index(Flip) < kinds.index(DropBlocks)
    assert not engine.blocks()


@pytest.mark.parametrize(
    ("mode", "flags"), [(Mode.DEFAULT, (True, False)), (Mode.ALWAYS, (True, True)), (Mode.NEVER, (False, False))]
)
def test_modes(mode: Mode, flags: tuple[bool, bool]) -> None:
    engine = started(PutObject(CLIENTS), web(0))
    engine.apply(SetMode(mode))
    found = engine.assignment(0)
    assert found is not None
    assert (found.ingress, found.egress) == flags


def test_always_is_not_for_nodes() -> None:
    engine = started(mode=Mode.ALWAYS)
    engine.apply(PutSubject("node", SubjectFacts(reserved(1).labels, kind=SubjectKind.NODE)))
    assert engine.assignment("node") == Assignment("node", 0, ingress=False, egress=False)


def test_identities_of_equal_rules_have_equal_rows_and_others_none() -> None:
    engine = started(PutObject(CLIENTS), web(0))
    engine.apply(
        *(PutIdentity(Identity(number, Labels.of(["k8s:app=client", f"k8s:n={number}"]))) for number in range(300, 400))
    )
    half = engine.half(0, Direction.INGRESS)
    assert half is not None
    clients = [rows for peer, rows in half.peers.items() if peer >= 300]
    assert len(clients) == 100
    assert all(rows is clients[0] for rows in clients)
    assert 9 not in half.peers, "the world has no row of its own: it is like anybody"
    assert half.anybody.verdict is Verdict.DENY_DEFAULT


def test_subjects_move_and_go() -> None:
    engine = started(PutObject(CLIENTS), web(0))
    moved = engine.apply(PutSubject(0, SubjectFacts(OTHER)))
    assert moved.flips == (Assignment(0, 0, ingress=False, egress=False),)
    assert [one.number for one in moved.retired] == [1]
    assert not engine.apply(RemoveSubject(0), RemoveSubject("nobody"))
    assert engine.assignment(0) is None
    with pytest.raises(KeyError):
        engine.facts(0)


def test_cookies_lead_to_rules() -> None:
    engine = started(PutObject(CLIENTS), web(0))
    half = engine.half(0, Direction.INGRESS)
    assert half is not None
    assert engine.origin(half.peers[257].ports[0].rule) == CLIENTS.rules[0].origin
    assert engine.origin(12345) is None


def test_a_peer_that_no_rule_means_has_rows_for_its_named_ports() -> None:
    ref = ObjectRef("NetworkPolicy", "n", "p")
    subject = Subject(SubjectKind.ENDPOINT, app("web"))
    rule = Rule(RuleOrigin(ref, "egress", 0), subject, Direction.EGRESS, Action.ALLOW, None, (Ports(6, name="http"),))
    engine = started(PutObject(PolicyObject(ref, (rule,), (DefaultDeny(ref, subject, Direction.EGRESS),))), web(0))
    for ports in ((80,), (80, 8080), (), (8080,)):
        names = frozenset(NamedPort("http", 6, port) for port in ports)
        engine.apply(PutIdentity(Identity(257, CLIENT), names))
        half = engine.half(0, Direction.EGRESS)
        assert half is not None
        assert [row.port for row in half.peers[257].ports] == list(ports) if ports else 257 not in half.peers
    assert [change.key.peer for change in engine.apply(RemoveIdentity(257)).gone] == [257]

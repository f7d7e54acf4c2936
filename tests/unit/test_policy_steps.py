"""While a change is carried out, no packet meets a verdict that is neither the old nor the new one.

A packet's look-ups are not one moment: it learns its peer's identity, its subject's number, the peer's row and the port
row one after the other, and the tables may move on in between, though not past a grace. ``readings`` tries every such
interleaving of one packet with the steps of a delta.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Hashable, Iterable, Iterator
from itertools import combinations_with_replacement

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from glasshive.model.address import Prefix
from glasshive.model.identity import Identity
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
    Verdict,
)
from glasshive.policy.delta import Delta, Grace, PeerKey, PortKey
from glasshive.policy.engine import Change, Engine, PutIdentity, PutObject, PutSubject, RemoveObject, SetMode
from glasshive.policy.resolve import Mode, SubjectFacts
from policy_cases import NAMES, RESERVED, WORLD_IPV4, WORLD_IPV6, Case, cases, names_of, policies, reserved
from policy_oracle import Somebody
from policy_tables import Tables
from policy_worlds import engine_of, everybody

pytestmark = pytest.mark.timeout(600)  # the machine may be busy

EXAMPLES = int(os.environ.get("GLASSHIVE_POLICY_EXAMPLES", "30"))
QUIET = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def segments(before: Tables, delta: Delta) -> list[list[Tables]]:
    """The states of the tables, cut at every grace: no packet sees two segments."""
    now = copy.deepcopy(before)
    found = [[copy.deepcopy(now)]]
    for step in delta.steps():
        if isinstance(step, Grace):
            found.append([copy.deepcopy(now)])
        else:
            now.step(step)
            found[-1].append(copy.deepcopy(now))
    return found


Sent = tuple[Hashable, Direction, int | str, tuple[int, int]]
"""Subject, direction, peer (an identity, or an address of the outside), (protocol, port)."""


def reading(states: list[Tables], at: tuple[int, ...], sent: Sent) -> Verdict | None:
    """One packet that reads the ipcache, the subject's number, the peers and the ports at these moments."""
    first, second, third, fourth = (states[one] for one in at)
    subject, direction, peer, (protocol, wanted) = sent
    number = peer if isinstance(peer, int) else first.identity(peer, WORLD_IPV4, WORLD_IPV6)
    mine = second.assigned[subject]
    if not (mine.ingress if direction is Direction.INGRESS else mine.egress):
        return None
    key = PeerKey(mine.number, direction, number)
    if key not in third.peers:
        key = PeerKey(mine.number, direction, 0)
    row = third.peers.get(key)
    if row is None:
        return Verdict.DENY_DEFAULT
    for bits in range(16, -1, -1):
        if row.classes >> bits & 1:
            found = fourth.ports.get(PortKey(key, protocol, wanted >> (16 - bits) << (16 - bits), bits))
            if found is not None:
                return found.verdict
    return row.verdict


def passes(verdict: Verdict | None) -> bool:
    return verdict in (None, Verdict.ALLOW)


def packets(case: Case) -> Iterator[Sent]:
    for subject in (*case.pods[:3], case.nodes[0]):
        for peer in case.everybody:
            for direction in Direction:
                for packet in case.packets[:3]:
                    yield subject.name, direction, place_of(case, peer), packet


def place_of(case: Case, who: Somebody) -> int | str:
    known = case.identities.get(who.name)
    return known.number if known is not None else who.address


def never_a_third(packets: Iterable[Sent], before: Tables, delta: Delta) -> None:
    parts = segments(before, delta)
    first, last = parts[0][0], parts[-1][-1]
    for packet in packets:
        old = passes(reading([first], (0, 0, 0, 0), packet))
        new = passes(reading([last], (0, 0, 0, 0), packet))
        if old != new:
            continue
        for states in parts:
            for at in combinations_with_replacement(range(len(states)), 4):
                ipcache, number, peers, ports = at
                for order in {(ipcache, number, peers, ports), (number, ipcache, peers, ports)}:
                    assert passes(reading(states, order, packet)) == old, (packet, order)


@st.composite
def one_change(draw: st.DrawFn) -> tuple[Case, Change]:
    case = draw(cases(max_objects=3))
    count = len(case.cluster.objects)
    pod = draw(st.sampled_from(case.pods))
    names = draw(st.frozensets(st.sampled_from(sorted(NAMES)), max_size=2))
    renamed = Somebody(pod.name, pod.labels, named_ports=names)
    other = draw(st.sampled_from(case.pods))
    change: Change = draw(
        st.one_of(
            policies(f"p{draw(st.integers(0, count))}").map(PutObject),
            policies("p0").map(PutObject),
            st.just(RemoveObject(ObjectRef("CiliumNetworkPolicy", "n1", "p0"))),
            st.just(PutIdentity(case.identities[pod.name], names_of(renamed))),
            st.just(PutSubject(pod.name, SubjectFacts(other.labels, names_of(renamed)))),
            st.sampled_from(Mode).map(SetMode),
        )
    )
    return case, change


@QUIET
@given(one_change())
def test_every_packet_meets_the_old_or_the_new_verdict(given_one: tuple[Case, Change]) -> None:
    case, change = given_one
    engine, tables = engine_of(case), Tables()
    tables.carry_out(engine.apply(*everybody(case), *(PutObject(one) for one in case.cluster.objects)))
    never_a_third(packets(case), tables, engine.apply(change))


POD = Labels.of(["k8s:app=a"])
ANYONE = Subject(SubjectKind.ENDPOINT)
REF = ObjectRef("CiliumNetworkPolicy", "n1", "p")
NODE_6, NODE_API = Labels.of(["reserved:remote-node"]), Labels.of(["reserved:remote-node", "reserved:kube-apiserver"])


def rule(index: int, peer: Peer | None, ports: tuple[Ports, ...] | None, action: Action = Action.ALLOW) -> Rule:
    peers = None if peer is None else (peer,)
    return Rule(RuleOrigin(REF, "ingress", index), ANYONE, Direction.INGRESS, action, peers, ports)


def policy(*rules: Rule) -> PutObject:
    return PutObject(PolicyObject(REF, rules, (DefaultDeny(REF, ANYONE, Direction.INGRESS),)))


def entity(name: str) -> Peer:
    return LabelPeer((Match("reserved", name, "exists"),))


INSIDE, AROUND = CidrPeer(Prefix.parse("10.1.0.0/16")), CidrPeer(Prefix.parse("10.0.0.0/8"))
NODE_PORTS = rule(0, entity("remote-node"), (Ports(6, 80, 80),))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], policy(rule(0, INSIDE, None))),
        ([policy(rule(0, INSIDE, None))], RemoveObject(REF)),
        ([policy(rule(0, AROUND, None))], policy(rule(0, INSIDE, None))),
        ([policy(rule(0, INSIDE, None))], policy(rule(0, AROUND, None))),
        ([policy(rule(0, entity("world-ipv4"), None))], policy(rule(0, INSIDE, None))),
        (
            [
                policy(
                    NODE_PORTS, rule(1, entity("kube-apiserver"), None), rule(2, None, (Ports(6, 81, 81),), Action.DENY)
                )
            ],
            PutIdentity(Identity(6, NODE_API)),
        ),
        (
            [
                PutIdentity(Identity(6, NODE_API)),
                policy(NODE_PORTS, rule(1, entity("kube-apiserver"), None), rule(2, None, (Ports(6, 64, 95),))),
            ],
            PutIdentity(Identity(6, NODE_6)),
        ),
        (
            [PutIdentity(Identity(6, NODE_API)), policy(rule(1, entity("kube-apiserver"), (Ports(6, 80, 80),)))],
            PutIdentity(Identity(6, NODE_6)),
        ),
        (
            [
                PutIdentity(Identity(6, NODE_API)),
                policy(
                    rule(0, entity("kube-apiserver"), (Ports(6, 80, 80),), Action.DENY),
                    rule(1, entity("remote-node"), (Ports(6, 80, 80),)),
                    rule(2, None, (Ports(6, 80, 83),)),
                ),
            ],
            PutIdentity(Identity(6, NODE_6)),
        ),
    ],
    ids=("new block", "last block", "narrower", "wider", "from world", "row widens", "row narrows", "like any", "swap"),
)
def test_changes_that_need_every_grace(before: list[Change], after: Change) -> None:
    """Each of these fails if a grace of the delta is left out, or rows are written in another order."""
    engine, tables = Engine(), Tables()
    start = [PutIdentity(reserved(number)) for number in RESERVED]
    tables.carry_out(engine.apply(*start, PutSubject("pod", SubjectFacts(POD)), *before))
    peers: tuple[int | str, ...] = (0, 1, 6, "10.1.2.3", "10.2.0.1", "8.8.8.8")
    sent = [("pod", Direction.INGRESS, peer, (6, port)) for peer in peers for port in (79, 80, 81, 443)]
    never_a_third(sent, tables, engine.apply(after))

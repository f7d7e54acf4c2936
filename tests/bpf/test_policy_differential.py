"""The third voice: real packets through the shipped programs, with real rows, against the oracle.

Everybody of a generated case gets an address, the engine's steps go into the kernel's maps, and every packet is sent
through the hook where the subject's policy is asked. Only one direction is enforced at a time, so that the verdict is
that side's. What is counted as a case is one packet under one set of policies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings

import datapath as dp
import datapath_policy as pol
import packets as pk
from datapath_node import LO, furnish
from glasshive.agent.policy.kernel_rows import KernelRows
from glasshive.model.policy import DefaultDeny, Direction, ObjectRef, PolicyObject, Subject, SubjectKind
from glasshive.policy.delta import (
    Delta,
    DropBlocks,
    DropPeers,
    DropPorts,
    Flip,
    Grace,
    PutBlocks,
    PutPeers,
    PutPorts,
    Retire,
)
from glasshive.policy.engine import PutObject
from policy_cases import Case, cases, remote_node, reserved
from policy_oracle import Cluster, Packet, Somebody, judge
from policy_tables import Tables
from policy_tally import EXAMPLES as ASKED
from policy_tally import FULL, TALLY, examples, time_limit
from policy_worlds import engine_of, everybody

pytestmark = [pytest.mark.root, pytest.mark.timeout(time_limit(20))]

EXAMPLES = examples(5)
PROGRAMS = "oracle and programs"
FLAGS = dp.NODE_IPV4 | dp.NODE_IPV6
ENFORCED = {Direction.INGRESS: dp.INGRESS_ENFORCED, Direction.EGRESS: dp.EGRESS_ENFORCED}
WORDS = {"GH_DROP_POLICY": "deny-default", "GH_DROP_POLICY_DENY": "deny-rule"}
EVERY = 997
"""Connections that are remembered before the table is cleared."""


@pytest.fixture(scope="module")
def path() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config(flags=FLAGS)) as made:
        furnish(made)
        yield made
    assert not ASKED or TALLY.counts[PROGRAMS] >= FULL, "a full run compares more"


@dataclass
class Node:
    """One node's kernel tables, with everybody of a case living somewhere."""

    path: dp.Datapath
    case: Case
    sent: int = 0

    def __post_init__(self) -> None:
        maps = pol.maps(self.path)
        maps.remove_policies(maps.numbers())
        self.rows = KernelRows(maps)
        self.tables = Tables()
        self.path.clear("conntrack", "nat", "fragments", "drops", "endpoints", "ipcache")
        furnish(self.path)
        for node in self.case.nodes[1:]:
            number = self.case.identities[node.name].number
            self.path.add_ipcache(node.address, identity=number, node=node.address, flags=dp.IN_CLUSTER | dp.ONLINK)

    def carry_out(self, delta: Delta) -> None:
        for step in delta.steps():
            self.tables.step(step)
            match step:
                case PutPorts(rows):
                    self.rows.put_ports(rows)
                case PutPeers(rows):
                    self.rows.put_peers(rows)
                case DropPorts(keys):
                    self.rows.drop_ports(keys)
                case DropPeers(keys):
                    self.rows.drop_peers(keys)
                case PutBlocks(blocks):
                    for one in blocks:
                        self.path.add_ipcache(str(one.prefix), identity=one.identity.number, flags=0)
                case DropBlocks() | Flip() | Grace() | Retire():
                    pass  # nobody is placed under a number before ``settle``

    def address(self, who: Somebody, family: int) -> str:
        if who.address:
            return who.address
        if who.name == "host":
            return pk.address("node", family)
        number = 20 + self.case.pods.index(who)
        return f"10.244.1.{number}" if family == 4 else f"fd00:10:244:1::{number:x}"

    def settle(self, subject: Somebody, direction: Direction) -> None:
        """Place the pods and the node; only the subject is under its policy, and only in this direction."""
        for who in (*self.case.pods, self.case.nodes[0]):
            mine = self.tables.assigned[who.name]
            judged = mine.ingress if direction is Direction.INGRESS else mine.egress
            flags = ENFORCED[direction] if who == subject and judged else 0
            host = who.name == "host"
            for family in pk.FAMILIES:
                self.path.add_endpoint(
                    self.address(who, family), 2 if host else LO, identity=self.case.identities[who.name].number,
                    number=1 + self.case.everybody.index(who), flags=flags | (dp.HOST if host else 0),
                    policy=mine.number if flags else 0,
                )  # fmt: skip

    def send(self, packet: Packet, family: int) -> str:
        """What becomes of a packet: allow, deny-rule or deny-default; anything else fails the test."""
        self.sent += 1
        if self.sent % EVERY == 0 or packet.protocol in (47, 112):
            self.path.clear("conntrack", "nat")
        ingress = packet.direction == "ingress"
        sender, receiver = (packet.peer, packet.subject) if ingress else (packet.subject, packet.peer)
        ends = self.address(sender, family), self.address(receiver, family)
        got = self.path.run(hook(sender, receiver), frame(packet, ends, family, 1024 + self.sent % 60_000)).retval
        if got in (dp.OK, dp.REDIRECT):
            return "allow"
        reasons = [name for name, _ in self.path.drops()]
        self.path.clear("drops")
        return WORDS.get(reasons[0], reasons[0]) if len(reasons) == 1 else f"dropped for {reasons}"


def hook(sender: Somebody, receiver: Somebody) -> str:
    """The program that asks for policy on the way from the one to the other, seen from the subject's node."""
    if sender.kind == "endpoint":
        return "from_pod"
    if sender.name == "host":
        return "from_host" if receiver.kind == "endpoint" else "to_netdev"
    return "from_netdev"


def frame(packet: Packet, ends: tuple[str, str], family: int, source: int) -> bytes:
    protocol, port = packet.protocol, packet.port
    if protocol == 6:
        return bytes(pk.tcp(*ends, family, sport=source, dport=port, flags="S"))
    if protocol == 17:
        return bytes(pk.udp(*ends, family, sport=source, dport=port))
    if protocol == 132:
        return bytes(pk.sctp(*ends, family, sport=source, dport=port))
    if protocol == 1:
        return bytes(pk.ip(*ends, family) / pk.ICMP(type=port, id=source))
    if protocol == 58:
        return bytes(pk.ip(*ends, family) / pk.ICMPv6EchoRequest(id=source))
    return bytes(pk.ip(*ends, family, **{"proto" if family == 4 else "nh": protocol}) / pk.Raw(bytes(8)))


def possible(packet: Packet, family: int) -> bool:
    """Whether this packet exists: ICMP of the family, no error without a cause, nobody who talks to himself."""
    if packet.subject == packet.peer or (packet.peer.address and (":" in packet.peer.address) != (family == 6)):
        return False
    return {1: family == 4 and packet.port == 8, 58: family == 6 and packet.port == 128}.get(packet.protocol, True)


def compare(node: Node) -> int:
    compared = 0
    case = node.case
    for subject in (*case.pods, case.nodes[0]):
        for direction in Direction:
            node.settle(subject, direction)
            for peer in case.everybody:
                if subject.kind == "node" and peer.name == "host":
                    continue
                for at, (protocol, port) in enumerate(case.packets):
                    family = pk.FAMILIES[at % 2] if not peer.address else 6 if ":" in peer.address else 4
                    packet = Packet(subject, peer, direction, protocol, port)
                    if not possible(packet, family):
                        continue
                    said = judge(case.cluster, packet)
                    found = node.send(packet, family)
                    assert found == (said.verdict if said is not None else "allow"), (packet, family)
                    compared += 1
    return compared


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(case=cases())
def test_programs_say_what_the_oracle_says(path: dp.Datapath, case: Case) -> None:
    engine, node = engine_of(case), Node(path, case)
    node.carry_out(engine.apply(*everybody(case), *(PutObject(one) for one in case.cluster.objects)))
    compared = compare(node)
    assert compared > 0
    TALLY.add(PROGRAMS, compared)


def test_port_0_is_no_tunnel(path: dp.Datapath) -> None:
    """Found by the test above: where there is no tunnel, its port is 0, and a UDP packet to port 0 passed as vital."""
    ref = ObjectRef("CiliumClusterwideNetworkPolicy", "", "host")
    closed = PolicyObject(ref, (), (DefaultDeny(ref, Subject(SubjectKind.NODE), Direction.INGRESS),))
    host, other = Somebody("host", reserved(1).labels, kind="node"), remote_node("172.30.0.12", by_cidr=False)
    identities = {"host": reserved(1), other.name: reserved(6)}
    case = Case(Cluster([closed]), (), (host, other), (), identities, ((17, 0), (17, 1)))
    node = Node(path, case)
    node.carry_out(engine_of(case).apply(*everybody(case), PutObject(closed)))
    node.settle(host, Direction.INGRESS)
    for port in (0, 1):
        assert node.send(Packet(host, other, Direction.INGRESS, 17, port), 4) == "deny-default"

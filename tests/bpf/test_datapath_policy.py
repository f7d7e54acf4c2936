"""What policy lets pass, at every hook: tables of rows and packets on the shipped objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import datapath as dp
import datapath_policy as pol
import packets as pk
from datapath_node import EGRESS, INGRESS, LO, furnish
from datapath_policy import ALLOW, DENY, GRE, SCTP, TCP, UDP, enforce, peer, port
from glasshive import bpf
from packets import FAMILIES

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def path() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config(flags=pol.FLAGS)) as made:
        furnish(made)
        for family in FAMILIES:
            node = pk.address("other-node", family)
            made.add_ipcache(pk.address("remote", family), identity=2001, node=node, flags=dp.IN_CLUSTER | dp.ONLINK)
        yield made


@pytest.fixture(autouse=True)
def _fresh(path: dp.Datapath) -> None:
    pol.release(path)


def refused(path: dp.Datapath, direction: int, *, denied: bool = False) -> None:
    """Exactly one packet was dropped by policy, in this direction; nothing is remembered of it."""
    assert path.drops() == {("GH_DROP_POLICY_DENY" if denied else "GH_DROP_POLICY", direction): 1}
    assert not path.rows("conntrack")


def test_numbers_are_those_of_the_abi(path: dp.Datapath) -> None:
    def numbers(name: str) -> dict[str, int]:
        return {one.name: int(one) for one in bpf.btf.enum(path.btf, name)}

    assert numbers("gh_policy_verdict") == {f"GH_POLICY_{one.name}": int(one) for one in pol.Verdict}
    flags = numbers("gh_endpoint_flags")
    assert [flags[f"GH_ENDPOINT_{name}"] for name in ("INGRESS_ENFORCED", "EGRESS_ENFORCED", "AUDIT")] == [
        dp.INGRESS_ENFORCED,
        dp.EGRESS_ENFORCED,
        dp.AUDIT,
    ]
    matches = list(bpf.btf.enum(path.btf, "gh_policy_match"))
    assert [int(one) for one in matches] == list(range(7))


Build = Callable[[int], pk.Packet]


@dataclass(frozen=True)
class Row:
    """One line: what the server's ingress rows for the client say, a packet, and what becomes of it."""

    what: str
    rows: pol.PeerRows
    packet: Build
    drop: str = ""
    families: tuple[int, ...] = FAMILIES


def allowed(what: str, rows: pol.PeerRows, packet: Build, families: tuple[int, ...] = FAMILIES) -> Row:
    return Row(what, rows, packet, "", families)


def default(what: str, rows: pol.PeerRows, packet: Build, families: tuple[int, ...] = FAMILIES) -> Row:
    return Row(what, rows, packet, "GH_DROP_POLICY", families)


def denied(what: str, rows: pol.PeerRows, packet: Build, families: tuple[int, ...] = FAMILIES) -> Row:
    return Row(what, rows, packet, "GH_DROP_POLICY_DENY", families)


def gre(family: int) -> pk.Packet:
    return pk.ip("client", "server", family, **{"proto" if family == 4 else "nh": GRE}) / pk.Raw(bytes(8))


def tcp(dport: int) -> Build:
    return lambda family: pk.tcp("client", "server", family, dport=dport, flags="S")


def udp(dport: int) -> Build:
    return lambda family: pk.udp("client", "server", family, dport=dport)


WEB = peer(port(TCP, 80))
DENY_FIRST = peer(port(TCP, 80, DENY), port(TCP, 81), verdict=ALLOW)
RANGE = peer(*pol.span(TCP, 10000, 20000))
INSIDE, OUTSIDE = (10000, 10001, 10015, 10016, 16383, 16384, 19999, 20000), (0, 9999, 20001, 65535)
ICMP_ECHO = peer(port(pol.ICMP, 8), port(pol.ICMPV6, 128))

TABLE = [
    allowed("everything of a peer", peer(verdict=ALLOW), tcp(80)),
    default("nothing of a peer", peer(), tcp(80)),
    denied("a peer that is denied", peer(verdict=DENY), tcp(80)),
    allowed("the port", WEB, tcp(80)),
    default("another port", WEB, tcp(81)),
    default("the port, another protocol", WEB, udp(80)),
    denied("a denied port of an allowed peer", DENY_FIRST, tcp(80)),
    allowed("its other port", DENY_FIRST, tcp(81)),
    allowed("what no row names", DENY_FIRST, udp(53)),
    allowed("port 0", peer(port(TCP, 0)), tcp(0)),
    allowed("the highest port", peer(port(TCP, 65535)), tcp(65535)),
    default("port 0 is not the whole protocol", peer(port(TCP, 0)), tcp(1)),
    allowed("a whole protocol", peer(port(TCP, 0, bits=0)), tcp(12345)),
    default("not another whole protocol", peer(port(TCP, 0, bits=0)), udp(12345)),
    denied("a port of an allowed protocol", peer(port(TCP, 0, bits=0), port(TCP, 22, DENY)), tcp(22)),
    allowed("the protocol around a denied port", peer(port(TCP, 0, bits=0), port(TCP, 22, DENY)), tcp(23)),
    denied("a denied range around an allowed port", peer(port(TCP, 0, DENY, bits=6), port(TCP, 80)), tcp(81)),
    allowed("an allowed port in a denied range", peer(port(TCP, 0, DENY, bits=6), port(TCP, 80)), tcp(80)),
    allowed("outside of the range", peer(port(TCP, 0, DENY, bits=6), verdict=ALLOW), tcp(1024)),
    *[allowed(f"port {each} of a range", RANGE, tcp(each)) for each in INSIDE],
    *[default(f"port {each} beside a range", RANGE, tcp(each)) for each in OUTSIDE],
    allowed("half of all ports", peer(port(TCP, 32768, bits=1)), tcp(40000)),
    default("the other half", peer(port(TCP, 32768, bits=1)), tcp(32767)),
    allowed("the ICMP type", ICMP_ECHO, lambda v: pk.echo("client", "server", v)),
    default("another ICMP type", peer(port(pol.ICMP, 13), port(pol.ICMPV6, 13)),
            lambda v: pk.echo("client", "server", v)),
    default("ICMP types are no ports of TCP", ICMP_ECHO, tcp(8)),
    default("an echo's identifier is no port", peer(port(pol.ICMP, 77), port(pol.ICMPV6, 77)),
            lambda v: pk.echo("client", "server", v, ident=77)),
    default("an unasked echo reply", ICMP_ECHO, lambda v: pk.echo_reply("client", "server", v)),
    allowed("a timestamp request", peer(port(pol.ICMP, 13)),
            lambda v: pk.ip("client", "server", v) / pk.ICMP(type=13, id=5), (4,)),
    allowed("SCTP", peer(port(SCTP, 36412)), lambda v: pk.sctp("client", "server", v)),
    default("another SCTP port", peer(port(SCTP, 36413)), lambda v: pk.sctp("client", "server", v)),
    allowed("a protocol without ports", peer(port(GRE, 0, bits=0)), gre),
    default("a protocol that no row names", WEB, gre),
    allowed("options or extension headers", WEB, lambda v: pk.with_options(tcp(80)(v))),
    default("a hidden other port", WEB, lambda v: pk.with_options(tcp(81)(v))),
]  # fmt: skip
CASES = [pytest.param(row, v, id=f"{row.what}-{v}") for row in TABLE for v in row.families]


@pytest.mark.parametrize("row, family", CASES)
@pytest.mark.parametrize("side", ["ingress", "egress", "any-peer"])
def test_rows(path: dp.Datapath, side: str, row: Row, family: int) -> None:
    """The same rows decide alike at the receiver and at the sender, for the peer by name and as one of all."""
    subject, other = ("client", "server") if side == "egress" else ("server", "client")
    rows = {0 if side == "any-peer" else pol.IDENTITIES[other]: row.rows}
    enforce(path, subject, 1, **{"egress" if side == "egress" else "ingress": rows})
    packet = row.packet(family)
    ran = path.run("from_pod", bytes(packet))
    if row.drop:
        assert (ran.retval, ran.data_out) == (dp.SHOT, bytes(packet))
        refused(path, EGRESS if side == "egress" else INGRESS, denied=row.drop.endswith("DENY"))
    else:
        assert (ran.retval, ran.data_out) == (dp.REDIRECT, pk.delivered(packet))
        assert path.drops() == {}
        assert len(path.rows("conntrack")) == 1


@dataclass(frozen=True)
class Hook:
    """Where a packet meets a policy: at ``program``, from ``src`` to ``dst``; it is ``subject``'s."""

    program: str
    src: str
    dst: str
    subject: str
    direction: int
    identity: dict[int, int]
    """The peer as policy knows it, by family."""
    passes: int = dp.REDIRECT


def both(number: int) -> dict[int, int]:
    return {4: number, 6: number}


HOOKS = [
    Hook("from_pod", "client", "server", "client", EGRESS, both(1002)),
    Hook("from_pod", "client", "server", "server", INGRESS, both(1001)),
    Hook("from_pod", "client", "remote", "client", EGRESS, both(2001)),
    Hook("from_pod", "client", "world", "client", EGRESS, pol.WORLD),
    Hook("from_pod", "client", "other-node", "client", EGRESS, both(6)),
    Hook("from_pod", "client", "node", "client", EGRESS, both(1), dp.OK),
    Hook("from_pod", "client", "router", "client", EGRESS, both(1), dp.OK),
    Hook("from_pod", "client", "node", "node", INGRESS, both(1001), dp.OK),
    Hook("from_netdev", "remote", "client", "client", INGRESS, both(2001)),
    Hook("from_netdev", "world", "client", "client", INGRESS, pol.WORLD),
    Hook("from_netdev", "other-node", "client", "client", INGRESS, both(6)),
    Hook("from_netdev", "node", "client", "client", INGRESS, pol.WORLD),  # claims to be us: a stranger
    Hook("from_host", "remote", "client", "client", INGRESS, both(2001)),
    Hook("from_host", "server", "client", "client", INGRESS, both(1002)),
    Hook("to_pod", "remote", "client", "client", INGRESS, both(2001), dp.OK),
    Hook("to_pod", "server", "client", "client", INGRESS, both(1002), dp.OK),
    Hook("from_netdev", "world", "node", "node", INGRESS, pol.WORLD, dp.OK),
    Hook("from_netdev", "remote", "node", "node", INGRESS, both(2001), dp.OK),
    Hook("from_netdev", "other-node", "node", "node", INGRESS, both(6), dp.OK),
    Hook("to_netdev", "node", "world", "node", EGRESS, pol.WORLD, dp.OK),
    Hook("to_netdev", "node", "other-node", "node", EGRESS, both(6), dp.OK),
    Hook("from_host", "node", "client", "node", EGRESS, both(1001)),
    Hook("from_host", "router", "remote", "router", EGRESS, both(2001)),
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: f"{hook.program}-{hook.src}-{hook.dst}-of-{hook.subject}")
def test_hooks(path: dp.Datapath, hook: Hook, family: int) -> None:
    """At every hook the right policy is asked about the right peer; the other direction's is not asked at all."""
    mine, other = ("egress", "ingress") if hook.direction == EGRESS else ("ingress", "egress")
    identity = hook.identity[family]
    packet = bytes(pk.tcp(hook.src, hook.dst, family, dport=80, flags="S"))

    def run(rows: pol.Rows, number: int) -> int:
        enforce(path, hook.subject, number, **{mine: rows})
        return path.run(hook.program, packet).retval

    assert run({identity: peer(port(TCP, 81), verdict=DENY), 0: peer(verdict=ALLOW)}, 1) == dp.SHOT
    refused(path, hook.direction, denied=True)
    path.clear("drops")
    assert run({identity: peer(port(TCP, 80))}, 2) == hook.passes
    path.clear("conntrack")
    assert run({}, 3) == dp.SHOT
    refused(path, hook.direction)
    enforce(path, hook.subject, 4, **{other: {}})
    assert path.run(hook.program, packet).retval == hook.passes


@pytest.mark.parametrize("family", FAMILIES)
def test_both_ends_are_asked(path: dp.Datapath, family: int) -> None:
    packet = bytes(pk.tcp("client", "server", family, dport=80, flags="S"))
    for egress, ingress, direction in ((True, False, INGRESS), (False, True, EGRESS), (False, False, EGRESS)):
        pol.release(path)
        enforce(path, "client", 1, egress={0: peer(verdict=ALLOW)} if egress else {})
        enforce(path, "server", 2, ingress={0: peer(verdict=ALLOW)} if ingress else {})
        assert path.run("from_pod", packet).retval == dp.SHOT
        refused(path, direction)
    pol.release(path)
    enforce(path, "client", 1, egress={1002: peer(verdict=ALLOW)})
    enforce(path, "server", 2, ingress={1001: peer(verdict=ALLOW)})
    assert path.run("from_pod", packet).retval == dp.REDIRECT


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("program", "passes"), [("from_host", dp.REDIRECT), ("to_pod", dp.OK)])
def test_the_nodes_processes_reach_its_pods(path: dp.Datapath, program: str, passes: int, family: int) -> None:
    enforce(path, "client", 1, ingress={})
    for sender in ("router", "node"):
        assert path.run(program, bytes(pk.tcp(sender, "client", family, flags="S"))).retval == passes
    with dp.loaded(dp.config(flags=pol.FLAGS & ~dp.NODE_ALLOW_LOCALHOST)) as strict:
        furnish(strict)
        enforce(strict, "client", 1, ingress={})
        assert strict.run(program, bytes(pk.tcp("router", "client", family, flags="S"))).retval == dp.SHOT
        enforce(strict, "client", 2, ingress={1: peer(verdict=ALLOW)})
        assert strict.run(program, bytes(pk.tcp("router", "client", family, flags="S"))).retval == passes


@pytest.mark.parametrize("family", FAMILIES)
def test_nobody_is_kept_from_himself(path: dp.Datapath, family: int) -> None:
    enforce(path, "client", 1, ingress={}, egress={})
    assert path.run("from_pod", bytes(pk.tcp("client", "client", family, flags="S"))).retval == dp.REDIRECT


@pytest.mark.parametrize("family", FAMILIES)
def test_pods_find_their_gateway(path: dp.Datapath, family: int) -> None:
    """ARP and neighbour discovery do not depend on policy."""
    enforce(path, "client", 1, ingress={}, egress={})
    question = pk.arp() if family == 4 else pk.solicitation()
    assert path.run("from_pod", bytes(question)).retval == dp.REDIRECT
    if family == 6:
        ask = pk.ip("router", "client", 6, ttl=255) / pk.ICMPv6ND_NS(tgt=pk.address("client", 6))
        assert path.run("to_pod", bytes(ask)).retval == dp.OK
        ask[pk.IPv6].hlim = 254
        enforce(path, "client", 2, ingress={})
        remote = pk.ip("remote", "client", 6, ttl=255) / pk.ICMPv6ND_NS(tgt=pk.address("client", 6))
        assert path.run("from_netdev", bytes(remote)).retval == dp.SHOT


@pytest.mark.parametrize("family", FAMILIES)
def test_later_fragments_are_judged_by_their_first(path: dp.Datapath, family: int) -> None:
    enforce(path, "server", 1, ingress={1001: peer(port(UDP, 53), port(pol.ICMP, 8), port(pol.ICMPV6, 128))})
    for packet, verdict in (
        (pk.udp("client", "server", family, dport=53, data=b"x" * 3000), dp.REDIRECT),
        (pk.udp("client", "server", family, dport=54, data=b"x" * 3000), dp.SHOT),
        (pk.echo("client", "server", family, data=b"x" * 3000), dp.REDIRECT),
    ):
        path.clear("fragments", "conntrack")
        for each in pk.fragments(packet):
            assert path.run("from_pod", bytes(each)).retval == verdict


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_counted_where(path: dp.Datapath, family: int) -> None:
    """The row that decides counts packets and bytes, refused ones too; answers are not counted."""
    rows = {1001: peer(port(TCP, 80), port(TCP, 4096, bits=4), port(UDP, 0, DENY, bits=0)), 0: peer(verdict=DENY)}
    enforce(path, "server", 5, ingress=rows)
    there = pk.tcp("client", "server", family, dport=80, data=b"x" * 100)
    for _ in range(3):
        path.run("from_pod", bytes(there))
    path.run("from_pod", bytes(pk.reply(there)))
    for dport in (4097, 8191):
        path.run("from_pod", bytes(pk.tcp("client", "server", family, dport=dport)))
    path.run("from_pod", bytes(pk.udp("client", "server", family)))
    path.run("from_pod", bytes(pk.sctp("client", "server", family)))
    found = {
        (row.identity, row.protocol, row.port, row.prefix_bits): (row.packets, row.bytes)
        for row in pol.maps(path).rows(5)
    }
    size = {kind: len(bytes(getattr(pk, kind)("client", "server", family))) for kind in ("tcp", "udp", "sctp")}
    assert found == {
        (1001, TCP, 80, 16): (3, 3 * len(bytes(there))),
        (1001, TCP, 4096, 4): (2, 2 * size["tcp"]),
        (1001, UDP, 0, 0): (1, size["udp"]),
        (1001, 0, None, 0): (1, size["sctp"]),
        (0, 0, None, 0): (0, 0),
    }


@pytest.fixture
def records(path: dp.Datapath) -> Iterator[pol.Records]:
    ring = pol.Records(path)
    ring.take()
    yield ring
    ring.close()


def told(record: dict[str, Any], *names: str) -> tuple[int, ...]:
    return tuple(int(record[name]) for name in names)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_refusal_says_why(path: dp.Datapath, records: pol.Records, family: int) -> None:
    enforce(path, "server", 9, ingress={1001: peer(port(TCP, 80, DENY, rule=77))})
    path.run("from_pod", bytes(pk.tcp("client", "server", family, dport=80, flags="S")))
    verdict, drop = records.take()
    names = ("policy", "peer", "rule", "verdict", "match", "endpoint", "direction", "reason", "flags")
    assert told(verdict, "type", *names) == (2, 9 << 1, 1001, 77, DENY, pol.L3_L4, 2, INGRESS, 181, 0)
    assert told(drop, "type", *names) == (1, 9 << 1, 1001, 77, DENY, pol.L3_L4, 2, INGRESS, 181, 0)
    assert drop["src"].tobytes() == dp.parse(pk.address("client", family))
    assert told(drop, "dport", "ifindex") == (80, LO)


@pytest.mark.parametrize("family", FAMILIES)
def test_new_connections_are_told_once(path: dp.Datapath, records: pol.Records, family: int) -> None:
    enforce(path, "client", 8, egress={0: peer(port(TCP, 80, rule=5))})
    enforce(path, "server", 9, ingress={1001: peer(verdict=ALLOW, rule=6)})
    packet = bytes(pk.tcp("client", "server", family, dport=80, flags="S"))
    for _ in range(3):
        path.run("from_pod", packet)
    sent, received = records.take()
    names = ("type", "policy", "peer", "rule", "verdict", "match", "direction", "reason")
    assert told(sent, *names) == (2, 8 << 1 | 1, 1002, 5, ALLOW, pol.L4_ONLY, EGRESS, 0)
    assert told(received, *names) == (2, 9 << 1, 1001, 6, ALLOW, pol.L3_ONLY, INGRESS, 0)


def test_verdict_records_can_be_switched_off() -> None:
    with dp.loaded(dp.config(flags=pol.FLAGS & ~dp.NODE_VERDICT_RECORDS)) as path:
        furnish(path)
        ring = pol.Records(path)
        enforce(path, "client", 8, egress={0: peer(port(TCP, 80))})
        for dport in (80, 81):
            path.run("from_pod", bytes(pk.tcp("client", "server", 4, dport=dport, flags="S")))
        (only,) = ring.take()
        assert told(only, "type", "policy", "reason") == (1, 8 << 1 | 1, 133)
        ring.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_audit_lets_pass_and_tells(path: dp.Datapath, records: pol.Records, family: int) -> None:
    enforce(path, "server", 9, ingress={1001: peer(verdict=DENY, rule=4)}, audit=True)
    packet = bytes(pk.tcp("client", "server", family, dport=80, flags="S"))
    for _ in range(2):
        assert path.run("from_pod", packet).retval == dp.REDIRECT
    (only,) = records.take()
    assert told(only, "type", "verdict", "rule", "reason", "flags") == (2, DENY, 4, 181, 1)
    assert path.drops() == {}
    assert len(path.rows("conntrack")) == 1
    assert path.run("from_pod", bytes(pk.tcp("server", "client", family, sport=80, dport=40001))).retval == dp.REDIRECT

"""Policy and connections: what is refused leaves nothing, answers pass, and a connection ends with its permission."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import datapath as dp
import datapath_policy as pol
import packets as pk
from datapath_node import EGRESS, INGRESS, furnish
from datapath_policy import ALLOW, DENY, TCP, UDP, enforce, peer, port
from glasshive.model.policy import Verdict
from packets import FAMILIES

pytestmark = pytest.mark.root

CUT = 2**32 - 1
KINDS = ("tcp", "udp", "sctp", "echo")
ANYTHING = {0: peer(verdict=ALLOW)}


@pytest.fixture(scope="module")
def path() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config(flags=pol.FLAGS)) as made:
        furnish(made)
        yield made


@pytest.fixture(autouse=True)
def _fresh(path: dp.Datapath) -> None:
    pol.release(path)


def answer(packet: pk.Packet) -> pk.Packet:
    for family, layer in ((4, pk.ICMP), (6, pk.ICMPv6EchoRequest)):
        if packet.haslayer(layer):
            return pk.echo_reply("server", "client", family)
    return pk.reply(packet)


def passes(path: dp.Datapath, frame: bytes) -> bool:
    """Whether it passes from_pod."""
    return path.run("from_pod", frame).retval == dp.REDIRECT


def send(path: dp.Datapath, packet: pk.Packet) -> bool:
    return passes(path, bytes(packet))


def only(path: dp.Datapath) -> Any:
    (value,) = path.rows("conntrack").values()
    return value


def decided(path: dp.Datapath, number: int) -> int:
    """How many packets all rows of a policy have decided."""
    return sum(row.packets for row in pol.maps(path).rows(number))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_answers_pass_where_nothing_else_would(path: dp.Datapath, kind: str, family: int) -> None:
    """The client lets nobody in; its own connections are answered all the same, and answers count at no row."""
    there = getattr(pk, kind)("client", "server", family)
    enforce(path, "client", 1, ingress={}, egress={1002: peer(verdict=ALLOW)})
    enforce(path, "server", 2, ingress={1001: peer(verdict=ALLOW)}, egress={})
    assert not send(path, answer(there))
    assert send(path, there)
    for _ in range(3):
        assert send(path, answer(there))
    assert decided(path, 1) == decided(path, 2) == 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_packet_opens_no_way_back(path: dp.Datapath, kind: str, family: int) -> None:
    there = getattr(pk, kind)("client", "server", family)
    enforce(path, "client", 1, ingress={}, egress={})
    for _ in range(2):
        assert not send(path, there)
        assert not send(path, answer(there))
    assert not path.rows("conntrack")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", ["egress", "ingress"])
def test_a_connection_ends_with_its_permission(path: dp.Datapath, side: str, kind: str, family: int) -> None:
    """Also where only answers flow; and it goes on when policy allows it again."""
    there = getattr(pk, kind)("client", "server", family)
    who, other = ("client", 1002) if side == "egress" else ("server", 1001)
    direction = EGRESS if side == "egress" else INGRESS
    enforce(path, who, 1, **{side: {other: peer(verdict=ALLOW)}})
    assert send(path, there)
    assert send(path, answer(there))
    enforce(path, who, 2, **{side: {other: peer(verdict=DENY)}})
    for _ in range(2):
        assert not send(path, answer(there))
    assert path.drops() == {("GH_DROP_POLICY_DENY", direction): 2}
    assert not send(path, there)
    assert int(only(path)["policy_revision"]) == CUT
    enforce(path, who, 3, **{side: {other: peer(verdict=ALLOW)}})
    assert send(path, answer(there))
    assert int(only(path)["policy_revision"]) == pol.maps(path).revision()
    assert send(path, there)


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_judged_once_per_revision(path: dp.Datapath, family: int) -> None:
    there = pk.tcp("client", "server", family)
    enforce(path, "server", 1, ingress={1001: peer(port(TCP, 80))})
    send(path, there)
    assert decided(path, 1) == 1
    for judged in (2, 3):
        pol.maps(path).bump_revision()
        for _ in range(3):
            assert send(path, answer(there))
        assert decided(path, 1) == judged


@pytest.mark.parametrize("family", FAMILIES)
def test_one_refused_packet_cuts_the_connection_at_once(path: dp.Datapath, family: int) -> None:
    """Before user space has moved the revision: the opener's next packet is judged by the tables as they are."""
    there = pk.tcp("client", "server", family)
    enforce(path, "server", 1, ingress={1001: peer(verdict=ALLOW)})
    send(path, there)
    send(path, answer(there))
    pol.maps(path).put_peers([(2, 1001, Verdict.DENY_DEFAULT, 0, 0)])
    assert send(path, answer(there))
    assert not send(path, there)
    assert not send(path, answer(there))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_refused_changes_nothing_else(path: dp.Datapath, family: int) -> None:
    """No state, no flag, and above all not how long the connection lives."""
    there = pk.tcp("client", "server", family)
    enforce(path, "server", 1, ingress={1001: peer(verdict=ALLOW)})
    send(path, there)
    send(path, answer(there))
    enforce(path, "server", 2, ingress={})
    ((key, value),) = zip(*path.maps["conntrack"].items(), strict=True)
    value = value.copy()
    value["seen_ns"] -= 5_000_000_000
    value["tick"] -= 100
    path.maps["conntrack"].update([key], [value])
    for flags in ("A", "FA", "R"):
        assert not send(path, pk.tcp("client", "server", family, flags=flags))
        assert not send(path, pk.reply(pk.tcp("client", "server", family, flags=flags)))
    value["policy_revision"] = CUT
    assert only(path).tobytes() == value.tobytes()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("opener", ["client", "server"])
def test_a_syn_starts_a_cut_connection_over(path: dp.Datapath, opener: str, family: int) -> None:
    there = pk.tcp("client", "server", family, flags="S")
    enforce(path, "server", 1, ingress={1001: peer(verdict=ALLOW)})
    send(path, there)
    send(path, answer(pk.tcp("client", "server", family, flags="SA")))
    enforce(path, "server", 2, ingress={})
    assert not send(path, pk.tcp("client", "server", family))
    if opener == "client":
        assert not send(path, there)
        enforce(path, "server", 3, ingress=ANYTHING)
        assert send(path, there)
    else:
        assert send(path, pk.reply(there))
    entry = only(path)
    assert (int(entry["state"]), int(entry["identity"])) == (1, 1001 if opener == "client" else 1002)
    assert send(path, pk.tcp("client", "server", family, flags="SA"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_syn_is_no_answer(path: dp.Datapath, family: int) -> None:
    """Whoever was called may not open a connection of his own under its name."""
    enforce(path, "client", 1, ingress={})
    send(path, pk.tcp("client", "server", family))
    assert not send(path, pk.reply(pk.tcp("client", "server", family, flags="S")))
    assert send(path, pk.reply(pk.tcp("client", "server", family, flags="SA")))


@pytest.mark.parametrize("family", FAMILIES)
def test_only_answers_of_icmp_are_answers(path: dp.Datapath, family: int) -> None:
    """An echo reply nobody asked for does not make the other's questions answers; nor do other messages pair up."""
    enforce(path, "server", 1, ingress={})
    assert send(path, pk.echo_reply("server", "client", family, ident=9))
    assert not send(path, pk.echo("client", "server", family, ident=9))
    if family == 4:
        ask = pk.ip("server", "client", 4) / pk.ICMP(type=13, id=3)
        assert send(path, ask)
        assert send(path, pk.ip("client", "server", 4) / pk.ICMP(type=14, id=3))
        assert not send(path, pk.ip("client", "server", 4) / pk.ICMP(type=13, id=3))
        assert not send(path, pk.ip("client", "server", 4) / pk.ICMP(type=10))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", pk.ERRORS)
@pytest.mark.parametrize("about", ["question", "answer"])
def test_errors_share_their_connections_fate(path: dp.Datapath, about: str, kind: str, family: int) -> None:
    there = pk.udp("client", "server", family)
    enforce(path, "client", 1, ingress={}, egress={1002: peer(port(UDP, 53))})
    enforce(path, "server", 2, ingress={1001: peer(port(UDP, 53))}, egress={})
    complaint = (
        pk.error(kind, there, src="server") if about == "question" else pk.error(kind, answer(there), src="client")
    )
    assert not send(path, complaint)
    assert path.drops() == {("GH_DROP_ICMP_UNRELATED", EGRESS): 1}
    assert send(path, there)
    assert send(path, complaint)
    pol.maps(path).bump_revision()
    before = decided(path, 1)
    assert send(path, complaint)
    assert send(path, complaint)
    assert decided(path, 1) == before + 1
    enforce(path, "server", 3, ingress={1001: peer(verdict=DENY)})
    path.clear("drops")
    assert not send(path, complaint)
    assert path.drops() == {("GH_DROP_POLICY_DENY", INGRESS): 1}
    assert not send(path, answer(there))


@pytest.mark.parametrize("family", FAMILIES)
def test_masqueraded_connections_end_too(path: dp.Datapath, family: int) -> None:
    """Answers and errors from the world come to the node's address: they are judged as what they are for the pod."""
    there = pk.udp("client", "world", family)
    enforce(path, "client", 1, ingress={}, egress={pol.WORLD[family]: peer(port(UDP, 53))})
    sent = pk.Ether(path.run("from_pod", bytes(there)).data_out)
    back = bytes(pk.reply(sent, ttl=64))
    complaint = bytes(pk.error("unreachable", sent, src="world"))
    assert path.run("from_netdev", back).retval == dp.REDIRECT
    assert path.run("from_netdev", complaint).retval == dp.REDIRECT
    enforce(path, "client", 2, ingress={}, egress={})
    assert path.run("from_netdev", back).retval == dp.SHOT
    assert path.run("from_netdev", complaint).retval == dp.SHOT
    assert path.drops() == {("GH_DROP_POLICY", EGRESS): 2}


@pytest.mark.parametrize("family", FAMILIES)
def test_an_expired_connection_has_no_answers(path: dp.Datapath, family: int) -> None:
    there = pk.udp("client", "server", family)
    enforce(path, "client", 1, ingress={})
    send(path, there)
    ((key, value),) = zip(*path.maps["conntrack"].items(), strict=True)
    value = value.copy()
    value["seen_ns"] -= 61_000_000_000
    value["tick"] -= 100
    path.maps["conntrack"].update([key], [value])
    assert not send(path, answer(there))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cut_and_its_end_are_told_once(path: dp.Datapath, family: int) -> None:
    ring = pol.Records(path)
    there = pk.tcp("client", "server", family)
    enforce(path, "server", 1, ingress={1001: peer(verdict=ALLOW, rule=5)})
    send(path, there)
    enforce(path, "server", 2, ingress={1001: peer(verdict=DENY, rule=6)})
    ring.take()
    for _ in range(2):
        send(path, answer(there))
        send(path, there)
    told = ring.take()
    assert [int(one["type"]) for one in told] == [2, 1, 1, 1, 1]
    assert {(int(one["policy"]), int(one["peer"]), int(one["rule"])) for one in told} == {(4, 1001, 6)}
    assert [int(one["flags"]) for one in told] == [2, 2, 0, 2, 0]
    enforce(path, "server", 3, ingress={1001: peer(verdict=ALLOW, rule=7)})
    for _ in range(2):
        send(path, there)
    (again,) = ring.take()
    assert (int(again["type"]), int(again["rule"]), int(again["verdict"])) == (2, 7, ALLOW)
    ring.close()


step = st.one_of(
    st.tuples(st.just("policy"), st.booleans(), st.booleans()),  # allows the client? announced?
    st.tuples(st.just("packet"), st.sampled_from(["client", "server"]), st.sampled_from(["S", "SA", "A", "FA", "R"])),
)


@cache
def frame(sender: str, flags: str, family: int) -> bytes:
    there = pk.tcp("client", "server", family, flags=flags)
    return bytes(there if sender == "client" else pk.reply(there))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(family=st.sampled_from(FAMILIES), steps=st.lists(step, min_size=6, max_size=25))
def test_any_history(path: dp.Datapath, family: int, steps: list[tuple[Any, ...]]) -> None:
    """The server's ingress changes at random; the client's ingress never lets anybody in.

    Each packet of the client's passes exactly if the tables allow it. Of the server's a SYN never passes (nobody may
    call the client). An answer passes if its connection has been allowed since the last announced change, and nothing
    of it was refused since; else it is judged by the tables.
    """
    pol.release(path)
    enforce(path, "client", 1, ingress={})
    enforce(path, "server", 2, ingress=ANYTHING)
    maps = pol.maps(path)
    tables, connected, settled = True, False, False
    for kind, first, second in steps:
        if kind == "policy":
            tables = first
            maps.put_peers([(4, 0, ALLOW if first else Verdict.DENY_DEFAULT, 0, 0)])
            if second:
                maps.bump_revision()
                settled = False
        elif first == "client":
            assert passes(path, frame(first, second, family)) == tables
            connected, settled = connected or tables, tables
        else:
            passed = passes(path, frame(first, second, family))
            if second == "S" or not connected:
                assert not passed
            else:
                assert passed == (settled or tables)
                settled = passed

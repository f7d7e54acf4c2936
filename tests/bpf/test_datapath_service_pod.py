"""Services called by pods: what the backend gets, what the caller gets back, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import datapath as dp
import datapath_services as sv
import packets as pk
from datapath_node import EGRESS, LO, furnish
from packets import FAMILIES

pytestmark = pytest.mark.root

KINDS = tuple(sv.PROTOCOLS)
PORT = {"tcp": 8080, "udp": 5353, "sctp": 80}
"""Target ports. SCTP's checksum covers its ports, so there the service's port is the backend's."""


@pytest.fixture(scope="module")
def path() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config()) as made:
        furnish(made)
        for family in FAMILIES:  # the server may send by the test's device, too
            made.add_endpoint(pk.address("server", family), LO, identity=1002)
        yield made


@pytest.fixture
def services(path: dp.Datapath) -> sv.Services:
    made = sv.Services(path)
    made.clear()
    return made


def sent(path: dp.Datapath, packet: pk.Packet, program: str = "from_pod") -> pk.Packet:
    ran = path.run(program, bytes(packet))
    assert ran.retval == dp.REDIRECT, path.drops()
    assert pk.checksums_are_right(ran.data_out) or packet.haslayer(pk.SCTP)
    return pk.Ether(ran.data_out)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_pod_of_this_node_answers(services: sv.Services, kind: str, family: int) -> None:
    vip, port = sv.VIP[family], PORT[kind]
    services.add(vip, 80, kind, [("server", port)])
    asked = sv.call(kind, "client", vip, family)
    there = sent(services.path, asked)
    assert sv.ends(there) == (pk.address("client", family), 40_001, pk.address("server", family), port)
    back = sent(services.path, sv.call(kind, "server", "client", family, sport=port, dport=40_001, flags="SA"))
    assert bytes(back) == pk.delivered(sv.call(kind, vip, "client", family, sport=80, dport=40_001, flags="SA"))
    again = sent(services.path, sv.call(kind, "client", vip, family, flags="A"))
    assert sv.ends(again) == sv.ends(there)
    assert len(services.path.rows("conntrack")) == 1
    assert len(services.path.rows("nat")) == 2


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_pod_of_another_node_answers(services: sv.Services, kind: str, family: int) -> None:
    vip, port = sv.VIP[family], PORT[kind]
    services.add(vip, 80, kind, [("remote", port)])
    there = sent(services.path, sv.call(kind, "client", vip, family))
    assert sv.ends(there) == (pk.address("client", family), 40_001, pk.address("remote", family), port)
    answer = sv.call(kind, "remote", "client", family, sport=port, dport=40_001, flags="SA")
    back = sent(services.path, answer, "from_netdev")
    assert bytes(back) == pk.delivered(sv.call(kind, vip, "client", family, sport=80, dport=40_001, flags="SA"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("who", ["node", "other-node"])
def test_a_node_port_of_any_node(services: sv.Services, who: str, family: int) -> None:
    services.add(sv.ANY[family], 30_080, "tcp", [("server", 8080)], type_=sv.NODE_PORT)
    there = sent(services.path, sv.call("tcp", "client", who, family, dport=30_080))
    assert sv.ends(there)[2:] == (pk.address("server", family), 8080)
    answer = sv.call("tcp", "server", "client", family, sport=8080, dport=40_001, flags="SA")
    assert sv.ends(sent(services.path, answer))[:2] == (pk.address(who, family), 30_080)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_backend_outside_the_cluster(services: sv.Services, family: int) -> None:
    """Its answers come to the node's address: masquerade is undone first."""
    services.add(sv.VIP[family], 443, "tcp", [("world", 6443)])
    there = sent(services.path, sv.call("tcp", "client", sv.VIP[family], family, dport=443))
    assert sv.ends(there)[0] == pk.address("node", family)
    assert sv.ends(there)[2:] == (pk.address("world", family), 6443)
    back = sent(services.path, pk.reply(there, ttl=64), "from_netdev")
    assert sv.ends(back) == (sv.VIP[family], 443, pk.address("client", family), 40_001)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_process_of_the_node_answers(services: sv.Services, family: int) -> None:
    services.add(sv.VIP[family], 80, "tcp", [("node", 8080)])
    ran = services.path.run("from_pod", bytes(sv.call("tcp", "client", sv.VIP[family], family)))
    assert ran.retval == dp.OK
    assert sv.ends(pk.Ether(ran.data_out))[2:] == (pk.address("node", family), 8080)
    answer = sv.call("tcp", "node", "client", family, sport=8080, dport=40_001, flags="SA")
    back = sent(services.path, answer, "from_host")
    assert sv.ends(back) == (sv.VIP[family], 80, pk.address("client", family), 40_001)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_pod_reaches_itself(services: sv.Services, kind: str, family: int) -> None:
    """By way of the router, whom it answers; then it sees the service's address."""
    vip, port = sv.VIP[family], PORT[kind]
    services.add(vip, 80, kind, [("client", port)])
    there = sent(services.path, sv.call(kind, "client", vip, family))
    assert sv.ends(there)[0] == pk.address("router", family)
    assert sv.ends(there)[2:] == (pk.address("client", family), port)
    back = sent(services.path, pk.reply(there, ttl=64) if kind != "tcp" else answer_of(there))
    assert sv.ends(back) == (vip, 80, pk.address("client", family), 40_001)


def answer_of(there: pk.Packet) -> pk.Packet:
    made = pk.reply(there, ttl=64)
    made[pk.TCP].flags = "SA"
    return pk.settled(made)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("flags", [0, sv.REJECT])
@pytest.mark.parametrize("kind", KINDS)
def test_nobody_answers(services: sv.Services, kind: str, flags: int, family: int) -> None:
    vip = sv.VIP[family]
    services.add(vip, 80, kind, [], flags=flags)
    asked = sv.call(kind, "client", vip, family)
    ran = services.path.run("from_pod", bytes(asked))
    if not flags:
        assert ran.retval == dp.SHOT
        assert services.path.drops() == {("GH_DROP_NO_BACKEND", EGRESS): 1}
        return
    assert ran.retval == dp.REDIRECT
    got = pk.Ether(ran.data_out)
    assert (got.src, got.dst) == (asked.dst, asked.src)
    assert (got.payload.src, got.payload.dst) == (vip, pk.address("client", family))
    assert pk.checksums_are_right(ran.data_out)
    if kind == "tcp":
        assert sv.ends(got) == (vip, 80, pk.address("client", family), 40_001)
        assert (got[pk.TCP].flags, got[pk.TCP].ack) == ("RA", 2)
    else:
        quoted = bytes(asked)[14:][: 28 if family == 4 else 48]
        assert bytes(got.payload.payload)[:2] == (b"\x03\x03" if family == 4 else b"\x01\x04")
        assert bytes(got)[-len(quoted) :] == quoted
    assert services.path.rows("conntrack") == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_one_port_to_two_services_gets_two_backends_or_is_told(services: sv.Services, family: int) -> None:
    """Behind one backend two connections from the same port would look the same to everybody."""
    both = [("server", 8080), ("remote", 8080)]
    services.add(sv.VIP[family], 80, "udp", both)
    services.add(sv.OTHER_VIP[family], 80, "udp", both)
    first = sent(services.path, sv.call("udp", "client", sv.VIP[family], family))
    second = sent(services.path, sv.call("udp", "client", sv.OTHER_VIP[family], family))
    assert sv.ends(first)[2] != sv.ends(second)[2]
    third = {4: "10.96.0.12", 6: "fd00:96::12"}[family]
    services.add(third, 80, "udp", both)
    assert services.path.run("from_pod", bytes(sv.call("udp", "client", third, family))).retval == dp.SHOT
    assert services.path.drops() == {("GH_DROP_NAT_COLLISION", EGRESS): 1}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_backend_that_is_spoken_to_directly_is_left_alone(services: sv.Services, family: int) -> None:
    direct = sv.call("udp", "client", "server", family, dport=5353)
    sent(services.path, direct)
    services.add(sv.VIP[family], 53, "udp", [("server", 5353), ("remote", 5353)])
    for _ in range(5):
        there = sent(services.path, sv.call("udp", "client", sv.VIP[family], family, dport=53))
        assert sv.ends(there)[2] == pk.address("remote", family)
    back = sent(services.path, pk.reply(direct))
    assert sv.ends(back)[:2] == (pk.address("server", family), 5353)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_terminating_backend_keeps_what_it_has(services: sv.Services, family: int) -> None:
    vip = sv.VIP[family]
    services.add(vip, 80, "tcp", [("server", 8080)])
    sent(services.path, sv.call("tcp", "client", vip, family))
    services.add(vip, 80, "tcp", [("server", 8080), ("remote", 8080)], number=1)
    services.backend(("server", 8080), family, "tcp", sv.TERMINATING)
    kept = sent(services.path, sv.call("tcp", "client", vip, family, flags="A"))
    assert sv.ends(kept)[2] == pk.address("server", family)
    for port in range(41_000, 41_020):
        fresh = sent(services.path, sv.call("tcp", "client", vip, family, sport=port))
        assert sv.ends(fresh)[2] == pk.address("remote", family)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_backend_that_is_gone(services: sv.Services, family: int) -> None:
    """Datagrams find another, a TCP connection is reset, and a new one is not sent there."""
    vip = sv.VIP[family]
    for kind in ("tcp", "udp"):
        services.add(vip, 80, kind, [("server", 8080)], flags=sv.REJECT)
        sent(services.path, sv.call(kind, "client", vip, family))
        services.backend(("server", 8080), family, kind, sv.GONE)
        services.add(vip, 80, kind, [("remote", 8080)], flags=sv.REJECT)
        got = sent(services.path, sv.call(kind, "client", vip, family, flags="A"))
        if kind == "tcp":
            assert got[pk.TCP].flags == "R"
            got = sent(services.path, sv.call(kind, "client", vip, family))
        assert sv.ends(got)[2] == pk.address("remote", family)
        services.numbers = {}


@pytest.mark.parametrize("family", FAMILIES)
def test_clients_come_back(services: sv.Services, family: int) -> None:
    vip, many = sv.VIP[family], [("server", 1000 + n) for n in range(20)]
    services.add(vip, 80, "tcp", many, flags=sv.AFFINITY, affinity_s=100)
    ports = {sv.ends(sent(services.path, sv.call("tcp", "client", vip, family, sport=n)))[3] for n in range(1, 20)}
    assert len(ports) == 1
    keys, values = services.path.maps["affinity"].items()
    values["used_ns"] = 0
    services.path.maps["affinity"].update(keys, values)
    later = {sv.ends(sent(services.path, sv.call("tcp", "client", vip, family, sport=n)))[3] for n in range(20, 40)}
    assert len(later) == 1
    assert len(services.path.rows("affinity")) == 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("error", pk.ERRORS)
@pytest.mark.parametrize("kind", KINDS)
def test_errors_about_a_call(services: sv.Services, kind: str, error: str, family: int) -> None:
    """The caller reads about the packet that it sent, from whom it called or from a router on the way."""
    vip, port = sv.VIP[family], PORT[kind]
    services.add(vip, 80, kind, [("remote", port)])
    asked = sv.call(kind, "client", vip, family)
    there = sent(services.path, asked)
    for source, seen in (("remote", vip), ("moon", "moon")):
        got = sent(services.path, pk.error(error, there, src=source), "from_netdev")
        expected = pk.error(error, pk.Ether(pk.forwarded(asked)), src=seen, dst="client")
        assert bytes(got) == pk.delivered(expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("error", pk.ERRORS)
def test_errors_about_an_answer(services: sv.Services, error: str, family: int) -> None:
    vip = sv.VIP[family]
    services.add(vip, 53, "udp", [("server", 5353)])
    sent(services.path, sv.call("udp", "client", vip, family, dport=53))
    answer = sv.call("udp", "server", "client", family, sport=5353, dport=40_001)
    got = sent(services.path, answer)
    complaint = sent(services.path, pk.error(error, got, src="client", dst=vip))
    expected = pk.error(error, pk.Ether(pk.forwarded(answer)), src="client", dst="server")
    assert bytes(complaint) == pk.delivered(expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_fragments(services: sv.Services, family: int) -> None:
    vip = sv.VIP[family]
    services.add(vip, 53, "udp", [("server", 5353)])
    whole = pk.udp("client", vip, family, dport=53, data=b"x" * 2500)
    wanted = pk.fragments(pk.udp("client", "server", family, dport=5353, data=b"x" * 2500))
    for each, expected in zip(pk.fragments(whole), wanted, strict=True):
        ran = services.path.run("from_pod", bytes(each))
        assert (ran.retval, ran.data_out) == (dp.REDIRECT, pk.delivered(expected))


@pytest.mark.parametrize("family", FAMILIES)
def test_another_port_of_the_address_is_no_service(services: sv.Services, family: int) -> None:
    services.add(sv.VIP[family], 80, "tcp", [("server", 8080)])
    there = sent(services.path, sv.call("udp", "client", sv.VIP[family], family))
    assert sv.ends(there)[2:] == (sv.VIP[family], 80)

"""Services called from outside: who may, where the call goes, and that its answer comes from the address it went to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import datapath as dp
import datapath_services as sv
import packets as pk
from datapath_node import INGRESS, LO, furnish
from packets import FAMILIES

pytestmark = pytest.mark.root

LB = {4: "192.0.2.80", 6: "2001:db8:80::80"}
PORTS = (40_000, 60_000)
SEED, SLOTS = 7, 251


@contextmanager
def node(*, tunnel: bool) -> Iterator[dp.Datapath]:
    flags = dp.NODE_MASQUERADE | dp.NODE_IPV4 | dp.NODE_IPV6 | (dp.NODE_TUNNEL if tunnel else 0)
    config = dp.config(flags=flags, overlay_ifindex=LO if tunnel else 0, hash_seed=SEED, maglev_slots=SLOTS)
    with dp.loaded(config) as made:
        furnish(made)
        for family in FAMILIES:
            made.add_endpoint(pk.address("server", family), LO, identity=1002)
        if tunnel:
            made.add_ipcache("10.244.2.0/24", identity=2, node="172.30.0.12", flags=dp.IN_CLUSTER | dp.TUNNEL)
            made.add_ipcache("fd00:10:244:2::/64", identity=2, node="172.30.0.12", flags=dp.IN_CLUSTER | dp.TUNNEL)
        yield made


@pytest.fixture(scope="module")
def native() -> Iterator[dp.Datapath]:
    with node(tunnel=False) as made:
        yield made


@pytest.fixture(scope="module")
def tunnel() -> Iterator[dp.Datapath]:
    with node(tunnel=True) as made:
        yield made


@pytest.fixture
def services(native: dp.Datapath) -> sv.Services:
    made = sv.Services(native)
    made.clear()
    return made


def sent(path: dp.Datapath, packet: pk.Packet, program: str = "from_netdev") -> pk.Packet:
    ran = path.run(program, bytes(packet))
    assert ran.retval == dp.REDIRECT, path.drops()
    assert pk.checksums_are_right(ran.data_out) or packet.haslayer(pk.SCTP)
    return pk.Ether(ran.data_out)


def answer(call: pk.Packet) -> pk.Packet:
    made = pk.reply(call, ttl=64)
    if made.haslayer(pk.TCP):
        made[pk.TCP].flags = "SA"
    return pk.settled(made)


KINDS = [  # how it is called, the frontend's address (None: any node's), its type
    ("node", None, sv.NODE_PORT), ("node", None, sv.HOST_PORT), ("lb", "lb", sv.LOAD_BALANCER),
    ("lb", "lb", sv.EXTERNAL_IP), ("node", "node", sv.EXTERNAL_IP),
]  # fmt: skip


def address(name: str | None, family: int) -> str:
    if name is None:
        return sv.ANY[family]
    return LB[family] if name == "lb" else pk.address(name, family)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("called", "frontend", "type_"), KINDS)
def test_a_pod_of_this_node_sees_the_client(
    services: sv.Services, called: str, frontend: str | None, type_: int, family: int
) -> None:
    services.add(address(frontend, family), 30_080, "tcp", [("server", 8080)], type_=type_)
    there = sent(services.path, sv.call("tcp", "world", address(called, family), family, dport=30_080))
    assert sv.ends(there) == (pk.address("world", family), 40_001, pk.address("server", family), 8080)
    back = sent(services.path, answer(there), "from_pod")
    assert sv.ends(back) == (address(called, family), 30_080, pk.address("world", family), 40_001)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", sv.PROTOCOLS)
@pytest.mark.parametrize("routing", ["native", "tunnel"])
def test_a_pod_of_another_node_answers_through_this_one(
    request: pytest.FixtureRequest, routing: str, kind: str, family: int
) -> None:
    path = request.getfixturevalue(routing)
    services = sv.Services(path)
    services.clear()
    services.add(sv.ANY[family], 30_080, kind, [("remote", 30_080)], type_=sv.NODE_PORT)
    asked = sv.call(kind, "world", "node", family, dport=30_080)
    there = sent(path, asked)
    source, port, *to = sv.ends(there)
    assert to == [pk.address("remote", family), 30_080]
    assert source == pk.address("router" if routing == "tunnel" else "node", family)
    assert PORTS[0] <= port <= PORTS[1]
    assert there.payload.payload.sport == port
    assert sv.ends(sent(path, asked)) == sv.ends(there)
    if routing == "native":  # the tunnel's end is where a test run has no outer packet
        back = sent(path, answer(there))
        assert sv.ends(back) == (pk.address("node", family), 30_080, pk.address("world", family), 40_001)
        assert len(path.rows("conntrack")) == 1
        assert len(path.rows("nat")) == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_process_of_this_node_answers(services: sv.Services, family: int) -> None:
    services.add(LB[family], 80, "tcp", [("node", 8080)], type_=sv.LOAD_BALANCER)
    ran = services.path.run("from_netdev", bytes(sv.call("tcp", "world", LB[family], family)))
    assert ran.retval == dp.OK
    there = pk.Ether(ran.data_out)
    assert sv.ends(there) == (pk.address("world", family), 40_001, pk.address("node", family), 8080)
    ran = services.path.run("to_netdev", bytes(answer(there)))
    assert ran.retval == dp.OK
    assert sv.ends(pk.Ether(ran.data_out)) == (LB[family], 80, pk.address("world", family), 40_001)


@pytest.mark.parametrize("family", FAMILIES)
def test_traffic_policy_local(services: sv.Services, family: int) -> None:
    """Where this node has no backend the call is dropped, whatever the others have; else only its own is chosen."""
    both, flags = [("server", 8080), ("remote", 8080)], sv.EXTERNAL_LOCAL | sv.REJECT
    services.add(LB[family], 80, "tcp", both, external=[], type_=sv.LOAD_BALANCER, flags=flags)
    asked = sv.call("tcp", "world", LB[family], family)
    assert services.path.run("from_netdev", bytes(asked)).retval == dp.SHOT
    assert services.path.drops() == {("GH_DROP_NO_BACKEND", INGRESS): 1}
    services.add(LB[family], 80, "tcp", both, external=both[:1], type_=sv.LOAD_BALANCER, flags=flags)
    for port in range(1000, 1010):
        there = sent(services.path, sv.call("tcp", "world", LB[family], family, sport=port))
        assert sv.ends(there)[:3] == (pk.address("world", family), port, pk.address("server", family))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("routable", [False, True])
def test_a_cluster_ip_is_for_the_cluster(services: sv.Services, routable: bool, family: int) -> None:
    services.add(sv.VIP[family], 80, "tcp", [("server", 8080)], flags=sv.ROUTABLE if routable else 0)
    ran = services.path.run("from_netdev", bytes(sv.call("tcp", "world", sv.VIP[family], family)))
    assert ran.retval == (dp.REDIRECT if routable else dp.SHOT)
    assert services.path.drops() == ({} if routable else {("GH_DROP_CLUSTER_IP", INGRESS): 1})


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("deny", [False, True])
def test_source_ranges(services: sv.Services, deny: bool, family: int) -> None:
    flags = sv.SOURCE_RANGES | (sv.SOURCE_DENY if deny else 0)
    frontend = services.add(LB[family], 80, "tcp", [("server", 8080)], type_=sv.LOAD_BALANCER, flags=flags)
    services.source_range(frontend, {4: "203.0.113.0/24", 6: "2001:db8:ffff::/48"}[family])
    services.source_range(frontend + 1, {4: "0.0.0.0/0", 6: "::/0"}[family])  # another service's
    for who, inside in (("world", True), ("moon", False)):
        ran = services.path.run("from_netdev", bytes(sv.call("tcp", who, LB[family], family)))
        assert ran.retval == (dp.REDIRECT if inside != deny else dp.SHOT)
    assert services.path.drops() == {("GH_DROP_SOURCE_RANGE", INGRESS): 1}
    assert services.path.run("from_pod", bytes(sv.call("tcp", "client", LB[family], family))).retval == dp.REDIRECT


@pytest.mark.parametrize("family", FAMILIES)
def test_nobody_answers(services: sv.Services, family: int) -> None:
    services.add(sv.ANY[family], 30_080, "tcp", [], type_=sv.NODE_PORT, flags=sv.REJECT)
    got = sent(services.path, sv.call("tcp", "world", "node", family, dport=30_080))
    assert sv.ends(got) == (pk.address("node", family), 30_080, pk.address("world", family), 40_001)
    assert got[pk.TCP].flags == "RA"


@pytest.mark.parametrize("family", FAMILIES)
def test_maglev_sends_a_flow_to_the_same_backend_on_every_node(services: sv.Services, family: int) -> None:
    """The table decides, not this node's chance, and not its memory."""
    places = [("server", 1000 + n) for n in range(10)]
    services.add(LB[family], 80, "tcp", places, type_=sv.LOAD_BALANCER, flags=sv.MAGLEV, table=3)
    services.maglev(3, [1 + n % 10 for n in range(SLOTS)])

    def chosen() -> list[int]:
        services.path.clear("conntrack", "nat")
        calls = [sv.call("tcp", "world", LB[family], family, sport=port) for port in range(1000, 1100)]
        return [sv.ends(sent(services.path, each))[3] for each in calls]

    first = chosen()
    assert chosen() == first
    assert len(set(first)) == len(places)
    services.maglev(3, [4] * SLOTS)
    assert set(chosen()) == {1003}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("error", pk.ERRORS)
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_errors_on_the_way_to_another_node(services: sv.Services, kind: str, error: str, family: int) -> None:
    """About a call: the client reads what it sent. About an answer: the backend reads what it sent, to this node."""
    services.add(sv.ANY[family], 30_080, kind, [("remote", 8080)], type_=sv.NODE_PORT)
    asked = sv.call(kind, "world", "node", family, dport=30_080)
    there = sent(services.path, asked)
    got = sent(services.path, pk.error(error, there, src="remote"))
    expected = pk.error(error, pk.Ether(pk.forwarded(asked)), src="node", dst="world", ttl=63)
    assert bytes(got) == bytes(expected)
    back = sent(services.path, answer(there))
    got = sent(services.path, pk.error(error, back, src="world"))
    expected = pk.error(error, pk.Ether(pk.forwarded(answer(there))), src="node", dst="remote", ttl=63)
    assert bytes(got) == bytes(expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_fragments_to_another_node(services: sv.Services, family: int) -> None:
    services.add(sv.ANY[family], 30_053, "udp", [("remote", 5353)], type_=sv.NODE_PORT)
    parts = pk.fragments(pk.udp("world", "node", family, dport=30_053, data=b"x" * 2500))
    there = [services.path.run("from_netdev", bytes(each)) for each in parts]
    assert [ran.retval for ran in there] == [dp.REDIRECT] * len(parts)
    got = [pk.Ether(ran.data_out).payload for ran in there]
    assert {(each.src, each.dst) for each in got} == {(pk.address("node", family), pk.address("remote", family))}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_for_nobody_passes_untouched(services: sv.Services, family: int) -> None:
    services.add(sv.ANY[family], 30_080, "tcp", [("server", 8080)], type_=sv.NODE_PORT)
    for packet in (
        sv.call("tcp", "world", "node", family, dport=22), sv.call("tcp", "world", LB[family], family, dport=30_080),
        sv.call("udp", "world", "node", family, dport=30_080), pk.echo("world", "node", family),
    ):  # fmt: skip
        ran = services.path.run("from_netdev", bytes(packet))
        assert (ran.retval, ran.data_out) == (dp.OK, bytes(packet))
    assert services.path.rows("nat") == {}

"""Messages: what a question gets back, and what no message may do."""

from __future__ import annotations

import asyncio
import struct

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.update
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshive.dns.answer import NEGATIVE_TTL_SECONDS, TTL_SECONDS, NotReadyError, Resolver
from glasshive.dns.records import cluster_zone, service_records
from glasshive.dns.upstream import Told, UpstreamError

DOMAIN = "cluster.local"


def service(name, namespace="shop", **spec):
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def endpoints(count):
    return {
        "addressType": "IPv4",
        "endpoints": [{"addresses": [f"10.244.{n // 250}.{n % 250 + 2}"]} for n in range(count)],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    }


def example_zone():
    zone = cluster_zone(DOMAIN, ["10.96.0.10", "fd00:10:96::a"], ["10.96.0.0/16", "10.244.0.0/16", "fd00:10:96::/112"])
    port = {"name": "http", "port": 80}
    for made, slices in [
        (service("echo", clusterIP="10.96.3.4", clusterIPs=["10.96.3.4", "fd00:10:96::34"], ports=[port]), []),
        (service("one", clusterIP="10.96.3.5", ipFamilies=["IPv4"]), []),
        (service("few", clusterIP="None"), [endpoints(3)]),
        (service("many", clusterIP="None"), [endpoints(900)]),
        (service("outside", type="ExternalName", externalName="example.com"), []),
        (service("inside", type="ExternalName", externalName="echo.shop.svc.cluster.local"), []),
        (service("ring", type="ExternalName", externalName="ring.shop.svc.cluster.local"), []),
    ]:
        zone.put(made["metadata"]["name"], service_records(made, slices, DOMAIN))
    return zone


class PaperUpstream:
    def __init__(self):
        self.asked = []

    async def resolve(self, name, type_):
        self.asked.append((str(name), type_.name))
        if "broken" in str(name):
            raise UpstreamError("nobody home")
        if "example.com" not in str(name):
            soa = dns.rrset.from_text(".", 30, "IN", "SOA", "ns. h. 1 2 3 4 30")
            return Told(dns.rcode.NXDOMAIN, (), (soa,))
        return Told(dns.rcode.NOERROR, (dns.rrset.from_text(str(name), 60, "IN", "A", "203.0.113.10"),), ())


@pytest.fixture
def upstream():
    return PaperUpstream()


@pytest.fixture
def resolver(upstream):
    return Resolver(example_zone(), upstream)


def ask_wire(resolver, wire, *, udp=True):
    answer = resolver.answer(wire, udp=udp)
    if answer is None or isinstance(answer, bytes):
        return answer

    async def wait():
        return await answer

    return asyncio.run(wait())


def ask(resolver, name, type_="A", *, udp=True, **query):
    message = dns.message.make_query(name, type_, **query)
    answer = dns.message.from_wire(ask_wire(resolver, message.to_wire(), udp=udp))
    assert message.is_response(answer)
    assert answer.flags & dns.flags.RA
    return answer


def texts(answer):
    return sorted(f"{str(r.name).rstrip('.')} {r.rdtype.name} {data}" for r in answer.answer for data in r)


ECHO = "echo.shop.svc.cluster.local"
TABLE = [
    (ECHO, "A", [f"{ECHO} A 10.96.3.4"]),
    (ECHO, "AAAA", [f"{ECHO} AAAA fd00:10:96::34"]),
    (f"_http._tcp.{ECHO}", "SRV", [f"_http._tcp.{ECHO} SRV 0 100 80 {ECHO}."]),
    ("4.3.96.10.in-addr.arpa", "PTR", [f"4.3.96.10.in-addr.arpa PTR {ECHO}."]),
    ("dns-version.cluster.local", "TXT", ['dns-version.cluster.local TXT "1.1.0"']),
    ("cluster.local", "NS", ["cluster.local NS ns.dns.cluster.local."]),
    ("ns.dns.cluster.local", "A", ["ns.dns.cluster.local A 10.96.0.10"]),
    (
        "inside.shop.svc.cluster.local",
        "A",
        [f"{ECHO} A 10.96.3.4", f"inside.shop.svc.cluster.local CNAME {ECHO}."],
    ),
]


@pytest.mark.parametrize(("name", "type_", "expected"), TABLE)
def test_answers(resolver, name, type_, expected):
    answer = ask(resolver, name, type_)
    assert answer.rcode() == dns.rcode.NOERROR
    assert answer.flags & dns.flags.AA
    assert texts(answer) == expected
    assert {records.ttl for records in answer.answer} == {TTL_SECONDS}


@pytest.mark.parametrize(
    ("name", "type_", "rcode"),
    [
        ("one.shop.svc.cluster.local", "AAAA", dns.rcode.NOERROR),  # the name is there, the type is not
        ("shop.svc.cluster.local", "A", dns.rcode.NOERROR),  # only names below it
        ("svc.cluster.local", "A", dns.rcode.NOERROR),
        ("nobody.shop.svc.cluster.local", "A", dns.rcode.NXDOMAIN),
        ("example.com.cluster.local", "A", dns.rcode.NXDOMAIN),
        (f"x.{ECHO}", "A", dns.rcode.NXDOMAIN),
        ("9.9.96.10.in-addr.arpa", "PTR", dns.rcode.NXDOMAIN),
        ("96.10.in-addr.arpa", "PTR", dns.rcode.NOERROR),
    ],
)
def test_negative(resolver, upstream, name, type_, rcode):
    answer = ask(resolver, name, type_)
    assert answer.rcode() == rcode
    assert answer.flags & dns.flags.AA
    assert answer.answer == []
    (soa,) = answer.authority
    assert soa.rdtype == dns.rdatatype.SOA
    assert (soa.ttl, soa[0].minimum) == (NEGATIVE_TTL_SECONDS, NEGATIVE_TTL_SECONDS)
    assert upstream.asked == []


@pytest.mark.parametrize("type_", ["HTTPS", "MX", "TYPE1234", "TYPE65280"])
def test_types_that_no_name_here_has(resolver, type_):
    answer = ask(resolver, ECHO, type_)
    assert (answer.rcode(), answer.answer, len(answer.authority)) == (dns.rcode.NOERROR, [], 1)


def test_any_type_is_one_that_is_there(resolver):
    assert texts(ask(resolver, ECHO, "ANY")) == [f"{ECHO} A 10.96.3.4"]
    assert texts(ask(resolver, f"_http._tcp.{ECHO}", "ANY")) == [f"_http._tcp.{ECHO} SRV 0 100 80 {ECHO}."]
    assert texts(ask(resolver, "outside.shop.svc.cluster.local", "ANY"))[0].endswith("CNAME example.com.")
    assert ask(resolver, f"x.{ECHO}", "ANY").rcode() == dns.rcode.NXDOMAIN


def test_srv_brings_addresses(resolver):
    answer = ask(resolver, f"_http._tcp.{ECHO}", "SRV")
    assert sorted(str(records[0]) for records in answer.additional) == ["10.96.3.4", "fd00:10:96::34"]


def test_case_is_kept_and_ignored(resolver):
    answer = ask(resolver, "EcHo.Shop.SVC.cluster.LOCAL")
    assert str(answer.answer[0].name) == "EcHo.Shop.SVC.cluster.LOCAL."
    assert str(answer.answer[0][0]) == "10.96.3.4"


def test_headless_order_changes(resolver):
    orders = {tuple(str(one) for one in ask(resolver, "few.shop.svc.cluster.local").answer[0]) for _ in range(60)}
    assert len(orders) > 1
    assert {frozenset(order) for order in orders} == {frozenset(("10.244.0.2", "10.244.0.3", "10.244.0.4"))}


def test_repeated_question_is_ready_made_until_the_zone_changes(resolver):
    wire = dns.message.make_query(ECHO, "A", id=7).to_wire()
    first = ask_wire(resolver, wire)
    assert ask_wire(resolver, b"\x12\x34" + wire[2:]) == b"\x12\x34" + first[2:]
    assert resolver._ready_made
    resolver.zone.put("echo", {})
    assert dns.message.from_wire(ask_wire(resolver, wire)).rcode() == dns.rcode.NXDOMAIN


def test_external_name_is_chased_outside(resolver, upstream):
    answer = ask(resolver, "outside.shop.svc.cluster.local")
    assert texts(answer) == ["example.com A 203.0.113.10", "outside.shop.svc.cluster.local CNAME example.com."]
    assert upstream.asked == [("example.com.", "A")]


def test_aliases_in_a_circle(resolver):
    answer = ask(resolver, "ring.shop.svc.cluster.local")
    assert (answer.rcode(), answer.answer) == (dns.rcode.SERVFAIL, [])


def test_outside(resolver):
    answer = ask(resolver, "example.com")
    assert texts(answer) == ["example.com A 203.0.113.10"]
    assert not answer.flags & dns.flags.AA
    assert ask(resolver, "nothing.test").rcode() == dns.rcode.NXDOMAIN
    assert ask(resolver, "broken.test").rcode() == dns.rcode.SERVFAIL
    assert ask(Resolver(example_zone()), "example.com").rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize(("payload", "limit"), [(None, 512), (600, 600), (1232, 1232), (65535, 1232), (100, 512)])
def test_truncation(resolver, payload, limit):
    edns = {} if payload is None else {"use_edns": 0, "payload": payload}
    wire = dns.message.make_query("many.shop.svc.cluster.local", "A", **edns).to_wire()
    answer = ask_wire(resolver, wire)
    assert len(answer) <= limit
    message = dns.message.from_wire(answer)
    assert message.flags & dns.flags.TC
    assert (message.edns == 0) == (payload is not None)
    whole = dns.message.from_wire(ask_wire(resolver, wire, udp=False))
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 900


def test_answer_beyond_what_a_message_holds(resolver):
    """65,535 bytes are the most there can be: the rest is left out, marked."""
    answer = ask_wire(
        resolver, dns.message.make_query("_http._tcp.many.shop.svc.cluster.local", "SRV").to_wire(), udp=False
    )
    assert len(answer) <= 65_535
    assert dns.message.from_wire(answer).rcode() == dns.rcode.NOERROR


def refusals():
    good = dns.message.make_query(ECHO, "A").to_wire()
    two = bytearray(good)
    two[5] = 2
    update = dns.update.UpdateMessage("cluster.local")
    notify = dns.message.make_query("cluster.local", "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    return [
        ("cut short", good[:-3], dns.rcode.FORMERR),
        ("two questions promised", bytes(two), dns.rcode.FORMERR),
        ("a loop of compression pointers", good[:12] + b"\xc0\x0c" + good[-4:], dns.rcode.FORMERR),
        ("update", update.to_wire(), dns.rcode.NOTIMP),
        ("notify", notify.to_wire(), dns.rcode.NOTIMP),
        ("another class", dns.message.make_query(ECHO, "A", "CH").to_wire(), dns.rcode.REFUSED),
        ("zone transfer", dns.message.make_query("cluster.local", "AXFR").to_wire(), dns.rcode.REFUSED),
        ("EDNS of the future", dns.message.make_query(ECHO, "A", use_edns=1).to_wire(), dns.rcode.BADVERS),
    ]


@pytest.mark.parametrize(("what", "wire", "rcode"), refusals(), ids=[row[0] for row in refusals()])
def test_refusals(resolver, what, wire, rcode):
    answer = ask_wire(resolver, wire)
    assert answer[:2] == wire[:2]
    assert dns.message.from_wire(answer).rcode() == rcode


@pytest.mark.parametrize("wire", [b"", b"\0" * 11, struct.pack("!6H", 1, 0x8000, 0, 0, 0, 0)])
def test_not_answered(resolver, wire):
    assert ask_wire(resolver, wire) is None


def test_not_ready():
    def never(_name):
        raise NotReadyError

    resolver = Resolver(example_zone(), PaperUpstream(), never)
    assert ask(resolver, ECHO).rcode() == dns.rcode.SERVFAIL
    assert ask(resolver, "example.com").rcode() == dns.rcode.NOERROR


def test_waits_for_what_prepare_gives():
    zone = example_zone()

    async def later():
        zone.put("pod", {"10-0-0-1.shop.pod.cluster.local": {"A": ("10.0.0.1",)}})

    resolver = Resolver(zone, None, lambda name: later() if ".pod." in name else None)
    assert texts(ask(resolver, "10-0-0-1.shop.pod.cluster.local")) == ["10-0-0-1.shop.pod.cluster.local A 10.0.0.1"]


FUZZED = Resolver(example_zone(), PaperUpstream())
QUESTION = dns.message.make_query(ECHO, "A", use_edns=0).to_wire()


@given(
    st.one_of(
        st.binary(max_size=80),
        st.binary(max_size=40).map(lambda tail: QUESTION[:12] + tail),
        st.lists(st.tuples(st.integers(0, len(QUESTION) - 1), st.integers(0, 255)), max_size=6).map(
            lambda changes: bytes(dict(changes).get(at, byte) for at, byte in enumerate(QUESTION))
        ),
    )
)
def test_any_bytes_get_an_answer_or_silence(wire):
    answer = ask_wire(FUZZED, wire)
    if answer is not None:
        assert answer[:2] == wire[:2]
        assert answer[2] & 0x80
        assert len(answer) <= 1232
        dns.message.from_wire(answer)

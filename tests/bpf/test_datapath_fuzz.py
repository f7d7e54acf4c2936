"""Whatever the bytes, there is a verdict, and every drop has a counted reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import datapath as dp
import packets as pk
from datapath_node import EGRESS, INGRESS, LO, furnish
from glasshive import bpf
from glasshive.errors import BpfError
from packets import FAMILIES

pytestmark = pytest.mark.root

DIRECTIONS = {"from_pod": EGRESS, "to_pod": INGRESS, "from_netdev": INGRESS, "to_netdev": EGRESS, "from_host": INGRESS,
              "from_overlay": INGRESS}  # fmt: skip
EXAMPLES = 400


@pytest.fixture(scope="module")
def path() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config()) as made:
        furnish(made)
        for family in FAMILIES:
            made.add_endpoint(pk.address("server", family), LO, identity=1002)
        yield made


SEEDS = [
    bytes(packet)
    for family in FAMILIES
    for packet in (
        pk.tcp("client", "server", family, flags="S"),
        pk.tcp("client", "world", family, data=b"x" * 40),
        pk.udp("client", "remote", family),
        pk.sctp("client", "world", family),
        pk.echo("world", "node", family),
        pk.with_options(pk.udp("client", "world", family)),
        pk.error("unreachable", pk.udp("client", "world", family), src="world", dst="node"),
        pk.error("too-big", pk.tcp("client", "server", family), src="client", dst="world"),
        *pk.fragments(pk.udp("client", "world", family, data=b"y" * 1500)),
        pk.udp("client", "world", family, data=b"z" * 1600),
    )
] + [bytes(pk.arp()), bytes(pk.solicitation())]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good frame with some bytes changed, cut short or made longer."""
    frame = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 6))):
        frame[draw(st.integers(12, min(len(frame) - 1, 110)))] = draw(st.integers(0, 255))
    length = draw(st.integers(14, len(frame) + 20))
    return bytes(frame[:length]).ljust(length, b"\0")


def anything() -> st.SearchStrategy[bytes]:
    types = st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x08\x06", b"\x81\x00", b"\x88\xcc", b"\x00\x00"])
    return st.builds(lambda kind, rest: bytes(12) + kind + rest, types, st.binary(max_size=200))


def checked(path: dp.Datapath, program: str, frame: bytes) -> None:
    path.clear("drops")
    try:
        ran = path.run(program, frame)
    except BpfError:
        # The kernel itself does not run IP frames shorter than their header.
        assert frame[12:14] in (b"\x08\x00", b"\x86\xdd")
        assert len(frame) < 14 + 40
        return
    drops = path.drops()
    if ran.retval == dp.SHOT:
        assert sum(drops.values()) == 1
        assert {direction for _, direction in drops} == {DIRECTIONS[program]}
        assert "GH_DROP_NONE" not in {name for name, _ in drops}
    else:
        assert ran.retval in (dp.OK, dp.REDIRECT)
        assert drops == {}
        assert len(ran.data_out) <= max(len(frame), 14 + 72 + 40)


@pytest.mark.parametrize("program", DIRECTIONS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frame=mutated() | anything())
@example(frame=bytes(14))
def test_there_is_always_a_verdict(path: dp.Datapath, program: str, frame: bytes) -> None:
    checked(path, program, frame)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frame=mutated())
def test_what_a_pod_sends_never_leaves_with_a_foreign_source(path: dp.Datapath, frame: bytes) -> None:
    """Not from_pod's verdict alone: the bytes it lets go have the pod's, the node's or the gateway's address."""
    try:
        ran = path.run("from_pod", frame)
    except BpfError:
        return
    if ran.retval == dp.SHOT:
        return
    sent = pk.Ether(ran.data_out)
    if sent.type in (0x0800, 0x86DD):
        family = 4 if sent.type == 0x0800 else 6
        own = {dp.parse(pk.address(who, family)) for who in ("client", "server", "node", "router")}
        raw = ran.data_out
        source = bytes(10) + b"\xff\xff" + raw[26:30] if family == 4 else raw[22:38]
        assert source in own


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frame=mutated())
def test_records_tell_every_drop(path: dp.Datapath, frame: bytes) -> None:
    """The ring has one record for each drop, with the reason that is counted."""
    from glasshive.bpf.layout import dtype
    from glasshive.bpf.ring import RingBuffer

    record = path.btf.find("gh_record")
    ring = RingBuffer(path.maps["events"], dtype(path.btf, record.id))
    ring.take()
    path.clear("drops")
    try:
        ran = path.run("from_pod", frame)
    except BpfError:
        return
    records = ring.take()
    assert len(records) == (1 if ran.retval == dp.SHOT else 0)
    if len(records):
        ((name, direction),) = path.drops()
        reasons = bpf.btf.enum(path.btf, "gh_drop_reason")
        assert int(records[0]["reason"]) == reasons[name]
        assert int(records[0]["direction"]) == direction == EGRESS
        assert int(records[0]["bytes"]) == len(frame)
        assert int(records[0]["ifindex"]) == LO
        known = {1, 2, 6, 9, 10, 0}
        assert {int(records[0]["src_identity"]), int(records[0]["dst_identity"])} <= known

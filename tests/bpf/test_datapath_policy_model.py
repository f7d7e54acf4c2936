"""Random rows and packets: the programs against the two look-ups written down in Python."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import datapath as dp
import datapath_policy as pol
import packets as pk
from datapath_node import EGRESS, INGRESS, furnish
from datapath_policy import ALLOW, SCTP, TCP, UDP, enforce
from glasshive.model.policy import PeerRows, PortRow, Verdict
from packets import FAMILIES

pytestmark = pytest.mark.root

PROTOCOLS = {TCP: pk.tcp, UDP: pk.udp, SCTP: pk.sctp}


@pytest.fixture(scope="module")
def path() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config(flags=pol.FLAGS)) as made:
        furnish(made)
        yield made


# Few ports and many prefixes of them, so that rows cover each other and packets hit them.
PORTS = st.one_of(st.sampled_from([0, 1, 22, 79, 80, 81, 443, 8080, 32767, 32768, 65535]), st.integers(0, 65535))


@st.composite
def port_row(draw: st.DrawFn) -> PortRow:
    bits = draw(st.one_of(st.sampled_from([16, 16, 0]), st.integers(0, 16)))
    number = draw(PORTS) >> (16 - bits) << (16 - bits)
    rule = draw(st.integers(1, 1000))
    return PortRow(draw(st.sampled_from(list(PROTOCOLS))), number, bits, draw(st.sampled_from(list(Verdict))), rule)


def peer_rows() -> st.SearchStrategy[PeerRows]:
    ports = st.lists(port_row(), max_size=12, unique_by=lambda row: (row.protocol, row.port, row.prefix_bits))
    return st.builds(PeerRows, st.sampled_from(list(Verdict)), st.integers(1, 1000), ports.map(tuple))


TABLES = st.dictionaries(st.sampled_from([0, 1001, 1002, 1003, 2, 70000]), peer_rows(), max_size=5)
PACKETS = st.lists(st.tuples(st.sampled_from(list(PROTOCOLS)), PORTS), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(family=st.sampled_from(FAMILIES), ingress=st.booleans(), table=TABLES, packets=PACKETS)
def test_programs_judge_as_the_model_does(path: dp.Datapath, family: int, ingress: bool, table: dict[int, PeerRows],
                                          packets: list[tuple[int, int]]) -> None:  # fmt: skip
    """Verdict, match, rule and peer in the record, and afterwards the counters of every row."""
    pol.release(path)
    subject, identity = ("server", 1001) if ingress else ("client", 1002)
    enforce(path, subject, 3, **{"ingress" if ingress else "egress": table})
    ring = pol.Records(path)
    ring.take()
    counts: dict[tuple[int, ...], list[int]] = {}
    for protocol, number in packets:
        path.clear("conntrack")
        packet = bytes(PROTOCOLS[protocol]("client", "server", family, dport=number))
        expected = pol.judged(table, identity, protocol, number)
        ran = path.run("from_pod", packet)
        assert (ran.retval == dp.REDIRECT) == (expected.verdict == ALLOW)
        record = ring.take()[0]
        assert (int(record["verdict"]), int(record["match"]), int(record["rule"]), int(record["peer"])) == (
            expected.verdict, expected.match, expected.rule, identity,
        )  # fmt: skip
        assert int(record["direction"]) == (INGRESS if ingress else EGRESS)
        if expected.row:
            count = counts.setdefault(expected.row, [0, 0])
            count[0] += 1
            count[1] += len(packet)
    ring.close()
    found = {}
    for row in pol.maps(path).rows(3):
        key = (row.identity,) if row.port is None else (row.identity, row.protocol, row.port, row.prefix_bits)
        if row.packets:
            found[key] = [row.packets, row.bytes]
    assert found == counts

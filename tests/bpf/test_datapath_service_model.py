"""Services at random: whoever gets through is answered from the address that was called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import datapath as dp
import datapath_services as sv
import packets as pk
from datapath_node import LO, furnish
from packets import FAMILIES

pytestmark = pytest.mark.root

BACKENDS = [("server", 8080), ("remote", 8080), ("remote", 8081)]
VIPS = (sv.VIP, sv.OTHER_VIP)


@pytest.fixture(scope="module")
def path() -> Iterator[dp.Datapath]:
    with dp.loaded(dp.config(nat_port_min=50_000, nat_port_max=50_015)) as made:
        furnish(made)
        for family in FAMILIES:
            made.add_endpoint(pk.address("server", family), LO, identity=1002)
        yield made


flow = st.tuples(
    st.sampled_from(["client", "world", "moon"]), st.sampled_from([0, 1]), st.sampled_from(["tcp", "udp"]),
    st.integers(1000, 1003),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(family=st.sampled_from(FAMILIES), flows=st.lists(flow, min_size=1, max_size=40))
def test_every_answer_comes_from_the_address_that_was_called(
    path: dp.Datapath, family: int, flows: list[tuple[str, int, str, int]]
) -> None:
    services = sv.Services(path)
    services.clear()
    for kind in ("tcp", "udp"):
        for vip in VIPS:
            services.add(vip[family], 80, kind, BACKENDS, flags=sv.ROUTABLE)
    taken: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for who, number, kind, port in flows:
        vip = VIPS[number][family]
        ran = path.run("from_pod" if who == "client" else "from_netdev",
                       bytes(sv.call(kind, who, vip, family, sport=port)))  # fmt: skip
        assert ran.retval == dp.REDIRECT, path.drops()
        assert pk.checksums_are_right(ran.data_out)
        there = pk.Ether(ran.data_out)
        seen = (kind, *sv.ends(there))
        assert taken.setdefault(seen, (who, vip, kind, port)) == (who, vip, kind, port)
        backend = "from_pod" if seen[3] == pk.address("server", family) else "from_netdev"
        back = pk.reply(there, ttl=64)
        if kind == "tcp":
            back[pk.TCP].flags = "SA"
        got = path.run(backend, bytes(pk.settled(back)))
        assert got.retval == dp.REDIRECT, path.drops()
        assert sv.ends(pk.Ether(got.data_out)) == (vip, 80, pk.address(who, family), port)

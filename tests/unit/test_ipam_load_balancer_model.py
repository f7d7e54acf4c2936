"""LB IPAM's allocator under random pools and services: never an address twice, nothing lost."""

from __future__ import annotations

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st

from glasshive.api.load_balancer_pool import LoadBalancerPool
from glasshive.api.load_balancer_request import AddressRequest
from glasshive.api.selectors import matches, parse_labels
from glasshive.ipam.address_sharing import may_share
from glasshive.ipam.load_balancer import Answer, LoadBalancerAddresses
from glasshive.model.span import Span, family, number

BLOCKS = ("10.0.0.0/30", "10.0.0.2/31", "10.0.0.8/32", "10.0.1.0/31", "fd00::/127", "fd00::4/126")
SPECIAL = ("10.0.0.1", "10.0.0.8", "fd00::5")

pools = st.builds(
    lambda name, blocks, labels, off: LoadBalancerPool(
        name, name, tuple(map(Span.of_prefix, blocks)), parse_labels(labels), off
    ),
    st.sampled_from("pqr"),
    st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=3, unique=True),
    st.sampled_from(["", "", "color=blue"]),
    st.sampled_from([False, False, True]),
)
services = st.builds(
    lambda name, families, wanted, color, ports, key, local: AddressRequest(
        ("ns", name), families, False, wanted, color, ports, key, frozenset(), local
    ),
    st.sampled_from("abcdefg"),
    st.sampled_from([(4,), (6,), (4, 6)]),
    st.lists(st.sampled_from([number(one) for one in SPECIAL]), max_size=1).map(tuple),
    st.sampled_from([{}, {"color": "blue"}]),
    st.frozensets(st.sampled_from([("TCP", 1), ("TCP", 2), ("UDP", 1)]), min_size=1),
    st.sampled_from(["", "k", "l"]),
    st.booleans(),
)
steps = st.lists(
    st.one_of(
        services,
        st.sampled_from("abcdefg"),
        st.lists(pools, max_size=3, unique_by=lambda pool: pool.name),
    ),
    max_size=40,
)


def check(ipam: LoadBalancerAddresses, requests: dict[str, AddressRequest]) -> None:
    """What must hold whatever has happened."""
    holders: dict[int, list[AddressRequest]] = {}
    for request in requests.values():
        for one in ipam.held(request.key):
            holders.setdefault(one, []).append(request)
    for users in holders.values():
        assert all(not may_share(a, b) for a in users for b in users if a is not b)
    for name, pool in ipam.pools.items():
        total, available, used = ipam.counts(name)
        assert used == sum(sum(1 for one in holders if one in span) for span in pool.spans)
        assert available == total - used >= 0


def check_answer(ipam: LoadBalancerAddresses, request: AddressRequest, answer: Answer) -> None:
    """What must hold for a service that has just been served."""
    assert answer.addresses == ipam.held(request.key)
    assert all(family(one) in request.families for one in answer.addresses)
    fitting = [pool for pool in ipam.pools.values() if matches(pool.selector, request.labels)]
    assert all(any(one in span for pool in fitting for span in pool.spans) for one in answer.addresses)
    if answer.reason == "satisfied":
        whole = request.wanted or request.families
        assert len(answer.addresses) == len(whole)
    else:
        assert answer.message
    if answer.reason == "out_of_ips":
        missing = set(request.families) - {family(one) for one in answer.addresses}
        usable = [pool for pool in fitting if not pool.disabled and pool.name not in ipam.conflicts]
        spans = [span for pool in usable for span in pool.spans if span.family in missing]
        held = {one for key in ipam.services() for one in ipam.held(key)}
        assert any(all(one in held for one in range(span.first, span.last + 1)) for span in spans)


@given(steps)
@settings(max_examples=300, deadline=None)
def test_never_twice_never_lost(script: list[AddressRequest | str | list[LoadBalancerPool]]) -> None:
    ipam = LoadBalancerAddresses()
    requests: dict[str, AddressRequest] = {}
    for step in script:
        if isinstance(step, str):
            requests.pop(step, None)
            ipam.release(("ns", step))
        elif isinstance(step, list):
            ipam.set_pools(step)
        else:
            requests[step.key[1]] = step
            check_answer(ipam, step, ipam.assign(step))
        check(ipam, requests)


@given(steps)
@settings(max_examples=100, deadline=None)
def test_a_restart_changes_nobodys_address(script: list[AddressRequest | str | list[LoadBalancerPool]]) -> None:
    ipam = LoadBalancerAddresses()
    for step in script:
        if isinstance(step, AddressRequest):
            ipam.assign(step)
        elif isinstance(step, list):
            ipam.set_pools(step)
        else:
            ipam.release(("ns", step))
    settled = {}
    for _ in range(2):  # what a change of pools means for each service is seen when it is looked at
        settled = {key: ipam.assign(ipam.request(key)) for key in sorted(ipam.services())}
    again = LoadBalancerAddresses()
    again.set_pools(ipam.pools.values())
    for key in settled:
        again.restore(ipam.request(key), ipam.held(key))
    assert {key: again.held(key) for key in settled} == {key: ipam.held(key) for key in settled}
    for key, answer in settled.items():
        assert again.assign(ipam.request(key)).addresses == answer.addresses


@given(st.integers(0, 32), st.integers(0, (1 << 32) - 1), st.booleans())
def test_a_prefix_has_the_addresses_that_ipaddress_says(length: int, base: int, ends: bool) -> None:
    network = ipaddress.ip_network((base >> (32 - length) << (32 - length) if length else 0, length))
    span = Span.of_prefix(str(network), ends=ends)
    first, last = int(network[0]), int(network[-1])
    spare = 0 if ends or length >= 31 else 1
    assert (span.first & 0xFFFFFFFF, span.last & 0xFFFFFFFF) == (first + spare, last - spare)
    assert span.family == 4

"""Who has an address and port that several Services want, under any order of coming and going."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from glasshive.model.address import parse
from glasshive.model.service import Service, ServicePort, ServiceRef
from glasshive.service.claims import Lost, ServiceClaims, places_of

ADDRESSES = [parse(one) for one in ("192.0.2.1", "192.0.2.2", "2001:db8::1")]

services = st.builds(
    lambda name, created, ports, external, balancer: Service(
        ServiceRef("ns", name),
        created=created,
        ports=tuple(ServicePort(f"p{number}", 6, number, node) for number, node in ports),
        external_addresses=tuple(external),
        balancer_addresses=tuple(balancer),
    ),
    st.sampled_from("abcde"),
    st.sampled_from(["2026-01-01", "2026-01-02"]),
    st.lists(st.tuples(st.sampled_from([80, 81]), st.sampled_from([0, 30_000])), max_size=2),
    st.lists(st.sampled_from(ADDRESSES), max_size=2),
    st.lists(st.sampled_from(ADDRESSES), max_size=1),
)


def lost(known: dict[ServiceRef, Service]) -> dict[ServiceRef, set[Lost]]:
    """The same by looking at everything."""
    found: dict[ServiceRef, set[Lost]] = {ref: set() for ref in known}
    for ref, service in known.items():
        for place in places_of(service):
            rivals = [one for one in known.values() if place in places_of(one)]
            holder = min(rivals, key=lambda one: (one.created, str(one.ref))).ref
            if holder != ref:
                found[ref].add(Lost(place, holder))
    return found


@given(st.lists(st.one_of(services, st.sampled_from("abcde")), max_size=25))
@settings(deadline=None)
def test_each_change_tells_whom_it_concerns_and_the_older_wins(script: list[Service | str]) -> None:
    claims = ServiceClaims()
    known: dict[ServiceRef, Service] = {}
    before: dict[ServiceRef, set[Lost]] = {}
    for step in script:
        ref = ServiceRef("ns", step) if isinstance(step, str) else step.ref
        if isinstance(step, str):
            touched = claims.remove(ref)
            known.pop(ref, None)
        else:
            touched = claims.put(step)
            known[ref] = step
        now = lost(known)
        assert {one: set(claims.lost(one)) for one in known} == now
        changed = {one for one in now.keys() & before.keys() if now[one] != before[one]}
        assert changed <= touched | {ref}
        before = now

"""Addresses, endpoint records, ids and the store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshive.endpoint.ids import IdPool
from glasshive.endpoint.quarantine import AddressBook
from glasshive.endpoint.store import EndpointStore
from glasshive.errors import ExhaustedError, UsageError
from glasshive.ipam.node_pool import NodePool
from glasshive.model.address import IPV4_ALL, IPV6_ALL, Prefix, is_ipv4, parse, render, render_all
from glasshive.model.endpoint import Endpoint, PodRef
from glasshive.model.node import NodeFacts, router_of


def endpoint(number: int = 7) -> Endpoint:
    return Endpoint(
        id=number,
        container_id="c" * 64,
        ifname="eth0",
        netns="/run/netns/x",
        pod=PodRef("default", "web", "uid"),
        addresses=(parse("10.244.1.7"), parse("fd00:10:244:1::7")),
        mac=bytes.fromhex("0a0000000007"),
        host_mac=bytes.fromhex("0a0100000007"),
        mtu=1500,
        identity=300,
    )


@given(st.ip_addresses())
def test_addresses_survive_both_ways(address: object) -> None:
    packed = parse(str(address))
    assert len(packed) == 16
    assert parse(render(packed)) == packed
    assert is_ipv4(packed) == (":" not in str(address)) or render(packed).count(".") == 3


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "fd00::g", "10.0.0.1/24", "ü", "10.0.0.1\0"])
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="is not an IP address"):
        parse(text)


def test_prefixes() -> None:
    assert Prefix.parse("10.244.3.9/24") == Prefix(120, parse("10.244.3.0"))
    assert str(Prefix.parse("10.244.0.0/16")) == "10.244.0.0/16"
    assert str(Prefix.parse("fd00::/48")) == "fd00::/48"
    assert Prefix.host(parse("10.0.0.1")) == Prefix.parse("10.0.0.1")
    assert str(IPV4_ALL) == "0.0.0.0/0"
    assert str(IPV6_ALL) == "::/0"
    with pytest.raises(UsageError, match="not an address prefix"):
        Prefix.parse("10.0.0.0/33")


def test_columns_of_addresses_render_in_order() -> None:
    texts = ["10.0.0.1", "fd00::1", "10.0.0.1", "::"]
    column = np.frombuffer(b"".join(parse(text) for text in texts), dtype=np.uint8).reshape(-1, 16)
    assert render_all(column) == texts
    assert render_all(np.zeros((0, 16), np.uint8)) == []


def test_router_addresses_are_the_first_usable_ones() -> None:
    node = NodeFacts("n", (), (Prefix.parse("10.244.3.0/24"), Prefix.parse("fd00:10:244:3::/64")))
    assert [render(one) for one in node.routers()] == ["10.244.3.1", "fd00:10:244:3::1"]
    assert render(router_of(Prefix.parse("10.0.0.0/16"))) == "10.0.0.1"


def test_endpoint_record_survives_json() -> None:
    one = endpoint()
    assert Endpoint.from_json(one.to_json()) == one
    assert one.ifindex == 100007
    assert one.host_ifname == "gh7"
    assert (one.ipv4(), one.ipv6()) == ("10.244.1.7", "fd00:10:244:1::7")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"id": "x"}, "wrong value"), ({"addresses": ["nope"]}, "not an IP address"), ({"mac": 5}, "wrong value")],
)
def test_a_broken_record_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Endpoint.from_json(endpoint().to_json() | change)
    with pytest.raises(UsageError, match="lacks the field 'identity'"):
        Endpoint.from_json({k: v for k, v in endpoint().to_json().items() if k != "identity"})


def test_ids_go_round_and_are_not_reused_at_once() -> None:
    pool = IdPool(highest=4)
    assert [pool.take() for _ in range(3)] == [1, 2, 3]
    pool.release(1)
    assert pool.take() == 4
    assert pool.take() == 1
    with pytest.raises(ExhaustedError, match="all 4 endpoint ids"):
        pool.take()
    pool.release(3)
    pool.release(99)
    assert pool.take() == 3


def test_ids_of_restored_endpoints_stay_theirs() -> None:
    pool = IdPool()
    pool.claim(5)
    assert pool.take() == 6
    assert len(pool) == 2


def test_the_journal_tells_what_was_noted_last(tmp_path: Path) -> None:
    path = tmp_path / "node1" / "endpoints.jsonl"
    store = EndpointStore(path)
    assert store.load() == []
    for number in (9, 7, 8):
        store.save(endpoint(number))
    changed = replace(endpoint(7), identity=301)
    store.save(changed)
    store.remove(8)
    store.remove(8)
    assert len(path.read_text().splitlines()) == 5
    assert EndpointStore(path).load() == [changed, endpoint(9)]
    assert len(path.read_text().splitlines()) == 2, "loading writes the journal anew"
    assert path.stat().st_mode & 0o777 == 0o600


def test_unreadable_lines_of_the_journal_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "endpoints.jsonl"
    store = EndpointStore(path)
    store.save(endpoint(9))
    store.close()
    with path.open("a") as journal:
        journal.write('{"id": 11}\n[]\n{"gone": "x"}\n{"id": 1')
    assert EndpointStore(path).load() == [endpoint(9)]
    assert caplog.text.count("not readable") == 4


def test_the_journal_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasshive.endpoint.store.GROWTH", 10)
    store = EndpointStore(tmp_path / "endpoints.jsonl")
    for _ in range(100):
        store.save(endpoint(1))
        store.remove(1)
    store.save(endpoint(2))
    assert len(store.path.read_text().splitlines()) <= 12
    assert EndpointStore(store.path).load() == [endpoint(2)]


def book(forgotten: list[frozenset[bytes]]) -> AddressBook:
    return AddressBook(NodePool(["10.244.1.0/29"]), forgotten.append)


def taken(made: AddressBook, owner: str) -> tuple[bytes, ...]:
    return tuple(parse(str(one)) for one in made.take(owner))


def test_an_address_is_forgotten_before_somebody_else_gets_it() -> None:
    forgotten: list[frozenset[bytes]] = []
    made = book(forgotten)
    owned = {f"o{n}": taken(made, f"o{n}") for n in range(5)}
    made.give_back("o1", owned["o1"])
    assert made.resting == 1
    assert len(made) == 4
    assert taken(made, "new") == owned["o1"], "the pool was exhausted: the resting address is forgotten and given"
    assert forgotten == [frozenset(owned["o1"])]
    with pytest.raises(ExhaustedError):
        made.take("more")


def test_an_owner_that_comes_back_does_not_meet_its_own_past() -> None:
    forgotten: list[frozenset[bytes]] = []
    made = book(forgotten)
    first = taken(made, "o")
    made.give_back("o", first)
    assert taken(made, "o") != first
    assert forgotten == [frozenset(first)]


def test_freeing_in_two_steps_leaves_newcomers_alone() -> None:
    forgotten: list[frozenset[bytes]] = []
    made = book(forgotten)
    first = taken(made, "o")
    made.give_back("o", first)
    assert made.leaving() == frozenset(first)
    again = taken(made, "o")
    assert made.left() == 0, "the second owner of that name keeps its addresses"
    assert made.pool.owned("o") is not None
    assert again != first

"""The two pools: examples for readers, and properties that must hold for any sequence of operations."""

from __future__ import annotations

import time
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasshive.errors import ExhaustedError, UsageError
from glasshive.ipam import ClusterPool, NodePool, PodAddresses
from glasshive.ipam.cluster_pool import Block
from glasshive.ipam.slots import Slots

DUAL = ("10.244.1.0/24", "fd00:10:244:1::/64")


def cluster(v4: str = "10.244.0.0/16", v6: str = "fd00:10:244::/48") -> ClusterPool:
    return ClusterPool([Block.parse(v4, 24), Block.parse(v6, 64)])


def test_node_pool_gives_both_families_and_keeps_the_router_free() -> None:
    pool = NodePool(DUAL)
    assert [str(a) for a in pool.routers] == ["10.244.1.1", "fd00:10:244:1::1"]
    assert [str(a) for a in pool.allocate("c1")] == ["10.244.1.2", "fd00:10:244:1::2"]
    assert pool.allocate("c1") == pool.owned("c1")
    assert pool.owner_of("10.244.1.2") == "c1"
    assert pool.owner_of("10.244.1.3") is None


def test_node_pool_hands_out_what_was_freed_last_as_late_as_possible() -> None:
    pool = NodePool(["10.0.0.0/29"])  # .0 network, .1 router, .7 broadcast: five pods
    for i in range(5):
        pool.allocate(f"c{i}")
    pool.release("c3")
    pool.release("c0")
    assert str(pool.allocate("x").ipv4) == "10.0.0.5"
    assert str(pool.allocate("y").ipv4) == "10.0.0.2"


def test_node_pool_exhausted_says_what_where_and_what_to_do() -> None:
    pool = NodePool(["10.0.0.0/30", "fd00::/64"])
    pool.allocate("only")
    with pytest.raises(ExhaustedError) as error:
        pool.allocate("second")
    text = str(error.value)
    assert "10.0.0.0/30" in text
    assert "all 1 pod addresses" in text
    assert "delete pods" in text
    assert pool.owned("second") is None
    pool.release("only")
    assert str(pool.allocate("second").ipv4) == "10.0.0.2"


def test_node_pool_gives_no_half_when_one_family_is_empty() -> None:
    pool = NodePool(["10.0.0.0/24", "fd00::/126"])  # v6: 4 addresses, network and router reserved
    pool.allocate("a")
    pool.allocate("b")
    before = len(pool)
    with pytest.raises(ExhaustedError, match="fd00::/126"):
        pool.allocate("c")
    assert len(pool) == before
    assert pool.owner_of("10.0.0.4") is None


@pytest.mark.parametrize(
    ("addresses", "text"),
    [
        (["10.244.1.1", "fd00:10:244:1::9"], "reserved"),
        (["10.244.1.255", "fd00:10:244:1::9"], "reserved"),
        (["10.244.2.9", "fd00:10:244:1::9"], "outside"),
        (["10.244.1.9"], "one address of each"),
        (["10.244.1.9", "10.244.1.10"], "both IPv4"),
        (["10.244.1.2", "fd00:10:244:1::9"], "belongs to first"),
    ],
)
def test_node_pool_restore_refuses(addresses: list[str], text: str) -> None:
    pool = NodePool(DUAL)
    pool.allocate("first")
    with pytest.raises(UsageError, match=text):
        pool.restore("late", addresses)
    assert pool.owned("late") is None


@pytest.mark.parametrize("cidrs", [[], ["10.0.0.0/24", "10.0.1.0/24"], ["10.0.0.0/31"], ["10.0.0.1/24"], ["x"]])
def test_node_pool_refuses_bad_cidrs(cidrs: list[str]) -> None:
    with pytest.raises(UsageError):
        NodePool(cidrs)


steps = st.lists(st.tuples(st.sampled_from(["allocate", "release"]), st.integers(0, 30)), max_size=80)


@given(steps)
def test_node_pool_any_sequence(sequence: list[tuple[str, int]]) -> None:
    pool = NodePool(["10.0.0.0/28", "fd00::/64"])
    model: dict[str, PodAddresses] = {}
    for action, number in sequence:
        owner = f"c{number}"
        if action == "release":
            assert pool.release(owner) == (model.pop(owner, None) is not None)
        elif len(model) == pool.capacity and owner not in model:
            with pytest.raises(ExhaustedError):
                pool.allocate(owner)
        else:
            got = pool.allocate(owner)
            assert model.setdefault(owner, got) == got
    assert dict(pool) == model
    given_out = [a for addresses in model.values() for a in addresses]
    assert len(given_out) == len(set(given_out))
    reserved = {ip_address(a) for a in ("10.0.0.0", "10.0.0.1", "10.0.0.15", "fd00::", "fd00::1")}
    assert not reserved & set(given_out)
    assert all(any(a in net for net in pool.cidrs if net.version == a.version) for a in given_out)

    restarted = NodePool(["10.0.0.0/28", "fd00::/64"])
    for owner, addresses in model.items():
        restarted.restore(owner, addresses)
    assert dict(restarted) == model
    if len(model) < pool.capacity:
        assert not set(restarted.allocate("new")) & set(given_out)


def test_allocation_time_does_not_grow_with_the_pool() -> None:
    pool = NodePool(["10.0.0.0/16", "fd00::/64"])
    began = time.perf_counter()
    for i in range(20_000):
        pool.allocate(f"c{i}")
    for i in range(20_000):
        pool.release(f"c{i}")
        pool.allocate(f"d{i}")
    assert (time.perf_counter() - began) / 60_000 < 200e-6


def test_cluster_pool_splits_by_node_and_reuses_after_release() -> None:
    pool = cluster("10.244.0.0/23")
    first = pool.allocate("node1")
    assert [str(n) for n in first] == ["10.244.0.0/24", "fd00:10:244::/64"]
    assert [str(n) for n in pool.allocate("node2")] == ["10.244.1.0/24", "fd00:10:244:1::/64"]
    with pytest.raises(ExhaustedError, match=r"node3.*all 2 blocks of /24 in 10\.244\.0\.0/23"):
        pool.allocate("node3")
    assert pool.release("node1")
    assert str(pool.allocate("node3")[0]) == "10.244.0.0/24"


def test_cluster_pool_gives_back_the_first_family_when_the_second_is_exhausted() -> None:
    pool = ClusterPool([Block.parse("10.244.0.0/16", 24), Block.parse("fd00::/63", 64)])
    pool.allocate("node1")
    pool.allocate("node2")
    with pytest.raises(ExhaustedError, match="fd00::/63"):
        pool.allocate("node3")
    pool.release("node1")
    assert pool.allocate("node3")


@pytest.mark.parametrize(
    ("cidrs", "text"),
    [
        (["10.244.1.0/25", "fd00:10:244:1::/64"], "not blocks"),
        (["10.245.1.0/24", "fd00:10:244:1::/64"], "not blocks"),
        (["10.244.1.0/24"], "not blocks"),
        (["10.244.0.0/24", "fd00:10:244:9::/64"], "belongs to node node1"),
    ],
)
def test_cluster_pool_restore_refuses(cidrs: list[str], text: str) -> None:
    pool = cluster()
    pool.allocate("node1")
    with pytest.raises(UsageError, match=text):
        pool.restore("node2", cidrs)
    assert pool.owned("node2") == ()


@pytest.mark.parametrize(("cidr", "prefix"), [("10.0.0.0/16", 15), ("10.0.0.0/16", 31), ("10.0.0.1/16", 24), ("x", 24)])
def test_block_refuses(cidr: str, prefix: int) -> None:
    with pytest.raises(UsageError):
        Block.parse(cidr, prefix)


@given(steps)
def test_cluster_pool_any_sequence(sequence: list[tuple[str, int]]) -> None:
    pool = ClusterPool([Block.parse("10.244.0.0/20", 24), Block.parse("fd00::/48", 64)])
    model: dict[str, tuple[object, ...]] = {}
    for action, number in sequence:
        node = f"node{number}"
        if action == "release":
            assert pool.release(node) == (model.pop(node, None) is not None)
        elif len(model) == 16 and node not in model:
            with pytest.raises(ExhaustedError):
                pool.allocate(node)
        else:
            got = pool.allocate(node)
            assert model.setdefault(node, got) == got
    networks = [n for node in model for n in pool.owned(node)]
    assert not any(a.overlaps(b) for i, a in enumerate(networks) for b in networks[:i] if a.version == b.version)
    assert all(n.subnet_of(ip_network("10.244.0.0/20")) for n in networks if n.version == 4)
    restarted = ClusterPool(pool.blocks)
    for node in model:
        restarted.restore(node, pool.owned(node))
    assert all(restarted.owned(node) == pool.owned(node) for node in model)


@settings(max_examples=50)
@given(st.integers(1, 40), st.sets(st.integers(0, 40)), st.lists(st.integers(0, 39), max_size=60))
def test_slots_use_each_slot_once_and_all_of_them(size: int, reserved: set[int], frees: list[int]) -> None:
    slots = Slots(size, reserved)
    for slot in frees:
        slots.allocate("a")
        slots.release(slot)
    while (slot := slots.allocate("b")) is not None:
        assert slot not in reserved
    assert len(slots) == slots.capacity

"""Who may speak for a prefix, and the table of the whole cluster."""

from __future__ import annotations

import random

import pytest

from glasshive.ipcache.claims import Claims, Rank
from glasshive.ipcache.desired import Entry, View, Vocabulary, desired, of_node, of_pod
from glasshive.model.address import IPV4_ALL, IPV6_ALL, ZERO, Prefix, parse
from glasshive.model.endpoint import PodRef
from glasshive.model.labels import Labels
from glasshive.model.node import NodeFacts
from glasshive.model.pod import PodFacts

WORDS = Vocabulary(
    host=1, remote_node=6, world=2, world_ipv4=9, world_ipv6=10, init=5, in_cluster=1, tunnel=2, onlink=4
)
ONE, TWO = Prefix.parse("10.0.0.1"), Prefix.parse("10.0.0.2")


def node(number: int) -> NodeFacts:
    return NodeFacts(
        f"node{number}",
        (parse(f"172.30.0.{10 + number}"), parse(f"fd30::{10 + number:x}")),
        (Prefix.parse(f"10.244.{number}.0/24"), Prefix.parse(f"fd00:10:244:{number}::/64")),
    )


def pod(name: str, where: int, *addresses: str, **facts: bool) -> PodFacts:
    labels = Labels.of([f"k8s:app={name}"])
    return PodFacts(PodRef("default", name, "u-" + name), f"node{where}", tuple(map(parse, addresses)), labels, **facts)


def test_the_better_rank_speaks_and_the_next_one_returns_when_it_lets_go() -> None:
    claims: Claims[str, int] = Claims()
    assert claims.set("api", Rank.POD, {ONE: 300}) == {ONE: 300}
    assert claims.set("local", Rank.LOCAL, {ONE: 301}) == {ONE: 301}
    assert claims.set("api", Rank.POD, {ONE: 302}) == {}, "a claim that does not hold changes nothing"
    assert claims.remove("local", Rank.LOCAL) == {ONE: 302}
    assert claims.remove("api", Rank.POD) == {ONE: None}
    assert len(claims) == 0


def test_of_two_pods_with_one_address_the_later_one_speaks() -> None:
    claims: Claims[str, int] = Claims()
    claims.set("old", Rank.POD, {ONE: 300})
    assert claims.set("new", Rank.POD, {ONE: 400}) == {ONE: 400}
    assert claims.set("old", Rank.POD, {ONE: 301}) == {}, "an update does not make the old one the later one"
    assert claims.remove("new", Rank.POD) == {ONE: 301}


def test_replacing_claims_withdraws_what_is_no_longer_claimed() -> None:
    claims: Claims[str, int] = Claims()
    claims.set("pod", Rank.POD, {ONE: 300, TWO: 300})
    assert claims.set("pod", Rank.POD, {TWO: 301}) == {ONE: None, TWO: 301}
    assert claims.table() == {TWO: 301}


@pytest.mark.parametrize("tunnel", [False, True])
def test_a_remote_node_is_reached_at_its_underlay_address(tunnel: bool) -> None:
    view = View("node1", tunnel, dual_stack=True)
    table = dict(of_node(node(2), view, WORDS))
    flags = WORDS.in_cluster | (WORDS.tunnel if tunnel else WORDS.onlink)
    ipv4, ipv6 = parse("172.30.0.12"), parse("fd30::c")
    assert table[Prefix.host(ipv4)] == Entry(WORDS.remote_node, WORDS.in_cluster | WORDS.onlink, ipv4)
    assert table[Prefix.parse("10.244.2.0/24")] == Entry(WORDS.world_ipv4, flags, ipv4)
    assert table[Prefix.parse("fd00:10:244:2::/64")] == Entry(WORDS.world_ipv6, flags, ipv4 if tunnel else ipv6)
    assert table[Prefix.parse("10.244.2.1")] == Entry(WORDS.remote_node, flags, ipv4)


def test_the_own_node_is_host_and_never_tunnelled() -> None:
    table = dict(of_node(node(1), View("node1", True, dual_stack=False), WORDS))
    assert table[Prefix.parse("172.30.0.11")] == Entry(WORDS.host, WORDS.in_cluster, ZERO)
    assert table[Prefix.parse("10.244.1.1")] == Entry(WORDS.host, WORDS.in_cluster, ZERO)
    assert table[Prefix.parse("10.244.1.0/24")] == Entry(WORDS.world, WORDS.in_cluster, ZERO)


def test_a_pod_whose_node_is_unknown_is_left_to_the_routes() -> None:
    table = dict(of_pod(pod("a", 2, "10.244.2.9"), 300, None, View("node1", True, dual_stack=True), WORDS))
    assert table == {Prefix.parse("10.244.2.9"): Entry(300, WORDS.in_cluster, ZERO)}


def test_pods_of_the_node_s_own_network_and_finished_pods_have_no_entry() -> None:
    view = View("node1", False, dual_stack=False)
    for facts in (pod("a", 2, "172.30.0.12", host_network=True), pod("a", 2, "10.244.2.9", finished=True)):
        assert list(of_pod(facts, 300, None, view, WORDS)) == []


def test_the_world_is_what_is_not_known_better() -> None:
    table = desired([], [], lambda _: 0, View("node1", False, dual_stack=True), WORDS)
    assert table == {IPV4_ALL: Entry(9, 0, ZERO), IPV6_ALL: Entry(10, 0, ZERO)}
    single = desired([], [], lambda _: 0, View("node1", False, dual_stack=False), WORDS)
    assert {entry.identity for entry in single.values()} == {2}


def test_incremental_claims_in_any_order_equal_the_whole_table() -> None:
    rng = random.Random(7)
    view = View("node1", True, dual_stack=True)
    nodes = [node(number) for number in range(1, 5)]
    pods = []
    for n in range(40):
        where = 1 + n % 4
        pods.append(pod(f"p{n}", where, f"10.244.{where}.{n + 2}", f"fd00:10:244:{where}::{n + 2:x}"))
    numbers = {facts.labels: 256 + index for index, facts in enumerate(pods)}
    whole = desired(nodes, pods, numbers.__getitem__, view, WORDS)
    steps = [*nodes, *pods]
    for _ in range(10):
        rng.shuffle(steps)
        claims: Claims[object, Entry] = Claims()
        claims.set("world", Rank.WORLD, {IPV4_ALL: Entry(9, 0, ZERO), IPV6_ALL: Entry(10, 0, ZERO)})
        for step in steps:
            if isinstance(step, NodeFacts):
                claims.set(step.name, Rank.NODE, dict(of_node(step, view, WORDS)))
            else:
                there = node(int(step.node.removeprefix("node")))
                facts = of_pod(step, numbers[step.labels], there, view, WORDS)
                claims.set(step.ref, Rank.POD, dict(facts))
        assert claims.table() == whole

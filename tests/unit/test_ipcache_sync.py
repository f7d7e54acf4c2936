"""The ipcache as it is written: sources in their order, and what entries that only say "who" take over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from glasshive.ipcache.desired import Entry, View, Vocabulary
from glasshive.ipcache.sync import IpcacheSync
from glasshive.maps.ipcache import IpcacheMap
from glasshive.model.address import ZERO, Prefix, covers, parse
from glasshive.model.endpoint import PodRef
from glasshive.model.labels import Labels
from glasshive.model.node import NodeFacts
from glasshive.model.pod import PodFacts

WORDS = Vocabulary(
    host=1, remote_node=6, world=2, world_ipv4=9, world_ipv6=10, init=5, in_cluster=1, tunnel=2, onlink=4
)
APISERVER, CIDR = 7, 1 << 24 | 1


class PaperMap:
    """Keeps what was written, in memory."""

    def __init__(self) -> None:
        self.rows: dict[Prefix, Any] = {}

    def update(self, entries: Mapping[Prefix, Any]) -> None:
        self.rows.update(entries)

    def delete(self, prefixes: Iterable[Prefix]) -> int:
        return sum(self.rows.pop(one, None) is not None for one in prefixes)


def sync(*, tunnel: bool = True) -> tuple[IpcacheSync, dict[Prefix, Entry]]:
    kernel = PaperMap()
    made = IpcacheSync(cast(IpcacheMap, kernel), View("node1", tunnel, dual_stack=True), WORDS)
    return made, kernel.rows


def node(number: int) -> NodeFacts:
    prefix = Prefix.parse(f"10.244.{number}.0/24")
    return NodeFacts(f"node{number}", (parse(f"172.30.0.{10 + number}"),), (prefix,))


def test_a_cidr_inside_a_pod_prefix_is_reached_as_that_prefix_is() -> None:
    cache, rows = sync()
    inside, around, outside = Prefix.parse("10.244.2.0/25"), Prefix.parse("10.0.0.0/8"), Prefix.parse("192.0.2.0/24")
    cache.set_cidrs({inside: CIDR, around: CIDR + 1, outside: CIDR + 2})
    cache.set_node(node(2))
    cache.flush()
    tunnelled = WORDS.in_cluster | WORDS.tunnel
    assert rows[inside] == Entry(CIDR, tunnelled, parse("172.30.0.12")), "also when the node came later"
    assert rows[around] == Entry(CIDR + 1, 0, ZERO)
    assert rows[outside] == Entry(CIDR + 2, 0, ZERO)
    cache.remove_node("node2")
    cache.flush()
    assert rows[inside] == Entry(CIDR, 0, ZERO)
    cache.set_cidrs({inside: None})
    cache.flush()
    assert inside not in rows


def test_pods_and_nodes_win_over_cidrs_and_the_api_server_over_nodes() -> None:
    cache, rows = sync(tunnel=False)
    pod, there = Prefix.parse("10.244.2.9"), Prefix.parse("172.30.0.12")
    cache.set_node(node(1))
    cache.set_node(node(2))
    cache.set_cidrs({pod: CIDR, there: CIDR})
    facts = PodFacts(PodRef("default", "a", "u"), "node2", (parse("10.244.2.9"),), Labels.of(["k8s:app=a"]))
    cache.set_pod(facts, 300)
    cache.flush()
    assert rows[pod].identity == 300
    assert rows[there].identity == WORDS.remote_node
    cache.set_apiserver([parse("172.30.0.12"), parse("172.30.0.11"), parse("10.96.0.1")], APISERVER)
    cache.flush()
    assert rows[there] == Entry(APISERVER, WORDS.in_cluster | WORDS.onlink, parse("172.30.0.12"))
    assert rows[Prefix.parse("172.30.0.11")].identity == WORDS.host, "the own node stays the host"
    assert rows[Prefix.parse("10.96.0.1")] == Entry(APISERVER, 0, ZERO)
    assert {str(prefix): source for prefix, _, source in cache.rows()}["172.30.0.12/32"] == "kube-apiserver"
    cache.remove_pod(facts.ref)
    cache.flush()
    assert rows[pod] == Entry(CIDR, WORDS.in_cluster | WORDS.onlink, parse("172.30.0.12"))


def test_nodes_may_have_identities_of_their_own() -> None:
    cache, rows = sync()
    there = Prefix.parse("172.30.0.12")
    cache.set_node_identities({there: 2 << 24 | 1})
    cache.set_node(node(2))
    cache.flush()
    assert rows[there].identity == 2 << 24 | 1
    cache.set_node_identities({})
    cache.flush()
    assert rows[there].identity == WORDS.remote_node


def test_covers_and_widened() -> None:
    assert covers(Prefix.parse("10.0.0.0/8"), Prefix.parse("10.1.2.3"))
    assert not covers(Prefix.parse("10.1.0.0/16"), Prefix.parse("10.0.0.0/8"))
    assert Prefix.parse("10.1.2.3").widened(112) == Prefix.parse("10.1.0.0/16")
    assert Prefix.parse("fd00::1").widened(64) == Prefix.parse("fd00::/64")


def test_prefixes_known_from_routes_stand_until_their_nodes_are_known() -> None:
    cache, rows = sync(tunnel=False)
    there, other = Prefix.parse("10.244.2.0/24"), Prefix.parse("10.244.3.0/24")
    cache.set_routed([there, other])
    cache.flush()
    assert rows[there] == Entry(WORDS.world_ipv4, WORDS.in_cluster, ZERO), "in the cluster, by the kernel's routes"
    cache.set_node(node(2))
    cache.set_routed([])
    cache.flush()
    assert rows[there] == Entry(WORDS.world_ipv4, WORDS.in_cluster | WORDS.onlink, parse("172.30.0.12"))
    assert other not in rows

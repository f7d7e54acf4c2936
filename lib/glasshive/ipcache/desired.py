"""The entries that nodes, pods and the world ask for. Pure functions.

Numbers of identities and flags are passed in as ``Vocabulary``, read from the datapath's BTF by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from glasshive.ipcache.claims import Claims, Rank
from glasshive.model.address import IPV4_ALL, IPV6_ALL, ZERO, Address, Prefix, is_ipv4, render
from glasshive.model.endpoint import PodRef
from glasshive.model.labels import Labels
from glasshive.model.node import NodeFacts
from glasshive.model.pod import PodFacts


class Entry(NamedTuple):
    """Value of the map, in the order of ``struct gh_ipcache_entry``."""

    identity: int
    flags: int
    node: Address

    def node_text(self) -> str:
        """The node's address, "" where there is none."""
        return "" if self.node == ZERO else render(self.node)


class Fact(NamedTuple):
    """A claim of an owner: which prefix has which entry."""

    prefix: Prefix
    entry: Entry


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Numbers of the C enums ``gh_identity`` and ``gh_ipcache_flags``."""

    host: int
    remote_node: int
    world: int
    world_ipv4: int
    world_ipv6: int
    init: int
    in_cluster: int
    tunnel: int
    onlink: int


@dataclass(frozen=True, slots=True)
class View:
    """From where the cluster is looked at: the node's name, how pods of other nodes are reached, which families."""

    node: str
    tunnel: bool
    dual_stack: bool


def world(view: View, words: Vocabulary) -> Iterator[Fact]:
    """Everything not known better is the world. Dual stack tells the families apart, as policy does."""
    yield Fact(IPV4_ALL, Entry(words.world_ipv4 if view.dual_stack else words.world, 0, ZERO))
    yield Fact(IPV6_ALL, Entry(words.world_ipv6 if view.dual_stack else words.world, 0, ZERO))


def of_node(node: NodeFacts, view: View, words: Vocabulary) -> Iterator[Fact]:
    """A node's fabric addresses, its router addresses, and the way to its pod prefixes."""
    local = node.name == view.node
    identity = words.host if local else words.remote_node
    for address in node.addresses:
        onlink = 0 if local else words.onlink
        where = ZERO if local else address
        yield Fact(Prefix.host(address), Entry(identity, words.in_cluster | onlink, where))
    for prefix, router in zip(node.pod_prefixes, node.routers(), strict=True):
        unknown_pod = words.world
        if view.dual_stack:
            unknown_pod = words.world_ipv4 if prefix.is_ipv4 else words.world_ipv6
        flags, where = _way(node, view, words, ipv4=prefix.is_ipv4)
        yield Fact(prefix, Entry(unknown_pod, flags, where))
        yield Fact(Prefix.host(router), Entry(identity, flags, where))


def of_pod(pod: PodFacts, identity: int, node: NodeFacts | None, view: View, words: Vocabulary) -> Iterator[Fact]:
    """A pod's addresses. ``node`` is the pod's; while that is unknown (None) the kernel's routes decide."""
    if pod.host_network or pod.finished:
        return
    for address in pod.addresses:
        flags, where = _way(node, view, words, ipv4=is_ipv4(address))
        yield Fact(Prefix.host(address), Entry(identity, flags, where))


def _way(node: NodeFacts | None, view: View, words: Vocabulary, *, ipv4: bool) -> tuple[int, Address]:
    """Flags and node address of what lives on a node, for one family of packets."""
    if node is None or node.name == view.node:
        return words.in_cluster, ZERO
    where = node.underlay() if view.tunnel else node.address(ipv4=ipv4)
    if where is None:
        return words.in_cluster, ZERO
    return words.in_cluster | (words.tunnel if view.tunnel else words.onlink), where


def desired(
    nodes: Iterable[NodeFacts],
    pods: Iterable[PodFacts],
    identity_of: Callable[[Labels], int],
    view: View,
    words: Vocabulary,
) -> dict[Prefix, Entry]:
    """The whole table at once: what the incremental path must arrive at in any order of events."""
    claims: Claims[PodRef | str, Entry] = Claims()
    known = {}
    claims.set("world", Rank.WORLD, dict(world(view, words)))
    for node in nodes:
        known[node.name] = node
        claims.set(node.name, Rank.NODE, dict(of_node(node, view, words)))
    for pod in pods:
        facts = of_pod(pod, identity_of(pod.labels), known.get(pod.node), view, words)
        claims.set(pod.ref, Rank.POD, dict(facts))
    return claims.table()

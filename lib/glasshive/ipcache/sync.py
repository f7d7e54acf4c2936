"""The kernel's ipcache made equal to what the API server, nodes, pods, local endpoints and policies claim.

Changes are collected and written in one batch at the end of the event loop's turn; a local endpoint's entries are
written at once, because its pod may talk the moment it is reported as attached. A full comparison with the kernel runs
at start and from time to time (``reconcile``), so that a wrong entry, whoever made it, does not stay.

The most specific entry is the only one that a packet meets. So an entry that only says who somebody is (a CIDR of a
policy, the API server's address) also says how the addresses are reached, which it takes from the node's entry that
covers it: a policy never turns off a tunnel or turns on masquerade.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from glasshive.ipcache.claims import Claims, Rank
from glasshive.ipcache.desired import Entry, Fact, View, Vocabulary, of_node, of_pod, world
from glasshive.maps.ipcache import IpcacheMap
from glasshive.maps.reconcile import Changes
from glasshive.model.address import ZERO, Address, Prefix, covers
from glasshive.model.endpoint import PodRef
from glasshive.model.node import NodeFacts
from glasshive.model.pod import PodFacts

Owner = PodRef | Prefix | str | int


class IpcacheSync:
    """Takes facts in, keeps the map."""

    def __init__(self, kernel: IpcacheMap, view: View, words: Vocabulary) -> None:
        self._kernel = kernel
        self._view = view
        self._words = words
        self._claims: Claims[Owner, Entry] = Claims()
        self._nodes: dict[str, NodeFacts] = {}
        self._pods: dict[PodRef, tuple[PodFacts, int]] = {}
        self._by_node: dict[str, set[PodRef]] = {}
        self._ways: dict[Prefix, Entry] = {}
        self._way_lengths: list[int] = []
        self._cidrs: dict[Prefix, int] = {}
        self._apiserver: dict[Prefix, int] = {}
        self._node_identities: dict[Prefix, int] = {}
        self._dirty: dict[Prefix, Entry | None] = {}
        self._flush_due = False
        self.after_write: Callable[[], object] = lambda: None
        """Called when addresses have other identities than before in the kernel."""
        self._note(self._claims.set("world", Rank.WORLD, dict(world(view, words))))

    # -- facts

    def set_node(self, node: NodeFacts) -> None:
        """A node appeared or changed; entries of its pods follow when its addresses did."""
        before = self._nodes.get(node.name)
        self._nodes[node.name] = node
        self._claim_node(node)
        if before is None or before.addresses != node.addresses:
            for ref in self._by_node.get(node.name, ()):
                self._claim_pod(*self._pods[ref])
        if before != node:
            self._claim_covered([*node.pod_prefixes, *(before.pod_prefixes if before else ())])

    def remove_node(self, name: str) -> None:
        """A node has gone."""
        node = self._nodes.pop(name, None)
        if node is not None:
            self._note(self._claims.remove(name, Rank.NODE))
            for prefix, _ in of_node(node, self._view, self._words):
                self._ways.pop(prefix, None)
            self._claim_covered(node.pod_prefixes)

    def set_pod(self, pod: PodFacts, identity: int) -> None:
        """A pod of any node appeared, changed, or has another identity now."""
        before = self._pods.get(pod.ref)
        if before is not None and before[0].node != pod.node:
            self._by_node.get(before[0].node, set()).discard(pod.ref)
        self._pods[pod.ref] = pod, identity
        self._by_node.setdefault(pod.node, set()).add(pod.ref)
        self._claim_pod(pod, identity)

    def remove_pod(self, ref: PodRef) -> None:
        """A pod has gone."""
        before = self._pods.pop(ref, None)
        if before is not None:
            self._by_node.get(before[0].node, set()).discard(ref)
            self._note(self._claims.remove(ref, Rank.POD))

    def set_local(self, endpoint_id: int, addresses: Iterable[Address], identity: int) -> None:
        """A local endpoint exists (or changed its identity): written before this returns."""
        entry = Entry(identity, self._words.in_cluster, ZERO)
        wanted = {Prefix.host(address): entry for address in addresses}
        self._note(self._claims.set(endpoint_id, Rank.LOCAL, wanted), flush=False)
        self.flush()

    def remove_local(self, endpoint_id: int) -> None:
        """A local endpoint has gone."""
        self._note(self._claims.remove(endpoint_id, Rank.LOCAL))

    def set_services(self, addresses: Iterable[Address], identity: int) -> None:
        """Service addresses that the node itself answers at have this identity: written before this returns."""
        entry = Entry(identity, self._words.in_cluster, ZERO)
        self._note(
            self._claims.set("services", Rank.LOCAL, {Prefix.host(one): entry for one in addresses}), flush=False
        )
        self.flush()

    def set_routed(self, prefixes: Iterable[Prefix]) -> None:
        """Prefixes of pods that are only known from the kernel's routes, which decide until their nodes are known."""
        found = {}
        for prefix in prefixes:
            world = self._words.world_ipv4 if prefix.is_ipv4 else self._words.world_ipv6
            identity = world if self._view.dual_stack else self._words.world
            found[prefix] = Entry(identity, self._words.in_cluster, ZERO)
        self._note(self._claims.set("routed", Rank.WORLD, found))

    def set_apiserver(self, addresses: Iterable[Address], identity: int) -> None:
        """Where the Kubernetes API answers. This node's own addresses stay ``host``."""
        mine = self._nodes.get(self._view.node)
        own = mine.addresses if mine else ()
        self._apiserver = {Prefix.host(one): identity for one in addresses if one not in own}
        self._claim_apiserver()

    def set_cidrs(self, changes: Mapping[Prefix, int | None]) -> None:
        """Prefixes that policies tell apart, with their node-local identities; None: no policy does any more."""
        changed: dict[Prefix, Entry | None] = {}
        for prefix, identity in changes.items():
            if identity is None:
                self._cidrs.pop(prefix, None)
                changed |= self._claims.remove(prefix, Rank.CIDR)
            else:
                self._cidrs[prefix] = identity
                changed |= self._claims.set(prefix, Rank.CIDR, {prefix: self._named(prefix, identity)})
        self._note(changed)

    def set_node_identities(self, identities: Mapping[Prefix, int]) -> None:
        """Node addresses whose identity is not ``remote-node``, because policies may tell nodes apart."""
        self._node_identities = dict(identities)
        for node in self._nodes.values():
            self._claim_node(node)

    def rows(self) -> list[tuple[Prefix, Entry, str]]:
        """The table with the name of each entry's source, sorted."""
        found = []
        for prefix in sorted(self._claims.table()):
            holder = self._claims.holder(prefix)
            if holder is not None:
                found.append((prefix, holder[1], holder[0].source))
        return found

    # -- the kernel's side

    def flush(self) -> None:
        """Write what has changed since the last time: first what is there, then what is gone."""
        dirty, self._dirty = self._dirty, {}
        self._kernel.update({prefix: entry for prefix, entry in dirty.items() if entry is not None})
        self._kernel.delete([prefix for prefix, entry in dirty.items() if entry is None])
        if dirty:
            self.after_write()

    def reconcile(self) -> Changes:
        """Compare the whole table with the kernel's and mend it."""
        self._dirty.clear()
        changes = self._kernel.reconcile(self.table())
        if any(changes):
            self.after_write()
        return changes

    def kernel_entries(self) -> Mapping[Prefix, Entry]:
        """What the kernel holds."""
        return {
            prefix: Entry(value.identity, value.flags, value.node) for prefix, value in self._kernel.entries().items()
        }

    def table(self) -> dict[Prefix, Entry]:
        """What the kernel should hold."""
        return self._claims.table()

    def _claim_pod(self, pod: PodFacts, identity: int) -> None:
        node = self._nodes.get(pod.node)
        facts: Iterable[Fact] = of_pod(pod, identity, node, self._view, self._words)
        self._note(self._claims.set(pod.ref, Rank.POD, dict(facts)))

    def _claim_node(self, node: NodeFacts) -> None:
        wanted = dict(of_node(node, self._view, self._words))
        self._ways |= wanted
        self._way_lengths = sorted({*self._way_lengths, *(one.length for one in wanted)}, reverse=True)
        for address in node.addresses:
            prefix = Prefix.host(address)
            if (told := self._node_identities.get(prefix)) is not None and prefix in wanted:
                wanted[prefix] = wanted[prefix]._replace(identity=told)
        self._note(self._claims.set(node.name, Rank.NODE, wanted))
        if self._apiserver:
            self._claim_apiserver()

    def _claim_apiserver(self) -> None:
        wanted = {prefix: self._named(prefix, identity) for prefix, identity in self._apiserver.items()}
        self._note(self._claims.set("apiserver", Rank.KUBE_APISERVER, wanted))

    def _claim_covered(self, prefixes: Iterable[Prefix]) -> None:
        """The way to some prefixes has changed: CIDRs inside of them follow."""
        around = tuple(prefixes)
        inside = [one for one in self._cidrs if any(covers(other, one) for other in around)] if self._cidrs else []
        self.set_cidrs({one: self._cidrs[one] for one in inside})

    def _named(self, prefix: Prefix, identity: int) -> Entry:
        """An entry that only says who: the way there is that of the node's entry around it, if there is one."""
        for length in self._way_lengths:
            if length <= prefix.length and (way := self._ways.get(prefix.widened(length))) is not None:
                return way._replace(identity=identity)
        return Entry(identity, 0, ZERO)

    def _note(self, changed: Mapping[Prefix, Entry | None], *, flush: bool = True) -> None:
        if not changed:
            return
        self._dirty.update(changed)
        if not flush or self._flush_due:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # without a loop (set-up, benchmarks) the caller flushes or reconciles
        self._flush_due = True
        loop.call_soon(self._flush_later)

    def _flush_later(self) -> None:
        self._flush_due = False
        if self._dirty:
            self.flush()

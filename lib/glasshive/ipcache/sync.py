"""The kernel's ipcache made equal to what nodes, pods and local endpoints claim.

Changes are collected and written in one batch at the end of the event loop's turn; a local endpoint's entries are
written at once, because its pod may talk the moment it is reported as attached. A full comparison with the kernel runs
at start and from time to time (``reconcile``), so that a wrong entry, whoever made it, does not stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from glasshive.ipcache.claims import Claims, Rank
from glasshive.ipcache.desired import Entry, Fact, View, Vocabulary, of_node, of_pod, world
from glasshive.maps.ipcache import IpcacheMap
from glasshive.maps.reconcile import Changes
from glasshive.model.address import ZERO, Address, Prefix
from glasshive.model.endpoint import PodRef
from glasshive.model.node import NodeFacts
from glasshive.model.pod import PodFacts

Owner = PodRef | str | int


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
        self._dirty: dict[Prefix, Entry | None] = {}
        self._flush_due = False
        self._note(self._claims.set("world", Rank.WORLD, dict(world(view, words))))

    # -- facts

    def set_node(self, node: NodeFacts) -> None:
        """A node appeared or changed; entries of its pods follow when its addresses did."""
        before = self._nodes.get(node.name)
        self._nodes[node.name] = node
        self._note(self._claims.set(node.name, Rank.NODE, dict(of_node(node, self._view, self._words))))
        if before is None or before.addresses != node.addresses:
            for ref in self._by_node.get(node.name, ()):
                self._claim_pod(*self._pods[ref])

    def remove_node(self, name: str) -> None:
        """A node has gone."""
        if self._nodes.pop(name, None) is not None:
            self._note(self._claims.remove(name, Rank.NODE))

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

    # -- the kernel's side

    def flush(self) -> None:
        """Write what has changed since the last time: first what is there, then what is gone."""
        dirty, self._dirty = self._dirty, {}
        self._kernel.update({prefix: entry for prefix, entry in dirty.items() if entry is not None})
        self._kernel.delete([prefix for prefix, entry in dirty.items() if entry is None])

    def reconcile(self) -> Changes:
        """Compare the whole table with the kernel's and mend it."""
        self._dirty.clear()
        return self._kernel.reconcile(self.table())

    def table(self) -> dict[Prefix, Entry]:
        """What the kernel should hold."""
        return self._claims.table()

    def _claim_pod(self, pod: PodFacts, identity: int) -> None:
        node = self._nodes.get(pod.node)
        facts: Iterable[Fact] = of_pod(pod, identity, node, self._view, self._words)
        self._note(self._claims.set(pod.ref, Rank.POD, dict(facts)))

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

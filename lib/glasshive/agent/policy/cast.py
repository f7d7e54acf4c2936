"""Who is on stage: identities with their named ports, endpoints and the node as subjects, other nodes' identities."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from glasshive.agent.datapath import Datapath
from glasshive.agent.pod_identities import PodIdentities
from glasshive.agent.view import ClusterView
from glasshive.endpoint.table import owner_of
from glasshive.identity.reserved import reserved_labels
from glasshive.model.address import Prefix
from glasshive.model.endpoint import Endpoint, PodRef
from glasshive.model.identity import Identity
from glasshive.model.labels import SOURCE_K8S, SOURCE_RESERVED, Label, Labels
from glasshive.model.node import NodeFacts
from glasshive.model.pod import PodFacts
from glasshive.model.policy import SubjectKind
from glasshive.policy.engine import Change, PutIdentity, PutSubject, RemoveIdentity
from glasshive.policy.ports import NO_NAMES, NamedPort
from glasshive.policy.prefixes import label_of
from glasshive.policy.resolve import SubjectFacts

NODE_SCOPE = 2 << 24
"""Identities of other nodes, on this node, where CIDR rules mean nodes too."""
DEPARTURE_SECONDS = 1.0
"""How long an identity stays known after its object has gone: its addresses leave the ipcache meanwhile."""

Submit = Callable[..., None]


class Cast:
    """Turns pods, nodes and identities into what the engine is told."""

    def __init__(
        self, datapath: Datapath, view: ClusterView, identities: PodIdentities, submit: Submit, *, nodes_by_cidr: bool
    ) -> None:
        self._datapath = datapath
        self._view = view
        self._identities = identities
        self._submit = submit
        self._nodes_by_cidr = nodes_by_cidr
        self._names: defaultdict[Labels, Counter[NamedPort]] = defaultdict(Counter)
        self._ports_of: dict[PodRef, tuple[Labels, frozenset[NamedPort]]] = {}
        self._node_labels: tuple[tuple[str, str], ...] = ()
        self._node_numbers: dict[Prefix, int] = {}
        self._leaving: dict[int, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Begin to follow."""
        self._identities.allocator.on_identity = self._on_identity
        self._view.on_pod(self._on_pod)
        self._view.on_node(self._on_node)
        if self._nodes_by_cidr:
            entries = self._datapath.ipcache.kernel_entries()
            self._node_numbers = {
                prefix: entry.identity for prefix, entry in entries.items() if entry.identity >> 24 == NODE_SCOPE >> 24
            }

    # -- for the engine

    def identities(self) -> list[Change]:
        """Every identity that is known."""
        known = self._identities.allocator.table.identities()
        found: list[Change] = [PutIdentity(one, self._names_of(one.labels)) for one in known]
        return found + [PutIdentity(one) for one in self._node_identities()]

    def facts(self, identity: int, namespace: str, name: str) -> SubjectFacts:
        """What policy needs to know of a pod's endpoint. An identity that nobody knows is judged as ``init``."""
        labels = self._identities.allocator.table.labels(identity) or reserved_labels("init")
        pod = self._view.pod(namespace, name)
        return SubjectFacts(labels, _named(pod) if pod else NO_NAMES)

    def subject(self, endpoint: Endpoint) -> SubjectFacts:
        """The same of an endpoint."""
        return self.facts(endpoint.identity, endpoint.pod.namespace, endpoint.pod.name)

    def host(self) -> SubjectFacts:
        """What policy needs to know of this node: its labels, and that it is the host."""
        labels = [Label(SOURCE_K8S, key, value) for key, value in self._node_labels]
        return SubjectFacts(Labels.of([Label(SOURCE_RESERVED, "host"), *labels]), kind=SubjectKind.NODE)

    # -- events

    def _on_identity(self, number: int, labels: Labels | None) -> None:
        timer = self._leaving.pop(number, None)
        if timer is not None:
            timer.cancel()
        if labels is not None:
            self._submit(PutIdentity(Identity(number, labels), self._names_of(labels)))
        else:
            self._leaving[number] = asyncio.get_running_loop().call_later(DEPARTURE_SECONDS, self._gone, number)

    def _gone(self, number: int) -> None:
        del self._leaving[number]
        self._submit(RemoveIdentity(number))

    def _names_of(self, labels: Labels) -> frozenset[NamedPort]:
        return frozenset(self._names[labels]) if labels in self._names else NO_NAMES

    def _on_pod(self, ref: PodRef, facts: PodFacts | None) -> None:
        before = self._ports_of.pop(ref, None)
        now = (facts.labels, _named(facts)) if facts is not None and facts.ports and not facts.finished else None
        if now is not None:
            self._ports_of[ref] = now
        if before == now:
            return
        for change, sign in ((now, 1), (before, -1)):
            if change is not None:
                self._count(*change, sign)
        if facts is not None:
            self._refresh(ref)

    def _count(self, labels: Labels, ports: frozenset[NamedPort], sign: int) -> None:
        had = self._names_of(labels)
        counts = self._names[labels]
        for port in ports:
            counts[port] += sign
            if not counts[port]:
                del counts[port]
        if not counts:
            del self._names[labels]
        number = self._identities.allocator.number(labels)
        if number is not None and self._names_of(labels) != had:
            self._submit(PutIdentity(Identity(number, labels), self._names_of(labels)))

    def _refresh(self, ref: PodRef) -> None:
        for endpoint in self._datapath.endpoints.of_pod(ref.namespace, ref.name):
            self._submit(PutSubject(owner_of(endpoint), self.subject(endpoint)))

    # -- nodes

    def _on_node(self, name: str, facts: NodeFacts | None) -> None:
        if name == self._datapath.config.node:
            if facts is not None and facts.labels != self._node_labels:
                self._node_labels = facts.labels
                self._submit(PutSubject("host", self.host()))
            return
        if not self._nodes_by_cidr:
            return
        wanted = {
            Prefix.host(address)
            for node in self._view.nodes() if node.name != self._datapath.config.node
            for address in node.addresses
        }  # fmt: skip
        known = self._node_numbers
        for prefix in sorted(wanted - known.keys()):
            known[prefix] = _free(known.values())
            self._submit(PutIdentity(_node_identity(prefix, known[prefix])))
        gone = [prefix for prefix in known if prefix not in wanted] if self._view.synced else []
        left = [known.pop(prefix) for prefix in gone]
        self._datapath.ipcache.set_node_identities(known)
        for number in left:
            self._on_identity(number, None)

    def _node_identities(self) -> list[Identity]:
        return [_node_identity(prefix, number) for prefix, number in self._node_numbers.items()]


def _named(pod: PodFacts) -> frozenset[NamedPort]:
    return frozenset(NamedPort(*one) for one in pod.ports)


def _node_identity(prefix: Prefix, number: int) -> Identity:
    return Identity(number, Labels.of([label_of(prefix), Label(SOURCE_RESERVED, "remote-node")]))


def _free(taken: Any) -> int:
    used = set(taken)
    number = NODE_SCOPE + 1
    while number in used:
        number += 1
    return number

"""Identities of all pods, here and elsewhere, and what follows from them: ipcache entries and endpoints' identities.

A pod of this node gets its number before its sandbox exists: the moment the scheduler's choice is seen, its labels'
number is asked for, so that CNI ADD finds it in memory. Where that fails the pod starts as ``init`` and is corrected as
soon as the number is known. For pods of other nodes, ``init`` stands until their own node has made the identity known.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import Any

from glasshive.agent import background
from glasshive.agent.node_network import NodeNetwork
from glasshive.agent.view import ClusterView
from glasshive.api.resources import POD
from glasshive.errors import ApiError, DeadlineError
from glasshive.identity.allocator import IdentityAllocator
from glasshive.identity.table import NumberChange
from glasshive.kube.client import Client
from glasshive.model.address import Address
from glasshive.model.endpoint import PodRef
from glasshive.model.labels import NO_LABELS, Labels
from glasshive.model.pod import PodFacts

SYNC_SECONDS = 30.0
ADD_PATIENCE_SECONDS = 2.0
"""How long a CNI ADD waits for an identity before it goes on with ``init``."""


class PodIdentities:
    """Feature "identity": joins pods with their numbers."""

    def __init__(self, client: Client, datapath: NodeNetwork, view: ClusterView) -> None:
        self._client = client
        self._datapath = datapath
        self._view = view
        self._init = datapath.reserved.number("init")
        self._pods: dict[PodRef, PodFacts] = {}
        self._by_labels: defaultdict[Labels, set[PodRef]] = defaultdict(set)
        self._services: tuple[Labels, tuple[Address, ...]] | None = None
        self.allocator = IdentityAllocator(client, datapath.reserved, self._on_number)
        self.allocator.in_use = self.in_use
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Follow identities and pods."""
        self.allocator.start()
        self._view.on_pod(self._on_pod)
        self._task = background.start(self._join_all(), "identities-synced")

    async def stop(self) -> None:
        """Stop following."""
        await background.stop(self._task)
        await self.allocator.stop()

    @property
    def complete(self) -> bool:
        """Whether all pods and identities that exist are known and joined."""
        return self._view.synced and self._task is not None and self._task.done()

    async def wait_complete(self) -> None:
        """Wait until all pods and identities that exist are known and joined."""
        while not self._view.synced:
            with contextlib.suppress(DeadlineError):
                await self._view.wait_synced(SYNC_SECONDS)
        if self._task is not None:
            await asyncio.shield(self._task)

    def status(self) -> dict[str, Any]:
        """How many identities and pods are known, and which local pods wait for theirs."""
        waiting = [str(one.pod) for one in self._datapath.endpoints if one.identity == self._init]
        return {"identities": len(self.allocator.table), "pods": len(self._pods), "waiting": waiting}

    async def identity_of(self, pod: PodRef) -> int:
        """The number of a pod that is about to be attached here; ``init`` when it cannot be known in time."""
        labels = self._view.labels_of_pod(pod)
        if labels is None:
            labels = await self._ask(pod)
        if labels is None:
            return self._init
        number = self.allocator.number(labels)
        if not self.allocator.ready(labels):
            number = await self.allocator.resolve(labels, ADD_PATIENCE_SECONDS)
        return self._init if number is None else number

    def pod(self, namespace: str, name: str) -> PodFacts | None:
        """What is known of a pod."""
        return self._view.pod(namespace, name)

    def in_use(self, labels: Labels) -> bool:
        """Whether a pod or a service of this node has these labels."""
        if self._services is not None and self._services[0] == labels:
            return True
        mine = self._datapath.config.node
        return any(_runs_on(self._pods[ref], mine) for ref in self._by_labels.get(labels, ()))

    def set_services(self, labels: Labels, addresses: tuple[Address, ...]) -> None:
        """Addresses that the node itself answers at stand for what has these labels."""
        self._services = labels, addresses
        self.allocator.request(labels)
        self._join_services()

    async def _ask(self, pod: PodRef) -> Labels | None:
        """The informer has not seen the pod yet: ask the API itself, once."""
        try:
            obj = await self._client.get(POD, pod.name, pod.namespace)
        except ApiError:
            return None
        return self._view.labels_of_object(obj)

    # -- events

    def _on_pod(self, ref: PodRef, facts: PodFacts | None) -> None:
        before = self._pods.pop(ref, None)
        if before is not None and (facts is None or facts.labels != before.labels):
            self._by_labels[before.labels].discard(ref)
            if not self._by_labels[before.labels]:
                del self._by_labels[before.labels]
        if facts is None:
            self._datapath.ipcache.remove_pod(ref)
            return
        self._pods[ref] = facts
        self._by_labels[facts.labels].add(ref)
        if _runs_on(facts, self._datapath.config.node):
            self.allocator.request(facts.labels)
        self._join(ref, facts)

    def _on_number(self, change: NumberChange) -> None:
        for ref in tuple(self._by_labels.get(change.labels, ())):
            self._join(ref, self._pods[ref])
        if self._services is not None and self._services[0] == change.labels:
            self._join_services()

    async def _join_all(self) -> None:
        """Once all identities are known, pods that have none are ``init``; until then nothing is said about them."""
        while not self.allocator.synced:
            with contextlib.suppress(DeadlineError):
                await self.allocator.wait_synced(SYNC_SECONDS)
        for ref, facts in tuple(self._pods.items()):
            self._join(ref, facts)

    def _join_services(self) -> None:
        labels, addresses = self._services or (NO_LABELS, ())
        number = self.allocator.number(labels)
        if number is not None:
            self._datapath.set_services(addresses, number)

    def _join(self, ref: PodRef, facts: PodFacts) -> None:
        """Write what follows from a pod's labels as they are now known.

        An agent that comes back finds right entries in the kernel: not knowing yet is no reason to change them.
        """
        number = self.allocator.number(facts.labels)
        if number is None and not self.allocator.synced:
            return
        self._datapath.ipcache.set_pod(facts, self._init if number is None else number)
        if number is None or facts.node != self._datapath.config.node:
            return
        table = self._datapath.endpoints
        for endpoint in table.of_pod(ref.namespace, ref.name):
            if endpoint.identity != number and endpoint.pod.uid in ("", ref.uid):
                table.set_identity(endpoint, number)


def _runs_on(facts: PodFacts, node: str) -> bool:
    """Whether a pod has, or will have, an endpoint on a node."""
    return facts.node == node and not facts.host_network and not facts.finished

"""Identities of all pods, here and elsewhere, and what follows from them: ipcache entries and endpoints' identities.

A pod of this node gets its number before its sandbox exists: the moment the scheduler's choice is seen, its labels'
number is asked for, so that CNI ADD finds it in memory. Where that fails the pod starts as ``init`` and is corrected as
soon as the number is known. For pods of other nodes, ``init`` stands until their own node has made the identity known.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from glasshive.agent import background
from glasshive.agent.datapath import Datapath
from glasshive.agent.view import ClusterView
from glasshive.api.resources import POD
from glasshive.errors import ApiError, DeadlineError
from glasshive.identity.allocator import IdentityAllocator
from glasshive.identity.table import NumberChange
from glasshive.kube.client import Client
from glasshive.model.endpoint import PodRef
from glasshive.model.labels import Labels
from glasshive.model.pod import PodFacts

SYNC_SECONDS = 30.0
ADD_PATIENCE_SECONDS = 2.0
"""How long a CNI ADD waits for an identity before it goes on with ``init``."""


class PodIdentities:
    """Feature "identity": joins pods with their numbers."""

    def __init__(self, client: Client, datapath: Datapath, view: ClusterView) -> None:
        self._client = client
        self._datapath = datapath
        self._view = view
        self._init = datapath.reserved.number("init")
        self._pods: dict[PodRef, PodFacts] = {}
        self._by_labels: defaultdict[Labels, set[PodRef]] = defaultdict(set)
        self.allocator = IdentityAllocator(client, datapath.reserved, self._on_number)
        self._task: asyncio.Task[None] | None = None
        self.on_endpoint: list[Callable[[int], None]] = []
        """Told the id of a local endpoint whose identity has changed."""

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
        if number is None:
            number = await self.allocator.resolve(labels, ADD_PATIENCE_SECONDS)
        return self._init if number is None else number

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
        if facts.node == self._datapath.config.node and not facts.host_network and not facts.finished:
            self.allocator.request(facts.labels)
        self._join(ref, facts)

    def _on_number(self, change: NumberChange) -> None:
        for ref in tuple(self._by_labels.get(change.labels, ())):
            self._join(ref, self._pods[ref])

    async def _join_all(self) -> None:
        """Once all identities are known, pods that have none are ``init``; until then nothing is said about them."""
        while not self.allocator.synced:
            with contextlib.suppress(DeadlineError):
                await self.allocator.wait_synced(SYNC_SECONDS)
        for ref, facts in tuple(self._pods.items()):
            self._join(ref, facts)

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
                for told in self.on_endpoint:
                    told(endpoint.id)

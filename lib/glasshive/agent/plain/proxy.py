"""Feature "services" of a node without eBPF: the part that kube-proxy plays.

Changes are collected and written at most every ``PERIOD_SECONDS``, in a thread: at thousands of services the tools need
seconds, and the node has other things to do meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

from glasshive.agent import background
from glasshive.agent.node_network import NodeNetwork
from glasshive.agent.plain.rules import Rules, rules_of
from glasshive.agent.services.sources import ServiceSources
from glasshive.agent.view import ClusterView
from glasshive.errors import DeadlineError, GlasshiveError
from glasshive.kube.client import Client
from glasshive.model.address import Prefix, parse
from glasshive.model.endpoint import PodRef
from glasshive.model.pod import PodFacts
from glasshive.model.service import ServiceRef
from glasshive.service.book import Book
from glasshive.service.desired import desired, host_ports
from glasshive.service.kube_proxy.names import Owned, PeerNode, named
from glasshive.service.settings import NodeView, ServiceSettings

PERIOD_SECONDS = 0.05
RETRY_SECONDS = 1.0
ZONE = "topology.kubernetes.io/zone"

log = logging.getLogger(__name__)


class KubeProxy:
    """Follows services and writes rules."""

    def __init__(self, client: Client, network: NodeNetwork, view: ClusterView, settings: ServiceSettings) -> None:
        config = network.config
        families = [ipv4 for ipv4, name in ((True, "ipv4"), (False, "ipv6")) if name in config.ip_families]
        self._network = network
        self._view = view
        self._settings = settings
        self._node = NodeView(
            config.node, dict(network.node.labels).get(ZONE, ""), True in families, False in families,
            frozenset(parse(text) for text in config.host_services),
        )  # fmt: skip
        self._book = Book()
        self._sources = ServiceSources(client, self._on_service)
        self._rules: list[Rules] = [rules_of(config.dataplane, ipv4=ipv4) for ipv4 in families]
        self._changed = asyncio.Event()
        self._built = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._took_ms = 0.0
        self.trouble = ""

    async def start(self) -> None:
        """Begin to follow; the rules change only when everything is known."""
        self._view.on_node(lambda *_: self._changed.set())
        self._view.on_pod(self._on_pod)
        self._sources.start()
        self._task = background.start(self._run(), "kube-proxy")

    async def stop(self) -> None:
        """Stop following; rules stay in force."""
        await background.stop(self._task)
        await self._sources.stop()

    async def wait_built(self, seconds: float) -> None:
        """Wait until the rules are as the API has it; DeadlineError."""
        try:
            await asyncio.wait_for(self._built.wait(), seconds)
        except TimeoutError:
            raise DeadlineError(f"services are not known within {seconds:g} s: {self.trouble}") from None

    def status(self) -> dict[str, Any]:
        """How much there is, and what is wrong."""
        return {
            "ready": self._built.is_set(),
            "services": len(self._sources.services()),
            "frontends": len(self._book.frontends()),
            "clashes": len(self._book.clashes()),
            "lastChangeMs": self._took_ms,
            "trouble": self.trouble,
        }

    async def _run(self) -> None:
        while not (self._sources.synced and self._view.synced):
            with contextlib.suppress(DeadlineError):
                await self._sources.wait_synced(10.0)
                await self._view.wait_synced(10.0)
        for service in self._sources.services():
            self._compute(service.ref)
        while True:
            self._changed.clear()
            pause = PERIOD_SECONDS
            began = time.perf_counter()
            try:
                changed = await asyncio.to_thread(self._write, self._owned(), self._peer())
            except GlasshiveError as error:
                log.error("rules are not as they should be: %s", error)  # noqa: TRY400 - the text says everything
                self.trouble, pause = str(error), RETRY_SECONDS
                self._changed.set()
            else:
                self.trouble = ""
                if changed:
                    self._took_ms = round((time.perf_counter() - began) * 1000, 2)
                self._built.set()
            await asyncio.sleep(pause)
            await self._changed.wait()

    def _write(self, found: list[Owned], node: PeerNode) -> bool:
        return any([one.apply(found, node) for one in self._rules])  # noqa: C419 - every family, also after a change

    def _owned(self) -> list[Owned]:
        return [named(self._book.holder(place), frontend) for place, frontend in self._book.frontends().items()]

    def _peer(self) -> PeerNode:
        """Packets to pods and nodes of the cluster keep their source."""
        nodes = [Prefix(128, address) for node in self._view.nodes() for address in node.addresses]
        pods = [Prefix.parse(text) for text in self._network.config.pod_cidrs]
        return PeerNode(self._network.node.pod_prefixes, (*pods, *sorted(nodes)))

    def _on_service(self, ref: ServiceRef) -> None:
        self._compute(ref)
        self._changed.set()

    def _on_pod(self, ref: PodRef, facts: PodFacts | None) -> None:
        owner = f"pod {ref.namespace}/{ref.name}"
        if facts is not None and facts.node == self._node.name and facts.host_ports:
            self._book.set(owner, host_ports(facts.host_ports, "", owner, self._node))
            self._changed.set()
        elif owner in self._book.owners():
            self._book.remove(owner)
            self._changed.set()

    def _compute(self, ref: ServiceRef) -> None:
        service = self._sources.service(ref)
        if service is None:
            self._book.remove(ref)
        else:
            self._book.set(ref, desired(service, self._sources.slices(ref), self._node, self._settings))

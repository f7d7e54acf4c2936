"""The feature itself: what changed is collected, turned into tables and written at the end of the event loop's turn.

What an earlier agent left in the kernel stays in force until everything is known; then only what is other than wanted
is written. While the API is away nothing changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Callable
from typing import Any

from glasshive.agent import background
from glasshive.agent.datapath import Datapath
from glasshive.agent.services import affinity
from glasshive.agent.services.details import Abilities, details
from glasshive.agent.services.health import HealthPorts
from glasshive.agent.services.sources import ServiceSources
from glasshive.agent.view import ClusterView
from glasshive.errors import DeadlineError, GlasshiveError
from glasshive.kube.client import Client
from glasshive.maps.affinity import NAME as AFFINITY
from glasshive.maps.services import ServiceMaps
from glasshive.model.address import parse
from glasshive.model.endpoint import PodRef
from glasshive.model.node import NodeFacts
from glasshive.model.pod import PodFacts
from glasshive.model.service import NO_TABLES, FrontendType, ServiceRef, ServiceTables
from glasshive.service.desired import desired, host_ports
from glasshive.service.settings import NodeView, ServiceSettings
from glasshive.service.sync import ServiceSync

COMPARE_SECONDS, COMPARE_MANY_SECONDS = 30.0, 600.0
"""How often the kernel's tables are compared with what is wanted, and how often when they hold ``MANY`` frontends:
that takes about 20 microseconds for each, and everybody else waits meanwhile."""
MANY = 2000
OTHERS_SECONDS = 5.0
"""How long tables wait for others to say what they have to put into them."""
RETRY_SECONDS = 1.0
"""How soon tables that could not be written are tried again."""
ZONE = "topology.kubernetes.io/zone"

log = logging.getLogger(__name__)


class ServicesFeature:
    """Feature "services"."""

    def __init__(self, client: Client, datapath: Datapath, view: ClusterView, settings: ServiceSettings) -> None:
        config = datapath.config
        self.settings = settings
        self.node = NodeView(
            config.node, _zone(datapath.node), "ipv4" in config.ip_families, "ipv6" in config.ip_families,
            frozenset(parse(text) for text in config.host_services),
        )  # fmt: skip
        self.sources = ServiceSources(client, self._on_service)
        self.kernel = ServiceMaps(datapath.objects.maps)
        self.sync = ServiceSync(self.kernel, settings)
        self.health = HealthPorts(self._local_endpoints)
        self.abilities = Abilities(socket=not datapath.socket_trouble, devices=True)
        self.trouble = ""
        self._device, self._addresses = config.device, datapath.node.addresses
        self._affinity = datapath.objects.maps.get(AFFINITY)
        self._health_ports: dict[ServiceRef, int] = {}
        self._view = view
        self._listeners: list[Callable[[ServiceRef], None]] = []
        self._others: list[asyncio.Event] = []
        self._dirty: dict[ServiceRef, None] = {}
        self._due = False
        self._built = asyncio.Event()
        self._failed = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._last_ms = 0.0
        self._built_ms = 0.0

    # -- life

    async def start(self) -> None:
        """Begin to follow; the tables change only when everything is known."""
        self._view.on_node(self._on_node)
        self._view.on_pod(self._on_pod)
        self.sources.start()
        self.health.start()
        self._task = background.start(self._run(), "services")

    async def stop(self) -> None:
        """Stop following; what is in the tables stays in force."""
        await background.stop(self._task)
        await self.health.stop()
        await self.sources.stop()

    async def wait_built(self, seconds: float) -> None:
        """Wait until the tables are as the API has them; DeadlineError."""
        try:
            await asyncio.wait_for(self._built.wait(), seconds)
        except TimeoutError:
            raise DeadlineError(f"services are not known within {seconds:g} s") from None

    def status(self) -> dict[str, Any]:
        """How much there is, and what is wrong."""
        return {
            "ready": self._built.is_set(),
            "services": len(self.sources.services()),
            **self.sync.counts(),
            "clashes": len(self.sync.book.clashes()),
            "findings": sum(len(one.findings) for one in self.sources.services()),
            "kubeProxyReplacement": details(self.abilities, self.settings, self._device, self._addresses),
            "builtInMs": self._built_ms,
            "lastChangeMs": self._last_ms,
            "healthCheckNodePorts": {str(port): str(ref) for port, ref in sorted(self.health.ports().items())},
            "trouble": self.trouble or self.sync.trouble or next(iter(self.health.trouble.values()), ""),
        }

    async def _run(self) -> None:
        while not (self.sources.synced and self._view.synced):
            with contextlib.suppress(DeadlineError):
                await self.sources.wait_synced(10.0)
                await self._view.wait_synced(10.0)
        await self._wait_for_others()
        self._build()
        self._built.set()
        compared = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), COMPARE_SECONDS)
            self._wake.clear()
            if self._failed:
                await asyncio.sleep(RETRY_SECONDS)
            patience = COMPARE_SECONDS if self.sync.counts()["frontends"] < MANY else COMPARE_MANY_SECONDS
            if self._failed or time.monotonic() - compared > patience:
                compared = time.monotonic()
                self._resync()
            await self._forget_clients()

    async def _forget_clients(self) -> None:
        if self._affinity is None:
            return
        gone, self.sync.parted = self.sync.parted, set()
        try:
            await asyncio.to_thread(affinity.forget, self._affinity, self.sync.affinities(), gone)
        except GlasshiveError as error:
            log.error("clients with affinity are not forgotten: %s", error)  # noqa: TRY400 - the text says everything

    def _build(self) -> None:
        began = time.perf_counter()
        for service in self.sources.services():
            self._compute(service.ref)
        self._dirty.clear()
        self._resync()
        if len(self.sources.services()) >= MANY:
            gc.freeze()  # they stay: the collector need not look at a million objects again and again
        self._built_ms = round((time.perf_counter() - began) * 1000, 2)

    def _resync(self) -> None:
        try:
            done = self.sync.resync()
        except GlasshiveError as error:
            self._note_failure(error)
            return
        self.trouble = ""
        self._failed = False
        self._after_writing()
        if any(done):
            log.info("service tables: %s", done)

    # -- changes

    def listen(self, listener: Callable[[ServiceRef], None]) -> None:
        """Have ``listener`` told of every Service that has changed."""
        self._listeners.append(listener)

    def wait_first(self, ready: asyncio.Event) -> None:
        """Leave an earlier agent's redirects in the kernel until ``ready``: whoever knows them puts them again."""
        self._others.append(ready)

    async def _wait_for_others(self) -> None:
        """Only where there is something to keep: a fresh node waits for nobody."""
        redirect = int(FrontendType.LOCAL_REDIRECT)
        if self._others and any(row.type == redirect for row in self.kernel.frontends().values()):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*(one.wait() for one in self._others)), OTHERS_SECONDS)

    def put(self, owner: str, tables: ServiceTables) -> None:
        """Replace what an owner that is no Service wants in this node's tables; NO_TABLES: nothing."""
        if tables.frontends or tables.backends:
            self.sync.book.set(owner, tables)
        else:
            self.sync.book.remove(owner)
        if self._built.is_set():
            self._soon()

    def _on_service(self, ref: ServiceRef) -> None:
        for listener in self._listeners:
            listener(ref)
        if not self._built.is_set():
            return  # the whole is computed when all is known
        self._dirty[ref] = None
        self._soon()

    def _on_node(self, name: str, facts: NodeFacts | None) -> None:
        if name != self.node.name or facts is None or _zone(facts) == self.node.zone:
            return
        old = self.node
        self.node = NodeView(old.name, _zone(facts), old.ipv4, old.ipv6, old.answered_here)
        for service in self.sources.services():
            self._on_service(service.ref)

    def _on_pod(self, ref: PodRef, facts: PodFacts | None) -> None:
        owner = f"pod {ref.namespace}/{ref.name}"
        here = facts is not None and facts.node == self.node.name
        self.put(owner, host_ports(facts.host_ports, "", owner, self.node) if facts and here else NO_TABLES)

    def _soon(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what has changed, now."""
        self._due = False
        began = time.perf_counter()
        dirty, self._dirty = self._dirty, {}
        for ref in dirty:
            self._compute(ref)
        if self._failed:
            return  # the next look at the whole does it
        try:
            done = self.sync.flush()
        except GlasshiveError as error:
            self._note_failure(error)
            return
        self._after_writing()
        if any(done):
            self._last_ms = round((time.perf_counter() - began) * 1000, 3)

    def _after_writing(self) -> None:
        if self.sync.unfinished:
            self._soon()
        if self.sync.parted:
            self._wake.set()
        self.health.set({port: ref for ref, port in self._health_ports.items()})

    def _local_endpoints(self, ref: ServiceRef) -> int:
        """How many ready endpoints of a Service are on this node."""
        slices = self.sources.slices(ref)
        return len({one.address for part in slices for one in part.endpoints if one.ready and one.node == self.node.name
                    and part.ipv4 == slices[0].ipv4})  # fmt: skip

    def _compute(self, ref: ServiceRef) -> None:
        service = self.sources.service(ref)
        self._health_ports.pop(ref, None)
        if service is not None and service.health_port and service.external_local:
            self._health_ports[ref] = service.health_port
        if service is None:
            self.sync.book.remove(ref)
        else:
            self.sync.book.set(ref, desired(service, self.sources.slices(ref), self.node, self.settings))

    def _note_failure(self, error: GlasshiveError) -> None:
        log.error("services are not in the tables as they should be: %s", error)
        self.trouble = str(error)
        self._failed = True
        self._wake.set()


def _zone(node: NodeFacts) -> str:
    return dict(node.labels).get(ZONE, "")

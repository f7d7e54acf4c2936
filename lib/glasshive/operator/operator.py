"""Composition root of the cluster-wide controllers.

Everything starts at once: informers list side by side, and each controller begins as soon as its own kinds are listed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Protocol

from glasshive.errors import GlasshiveError
from glasshive.kube.backoff import Backoff
from glasshive.kube.client import Client
from glasshive.operator import policy_status
from glasshive.operator.caches import Caches
from glasshive.operator.cluster_dns import ClusterDnsController
from glasshive.operator.config import OperatorConfig
from glasshive.operator.controller import Context
from glasshive.operator.cron_job import CronJobController
from glasshive.operator.daemon_set import DaemonSetController
from glasshive.operator.definitions import apply_definitions
from glasshive.operator.deployment import DeploymentController
from glasshive.operator.disruption import DisruptionController
from glasshive.operator.endpoint_slice import EndpointSliceController
from glasshive.operator.endpoints import EndpointsController
from glasshive.operator.events import EventRecorder
from glasshive.operator.expiry import EventExpiry
from glasshive.operator.garbage import GarbageCollector
from glasshive.operator.identity_garbage import IdentityGarbage
from glasshive.operator.job import JobController
from glasshive.operator.kinds import Kinds
from glasshive.operator.l2_status import L2StatusController
from glasshive.operator.load_balancer import LoadBalancerController
from glasshive.operator.load_balancer_addresses import LoadBalancerAddressController
from glasshive.operator.namespace import NamespaceController
from glasshive.operator.node_addresses import NodeAddressController
from glasshive.operator.node_lifecycle import NodeLifecycleController
from glasshive.operator.redirect_status import RedirectStatusController
from glasshive.operator.replica_set import ReplicaSetController
from glasshive.operator.scheduler import Scheduler
from glasshive.operator.service_account import ServiceAccountController
from glasshive.operator.service_faults import ServiceFaultController
from glasshive.operator.stateful_set import StatefulSetController
from glasshive.operator.taint_eviction import TaintEvictionController

log = logging.getLogger(__name__)


class _Part(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Operator:
    """All controllers over one client. ``run`` works until cancelled; ``ready`` is set when all controllers work."""

    def __init__(self, client: Client, config: OperatorConfig | None = None) -> None:
        self.client = client
        self.caches = Caches(client)
        self.events = EventRecorder(client)
        self.ready = asyncio.Event()
        config = config or OperatorConfig()
        context = Context(client, self.caches, self.events, config)
        # In the order of need: what brings up nodes and pods asks for its kinds first.
        self.scheduler = Scheduler(context)
        self.parts: list[_Part] = [
            NodeAddressController(context),
            ClusterDnsController(context),
            self.scheduler,
            ReplicaSetController(context),
            DeploymentController(context),
            DaemonSetController(context),
            StatefulSetController(context),
            JobController(context),
            CronJobController(context),
            ServiceAccountController(context),
            EndpointSliceController(context),
            EndpointsController(context),
            LoadBalancerController(context),
            LoadBalancerAddressController(context),
            ServiceFaultController(context),
            RedirectStatusController(context),
            L2StatusController(context),
            NodeLifecycleController(context),
            TaintEvictionController(context),
            DisruptionController(context),
            EventExpiry(client),
            IdentityGarbage(client, config.identity_gc_seconds),
            *policy_status.controllers(context),
        ]
        kinds = Kinds(self.caches)
        self.parts += [GarbageCollector(context, kinds), NamespaceController(context, kinds)]

    async def run(self) -> None:
        """Start everything and work until cancelled."""
        self.caches.start()
        self.events.start()
        try:
            await asyncio.gather(self._define(), *(part.start() for part in self.parts))
            self.ready.set()
            await asyncio.Event().wait()
        finally:
            self.ready.clear()
            await self._stop()

    async def _define(self) -> None:
        """Apply the CRDs; a server that is not there yet is awaited."""
        backoff = Backoff()
        while True:
            try:
                return await apply_definitions(self.client)
            except GlasshiveError as error:
                log.warning("custom resource definitions are not applied yet: %s", error)
                await asyncio.sleep(backoff.next())

    async def _stop(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*(part.stop() for part in self.parts))
            await self.events.stop()
            await self.caches.stop()

"""The kubelet: follows the pods bound to this node and keeps a worker for each.

``start`` does not wait for the API server: pods that run already are taken over as soon as it lists them, and go on
whether it does or not. ``connect`` hands over the agent's CNI entry point and makes the node Ready. ``stop`` leaves
every pod running.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from aiohttp import web

from glasshive.api.resources import POD
from glasshive.cluster.embedded.kubelet import http
from glasshive.cluster.embedded.kubelet.config import KubeletConfig
from glasshive.cluster.embedded.kubelet.context import Context
from glasshive.cluster.embedded.kubelet.node import NodeKeeper
from glasshive.cluster.embedded.kubelet.sandbox import Cni, PodSandbox, remove_quietly
from glasshive.cluster.embedded.kubelet.worker import PodWorker
from glasshive.inventory import Inventory
from glasshive.kube.client import Client
from glasshive.kube.informer import EventType, Informer
from glasshive.kube.objects import Object
from glasshive.operator.events import EventRecorder

LOG = logging.getLogger(__name__)


class Kubelet:
    """One node's kubelet; lives on one event loop."""

    def __init__(self, config: KubeletConfig, client: Client, inventory: Inventory) -> None:
        self.config = config
        self._context = Context(config, client, inventory, EventRecorder(client))
        self.node = NodeKeeper(config, client)
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._informer = Informer(client, POD, self._on_pod, field_selector=f"spec.nodeName={config.node}")
        self._orphans: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to register the node and to follow its pods."""
        self.config.pods_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._context.events.start()
        self.node.start()
        self._informer.start()
        self._orphans = asyncio.create_task(self._remove_orphans(), name="orphans")

    def connect(self, cni: Cni) -> None:
        """Pods can be connected from now on, by this CNI entry point (``agent.cni.CniServer.handle``)."""
        self._context.cni = cni
        self._context.network.set()
        self.node.set_ready("")

    def disconnect(self, why: str) -> None:
        """New pods have to wait, and the node is not Ready because of ``why``."""
        self._context.network.clear()
        self.node.set_ready(why)

    async def stop(self) -> None:
        """End the kubelet; pods go on."""
        tasks = [*self._tasks.values(), *([self._orphans] if self._orphans else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._informer.stop()
        await self.node.stop()
        await self._context.events.stop()

    def routes(self) -> list[web.RouteDef]:
        """What the node's HTTP server offers for pods."""
        return http.routes(self)

    # --- pods ---

    def worker(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of a pod by name."""
        for worker in self._workers.values():
            meta = worker.pod["metadata"]
            if meta["name"] == name and meta["namespace"] == namespace:
                return worker
        return None

    def pods(self) -> list[Object]:
        """The pods of this node, as last seen."""
        return [worker.pod for worker in self._workers.values()]

    def _on_pod(self, kind: EventType, old: Object | None, new: Object | None) -> None:
        if kind == "DELETED" and old is not None:
            worker = self._workers.get(old["metadata"]["uid"])
            if worker is not None:
                worker.gone()
        elif new is not None:
            uid = new["metadata"]["uid"]
            worker = self._workers.get(uid)
            if worker is None:
                self._begin(PodWorker(self._context, new))
            else:
                worker.update(new)

    def _begin(self, worker: PodWorker) -> None:
        uid = worker.uid
        self._workers[uid] = worker
        task = asyncio.create_task(self._run(worker), name=f"pod-{uid}")
        self._tasks[uid] = task
        task.add_done_callback(lambda _: (self._workers.pop(uid, None), self._tasks.pop(uid, None)))

    async def _run(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        except Exception:  # one pod's trouble must not end the others
            LOG.exception("pod %s: its worker ended", worker.uid)

    async def _remove_orphans(self) -> None:
        """Remove what is left of pods that were deleted while no kubelet ran."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._informer.wait_synced(float("inf"))
            for directory in list(self.config.pods_dir.iterdir()):
                uid = directory.name
                if uid in self._workers:
                    continue
                sandbox = PodSandbox(self.config, self._context.inventory, uid)
                if sandbox.record is not None:
                    await self._context.network.wait()
                LOG.info("pod %s is no longer in the API: removed", uid)
                left = await remove_quietly(sandbox, self._context.cni)
                if left:
                    LOG.warning("pod %s: %s", uid, left)
                else:
                    sandbox.forget()

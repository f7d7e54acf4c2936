"""For tests of clients and controllers: a real API server (in this loop, or as a process to kill) and a paper kubelet.

The paper kubelet does to objects what a node's kubelet would: nodes become Ready, bound pods become Running and Ready
(or end, if they say so in an annotation), terminating pods are removed. No process and no network stands behind it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from glasshive.api.resources import DEPLOYMENT, EVENT, NODE, POD, Resource
from glasshive.errors import ApiError
from glasshive.kube.client import Client
from glasshive.kube.informer import EventType, Informer
from glasshive.kube.objects import Key, Object, is_terminating, key_of
from glasshive.kube.workqueue import WorkQueue
from glasshive.operator import Operator, OperatorConfig
from glasshive.operator.clock import now_text

ENDS = "test.glasshive.io/ends"
"""Pod annotation: "Succeeded" or "Failed" makes the paper kubelet end the pod that way."""
HOLD = "test.glasshive.io/hold"
"""Pod annotation: "unready" keeps the pod Running but not Ready."""


async def eventually(check: Callable[[], object], seconds: float = 60.0, what: str = "") -> None:
    """Wait until ``check`` (a function, or one that returns an awaitable) is true."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        result = check()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return
        assert asyncio.get_running_loop().time() < deadline, what or f"not within {seconds} s"
        await asyncio.sleep(0.01)


def node_object(name: str, *, labels: dict[str, str] | None = None, ready: bool = True, **spec: object) -> Object:
    """Return a Node as a kubelet would register it."""
    state = {"type": "Ready", "status": "True" if ready else "False", "reason": "Paper", "message": "paper says so"}
    return NODE.object(
        name,
        metadata={"labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        spec=spec,
        status={"conditions": [state], "allocatable": {"pods": "110", "cpu": "8", "memory": "8Gi"}},
    )


class PaperKubelet:
    """Plays the kubelets of all nodes."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.queue: WorkQueue[Key] = WorkQueue("paper-kubelet", self._reconcile, workers=16)
        self.pods = Informer(client, POD, self._on_pod)
        self.addresses = 0

    async def add_node(self, name: str, **more: object) -> None:
        body = node_object(name, **more)  # type: ignore[arg-type]
        made = await self.client.create(NODE, body)
        if not made.get("status", {}).get("conditions"):
            await self.client.patch(NODE, name, {"status": body["status"]}, subresource="status")

    def _on_pod(self, _kind: EventType, _old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(key_of(new))

    async def _reconcile(self, key: Key) -> float | None:
        pod = self.pods.get(key[1], key[0])
        if pod is None or not pod["spec"].get("nodeName"):
            return None
        if is_terminating(pod):
            with suppress(ApiError):
                await self.client.delete(POD, key[1], key[0], grace_seconds=0)
            return None
        annotations = pod["metadata"].get("annotations") or {}
        ends = annotations.get(ENDS)
        ready = not ends and annotations.get(HOLD) != "unready"
        wanted = ends or "Running"
        status = pod.get("status") or {}
        conditions = [c for c in status.get("conditions") or [] if c["type"] != "Ready"]
        was = next((c for c in status.get("conditions") or [] if c["type"] == "Ready"), {})
        if status.get("phase") == wanted and (was.get("status") == "True") == ready:
            return None
        conditions.append({"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": now_text()})
        self.addresses += 1
        address = f"10.1.{self.addresses >> 8 & 255}.{self.addresses & 255}"
        body: Object = {"status": {"phase": wanted, "conditions": conditions, "startTime": now_text()}}
        if not status.get("podIP"):
            both = [{"ip": address}, {"ip": f"fd00:1::{self.addresses:x}"}]
            body["status"] |= {"podIP": address, "podIPs": both}
        await self.client.patch(POD, key[1], body, key[0], subresource="status")
        return None

    async def start(self) -> None:
        self.pods.start()
        self.queue.start()

    async def stop(self) -> None:
        await self.pods.stop()
        await self.queue.stop()


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Client]:
    """An API server in this event loop, and a client of it."""
    from glasshive.kube.server import Server

    server = Server(folder / "store.db", port=None, socket=folder / "api.sock")
    await server.start()
    try:
        async with Client(socket=folder / "api.sock") as client:
            yield client
    finally:
        await server.stop()


class Cluster:
    """What a controller test works with."""

    def __init__(self, client: Client, operator: Operator, kubelet: PaperKubelet) -> None:
        self.client = client
        self.operator = operator
        self.kubelet = kubelet


@asynccontextmanager
async def cluster(folder: Path, nodes: int = 3, config: OperatorConfig | None = None) -> AsyncIterator[Cluster]:
    """A server, the operator and ``nodes`` paper nodes."""
    async with served(folder) as client, Client(socket=folder / "api.sock") as second:
        operator, kubelet = Operator(client, config), PaperKubelet(second)
        task = asyncio.create_task(operator.run())
        try:
            await kubelet.start()
            for number in range(nodes):
                await kubelet.add_node(f"node{number + 1}")
            await asyncio.wait_for(operator.ready.wait(), 60)
            yield Cluster(client, operator, kubelet)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await kubelet.stop()


Body = Callable[[Cluster], Awaitable[None]]


def play(folder: Path, body: Body, nodes: int = 3, config: OperatorConfig | None = None) -> None:
    async def run() -> None:
        async with cluster(folder, nodes, config) as c:
            await body(c)

    asyncio.run(run())


def template(image: str = "echo", annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    metadata = {"labels": {"app": "web"}, "annotations": annotations or {}}
    return {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": image}], **spec}}


def deployment(replicas: int = 3, name: str = "web", image: str = "echo", **more: Any) -> Object:
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(image), **more}
    return DEPLOYMENT.object(name, spec=spec)


def a_pod(name: str, **spec: Any) -> Object:
    return POD.object(name, spec={"containers": [{"name": "c", "image": "echo"}], **spec})


async def get(c: Cluster, resource: Resource, name: str, namespace: str = "default") -> Object | None:
    try:
        return await c.client.get(resource, name, namespace if resource.namespaced else "")
    except ApiError as error:
        if error.code != 404:
            raise
        return None


async def pods(c: Cluster, namespace: str = "default", **more: str) -> list[Object]:
    return (await c.client.list(POD, namespace, **more)).items


def rolled_out(c: Cluster, name: str = "web") -> Callable[[], Awaitable[bool]]:
    """The same questions that ``kubectl rollout status`` asks."""

    async def check() -> bool:
        found = await get(c, DEPLOYMENT, name)
        assert found is not None
        status, replicas = found.get("status") or {}, found["spec"]["replicas"]
        if found["metadata"]["generation"] > status.get("observedGeneration", 0):
            return False
        fields = ("updatedReplicas", "replicas", "availableReplicas")
        return all(status.get(field, 0) == replicas for field in fields)

    return check


def count(c: Cluster, wanted: int, **more: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return len(await pods(c, **more)) == wanted

    return check


def is_gone(c: Cluster, resource: Resource, name: str, namespace: str = "default") -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return await get(c, resource, name, namespace) is None

    return check


def reported(c: Cluster, reason: str, part: str, namespace: str = "default") -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        events = (await c.client.list(EVENT, namespace)).items
        return any(e["reason"] == reason and part in e["message"] for e in events)

    return check


class ServerProcess:
    """An API server in a process of its own, to be killed and started again over the same store."""

    PROGRAM = """
import asyncio, sys
from glasshive.kube.server import Server

async def main():
    server = Server(sys.argv[1] + "/store.db", port=None, socket=sys.argv[1] + "/api.sock")
    await server.start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", self.PROGRAM, str(self.folder), stdout=asyncio.subprocess.PIPE
        )
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 60)
        assert line == b"ready\n"

    async def kill(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        self.process = None

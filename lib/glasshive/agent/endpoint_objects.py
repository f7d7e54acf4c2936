"""Feature "endpoints": a CiliumEndpoint object for each pod of this node, as people and other controllers read it.

Writes are few: one when a pod is attached, one when what the object says has changed, one when the pod goes. What an
earlier agent of this node left behind is looked for once, after the start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from glasshive.agent.node_network import NodeNetwork
from glasshive.agent.pod_identities import PodIdentities
from glasshive.api.cilium_endpoint import CILIUM_ENDPOINT
from glasshive.errors import ApiError
from glasshive.kube.client import Client
from glasshive.kube.objects import Object
from glasshive.kube.workqueue import WorkQueue
from glasshive.model.address import render
from glasshive.model.endpoint import Endpoint
from glasshive.model.labels import SERVICE_ACCOUNT, SOURCE_K8S, Labels

Key = tuple[str, str]

RETRY_SECONDS = 2.0
"""How long a pod is waited for whose object this node has not seen."""
_SWEEP: Key = ("", "")
_PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}

log = logging.getLogger(__name__)


class Enforcing(Protocol):
    """Who knows how policy stands for an endpoint: feature "policy"."""

    on_flip: list[Callable[[Endpoint], None]]
    """Called when that has changed."""

    def enforcement_texts(self, endpoint: Endpoint) -> tuple[str, str]:
        """Of ingress and egress; "" where nothing enforces."""


class EndpointObjects:
    """Keeps the objects of this node's endpoints."""

    def __init__(self, client: Client, datapath: NodeNetwork, identities: PodIdentities, policy: Enforcing) -> None:
        self._client = client
        self._datapath = datapath
        self._identities = identities
        self._written: dict[Key, tuple[str, dict[str, Any]]] = {}
        self._queue: WorkQueue[Key] = WorkQueue("cilium-endpoints", self._reconcile)
        self._policy = policy

    async def start(self) -> None:
        """Begin to write."""
        self._datapath.endpoints.listeners.append(self._on_endpoint)
        self._policy.on_flip.append(self.refresh)
        for endpoint in self._datapath.endpoints:
            self.refresh(endpoint)
        self._queue.add(_SWEEP)
        self._queue.start()

    async def stop(self) -> None:
        """Stop writing; the objects stay."""
        self._datapath.endpoints.listeners.remove(self._on_endpoint)
        await self._queue.stop()

    def status(self) -> dict[str, Any]:
        """How many objects this agent has written."""
        return {"written": len(self._written)}

    def refresh(self, endpoint: Endpoint) -> None:
        """Something that the object says may have changed."""
        if endpoint.pod.name:
            self._queue.add((endpoint.pod.namespace, endpoint.pod.name))

    def _on_endpoint(self, old: Endpoint | None, new: Endpoint | None) -> None:
        endpoint = new or old
        if endpoint is not None:
            self.refresh(endpoint)

    async def _reconcile(self, key: Key) -> float | None:
        if key == _SWEEP:
            await self._sweep()
            return None
        namespace, name = key
        found = self._datapath.endpoints.of_pod(namespace, name)
        if not found:
            await self._delete(key)
            return None
        endpoint = max(found, key=lambda one: one.id) if len(found) > 1 else found[0]
        pod = self._identities.pod(namespace, name)
        uid = endpoint.pod.uid or (pod.ref.uid if pod else "")
        if not uid:
            return RETRY_SECONDS
        await self._write(key, uid, self._status(endpoint))
        return None

    async def _write(self, key: Key, uid: str, status: dict[str, Any]) -> None:
        known = self._written.get(key)
        if known == (uid, status):
            return
        namespace, name = key
        body = cilium_endpoint(namespace, name, uid, status)
        try:
            if known is None:
                await self._client.create(CILIUM_ENDPOINT, body)
            else:
                await self._client.patch(CILIUM_ENDPOINT, name, body, namespace)
        except ApiError as error:
            if error.code not in {404, 409}:
                raise
            await self._write_again(key, body, error)
        self._written[key] = uid, status

    async def _write_again(self, key: Key, body: Object, error: ApiError) -> None:
        """There is one where there should be none (an earlier agent's or pod's), or none where one should be."""
        namespace, name = key
        self._written.pop(key, None)
        if error.reason == "AlreadyExists":
            await self._client.patch(CILIUM_ENDPOINT, name, body, namespace)
        else:
            await self._client.create(CILIUM_ENDPOINT, body)

    async def _delete(self, key: Key) -> None:
        if self._written.pop(key, None) is None:
            return
        try:
            await self._client.delete(CILIUM_ENDPOINT, key[1], key[0])
        except ApiError as error:
            if error.code != 404:  # with its pod it goes by itself
                self._written[key] = "", {}
                raise

    async def _sweep(self) -> None:
        """Take away what an earlier agent wrote about pods that went while no agent ran."""
        mine = _node_address(self._datapath)
        for obj in (await self._client.list(CILIUM_ENDPOINT)).items:
            status = obj.get("status") or {}
            key = obj["metadata"]["namespace"], obj["metadata"]["name"]
            if (status.get("networking") or {}).get("node") == mine and not self._datapath.endpoints.of_pod(*key):
                self._written[key] = "", {}
                self._queue.add(key)

    def _status(self, endpoint: Endpoint) -> dict[str, Any]:
        labels = self._identities.allocator.table.labels(endpoint.identity)
        waiting = endpoint.identity == self._datapath.reserved.number("init")
        state = "waiting-for-identity" if waiting else "ready"
        pod = self._identities.pod(endpoint.pod.namespace, endpoint.pod.name)
        return endpoint_status(
            endpoint, labels, state, _node_address(self._datapath), self._policy.enforcement_texts(endpoint),
            named_ports=pod.ports if pod else (),
        )  # fmt: skip


def cilium_endpoint(namespace: str, name: str, uid: str, status: dict[str, Any]) -> Object:
    """The object, owned by its pod: with the pod it goes."""
    owner = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
    return CILIUM_ENDPOINT.object(name, namespace, metadata={"ownerReferences": [owner]}, status=status)


def endpoint_status(
    endpoint: Endpoint, labels: Labels | None, state: str, node: str, enforcement: tuple[str, str],
    *, named_ports: Iterable[tuple[str, int, int]] = (),
) -> dict[str, Any]:  # fmt: skip
    """What the object says of an endpoint. ``named_ports``: (name, IP protocol number, port). Pure."""
    pair = {"ipv4": endpoint.ipv4(), "ipv6": endpoint.ipv6()}
    directions = {
        direction: {"enforcing": text.startswith("Enabled"), "state": text}
        for direction, text in zip(("ingress", "egress"), enforcement, strict=True)
        if text
    }
    ports = [
        {"name": name, "port": port, "protocol": _PROTOCOLS.get(number, str(number))}
        for name, number, port in sorted(named_ports)
    ]
    accounts = [one.value for one in labels or () if (one.source, one.key) == (SOURCE_K8S, SERVICE_ACCOUNT)]
    return {
        **({"named-ports": ports} if ports else {}),
        **({"service-account": accounts[0]} if accounts else {}),
        "id": endpoint.id,
        "state": state,
        "identity": {"id": endpoint.identity, "labels": labels.texts() if labels else []},
        "networking": {"addressing": [{key: text for key, text in pair.items() if text}], "node": node},
        "external-identifiers": {
            "container-id": endpoint.container_id,
            "k8s-namespace": endpoint.pod.namespace,
            "k8s-pod-name": endpoint.pod.name,
            "pod-name": f"{endpoint.pod.namespace}/{endpoint.pod.name}",
        },
        "policy": directions,
    }


def _node_address(datapath: NodeNetwork) -> str:
    return render(datapath.node.addresses[0]) if datapath.node.addresses else datapath.node.name

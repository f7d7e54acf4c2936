"""The Node object of this node: registered, kept alive by a Lease, made Ready when pods can be connected.

The API server may be away at any time: everything here is tried again in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import glasshive
from glasshive.api.resources import LEASE, NODE
from glasshive.cluster.embedded.kubelet.config import KubeletConfig
from glasshive.errors import ApiError
from glasshive.kube.client import Client
from glasshive.kube.objects import Object
from glasshive.operator.clock import now_text

LOG = logging.getLogger(__name__)
SOCKET_ANNOTATION = "glasshive.io/node-socket"
LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
RENEW_SECONDS = 10.0
STATUS_SECONDS = 60.0
LOOK_SECONDS = 10.0
"""Somebody else may have written the status meanwhile: a node that was silent is called Unknown."""
RETRY_SECONDS = 0.2
_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}


class NodeKeeper:
    """Keeps the Node object. ``ready`` is "" when the node takes pods, else what is missing."""

    def __init__(self, config: KubeletConfig, client: Client) -> None:
        self._config = config
        self._client = client
        self._missing = "the network is not ready yet"
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.registered = asyncio.Event()

    def start(self) -> None:
        """Begin in the background; ``registered`` is set once the Node is there."""
        self._tasks = [asyncio.create_task(self._keep_status()), asyncio.create_task(self._keep_lease())]

    async def stop(self) -> None:
        """Stop; the Node stays as it is."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def set_ready(self, missing: str) -> None:
        """Say whether pods can come: "" means yes."""
        if missing != self._missing:
            self._missing = missing
            self._wake.set()

    async def _keep_status(self) -> None:
        while True:
            try:
                await self._write()
            except ApiError as error:
                LOG.debug("node %s: %s", self._config.node, error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self.registered.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)
            self._wake.clear()

    async def _write(self) -> None:
        """Make or correct the Node and its status."""
        known = await self._known()
        wanted = node_object(self._config)
        if known is None:
            status = node_status(self._config, self._missing, None, now_text())
            known = await self._client.create(NODE, {**wanted, "status": status})
        else:
            meta = known["metadata"]
            parts = ("labels", "annotations")
            if any(not wanted["metadata"][p].items() <= (meta.get(p) or {}).items() for p in parts):
                body = {"metadata": {p: wanted["metadata"][p] for p in parts}}
                known = await self._client.patch(NODE, self._config.node, body)
        status = node_status(self._config, self._missing, known, now_text())
        if _differs(known.get("status") or {}, status):
            await self._client.patch(NODE, self._config.node, {"status": status}, subresource="status", kind="merge")

    async def _known(self) -> Object | None:
        try:
            return await self._client.get(NODE, self._config.node)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def _keep_lease(self) -> None:
        await self.registered.wait()
        while True:
            try:
                await self._renew()
            except ApiError as error:
                LOG.debug("lease of %s: %s", self._config.node, error)
            await asyncio.sleep(RENEW_SECONDS)

    async def _renew(self) -> None:
        name = self._config.node
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now}
        try:
            await self._client.patch(LEASE, name, {"spec": spec}, LEASE_NAMESPACE)
        except ApiError as error:
            if error.code != 404:
                raise
            await self._client.create(LEASE, LEASE.object(name, LEASE_NAMESPACE, spec=spec))


def node_object(config: KubeletConfig) -> Object:
    """The Node without status."""
    labels = {
        "kubernetes.io/hostname": config.node,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": _ARCH.get(platform.machine(), platform.machine()),
        **config.labels,
    }
    meta = {"name": config.node, "labels": labels, "annotations": {SOCKET_ANNOTATION: str(config.node_socket)}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": {}}


def node_status(config: KubeletConfig, missing: str, known: Object | None, now: str) -> dict[str, Any]:
    """The Node's status; pure but for facts of the machine."""
    memory = next(
        line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")
    )
    capacity = {"cpu": str(os.cpu_count() or 1), "memory": f"{memory}Ki", "pods": str(config.max_pods)}
    before = {c["type"]: c for c in ((known or {}).get("status") or {}).get("conditions") or []}
    ready = not missing

    def condition(kind: str, true: bool, reason: str, message: str = "") -> dict[str, Any]:
        return _condition(before, now, kind, true=true, reason=reason, message=message)

    conditions = [
        condition("Ready", ready, "KubeletReady" if ready else "KubeletNotReady", missing or "pods can be connected"),
        condition("NetworkUnavailable", not ready, "AgentReady" if ready else "AgentNotReady", missing),
        *(condition(f"{kind}Pressure", False, f"KubeletHasNo{kind}Pressure") for kind in ("Memory", "Disk", "PID")),
    ]
    return {
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in config.addresses),
            {"type": "Hostname", "address": config.node},
        ],
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": conditions,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": _node_info(config),
    }


def _node_info(config: KubeletConfig) -> dict[str, str]:
    system = platform.uname()
    machine_id = f"{config.cluster}-{config.node}"
    release = next(
        (line.partition("=")[2].strip('"') for line in _os_release() if line.startswith("PRETTY_NAME=")), "Linux"
    )
    return {
        "machineID": machine_id,
        "systemUUID": machine_id,
        "bootID": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "kernelVersion": system.release,
        "osImage": release,
        "containerRuntimeVersion": f"glasshive://{glasshive.__version__}",
        "kubeletVersion": f"v1.31.0-glasshive.{glasshive.__version__}",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": _ARCH.get(system.machine, system.machine),
    }


def _os_release() -> list[str]:
    try:
        return Path("/etc/os-release").read_text().splitlines()
    except FileNotFoundError:
        return []


def _condition(before: dict[str, Any], now: str, kind: str, *, true: bool, reason: str, message: str) -> dict[str, Any]:
    value = "True" if true else "False"
    old = before.get(kind) or {}
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": old.get("lastTransitionTime") if old.get("status") == value else now,
    }


def _differs(present: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a patch is due: always for a heartbeat older than its period, else only for changes."""

    def verdicts(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
        return {c["type"]: (c["status"], c.get("message", "")) for c in status.get("conditions") or []}

    if verdicts(wanted).items() - verdicts(present).items():
        return True
    if any(present.get(key) != wanted[key] for key in ("addresses", "capacity", "nodeInfo")):
        return True
    beats = [c.get("lastHeartbeatTime") for c in present.get("conditions") or []]
    newest = max((beat for beat in beats if beat), default="")
    return not newest or (datetime.now(UTC) - datetime.fromisoformat(newest)).total_seconds() >= STATUS_SECONDS

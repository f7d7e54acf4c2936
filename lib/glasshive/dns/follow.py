"""Keeps a zone equal to what the API holds. While the API is away, the zone stays as it was.

Services and EndpointSlices are always followed. Pods only once somebody has asked for a pod's name: hardly anybody
does, and on every node a copy of all pods would cost more than all the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from glasshive.api.resources import ENDPOINT_SLICE, POD, SERVICE
from glasshive.dns.answer import NotReadyError
from glasshive.dns.names import plain
from glasshive.dns.records import pod_records, service_records
from glasshive.dns.zone import Zone
from glasshive.errors import DeadlineError
from glasshive.kube.client import Client
from glasshive.kube.informer import EventType, Informer, Trim
from glasshive.kube.objects import Key, Object, key_of, labels_of

SERVICE_LABEL = "kubernetes.io/service-name"
FIRST_POD_SECONDS = 2.0
GATHER_SECONDS = 0.005
"""Changes of one Service that come within this time are taken in together."""


class Follower:
    """Feeds ``zone``. Its ``prepare`` belongs to the zone's ``Resolver``."""

    def __init__(self, client: Client, zone: Zone, domain: str) -> None:
        self.zone = zone
        self.domain = plain(domain)
        self.services = Informer(client, SERVICE, self._on_service, trim=_slim("spec"))
        self.slices = Informer(
            client,
            ENDPOINT_SLICE,
            self._on_slice,
            indexers={"service": lambda obj: [_service_of(obj)]},
            trim=_slim("addressType", "endpoints", "ports"),
        )
        self.pods = Informer(client, POD, self._on_pod, trim=_slim_pod)
        self.ready = False
        self._changed: set[Key] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._pods_wanted = False

    async def start(self) -> None:
        """Begin to follow; does not wait."""
        self.services.start()
        self.slices.start()

    async def wait_synced(self) -> None:
        """Wait until the zone holds everything, however long the API takes to come up."""
        await self.services.wait_synced(None)
        await self.slices.wait_synced(None)
        self.flush()
        self.ready = True

    async def stop(self) -> None:
        """Stop following; the zone stays as it is."""
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(self.services.stop(), self.slices.stop(), self.pods.stop())

    def prepare(self, name: str) -> Awaitable[None] | None:
        """Make sure that the zone can answer for a name. Raises NotReadyError before the first list has arrived."""
        if not self.ready:
            raise NotReadyError
        if name.endswith(f".pod.{self.domain}") and not self.pods.synced:
            return self._first_pods()
        return None

    def flush(self) -> None:
        """Take the changes gathered so far into the zone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        changed, self._changed = self._changed, set()
        for key in changed:
            service = self.services.get(key[1], key[0])
            parts = self.slices.by_index("service", f"{key[0]}/{key[1]}")
            self.zone.put(("service", *key), service_records(service, parts, self.domain) if service else {})

    async def _first_pods(self) -> None:
        if not self._pods_wanted:
            self._pods_wanted = True
            self.pods.start()
        try:
            await self.pods.wait_synced(FIRST_POD_SECONDS)
        except DeadlineError as error:
            raise NotReadyError from error

    def _on_service(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        self._touch(key_of(new or old or {}))

    def _on_slice(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        for obj in (old, new):
            if obj is not None:
                namespace, _, name = _service_of(obj).partition("/")
                self._touch((namespace, name))

    def _touch(self, key: Key) -> None:
        self._changed.add(key)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self.flush)

    def _on_pod(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        self.zone.put(("pod", *key_of(new or old or {})), pod_records(new, self.domain) if new else {})


def _service_of(obj: Object) -> str:
    return f"{key_of(obj)[0]}/{labels_of(obj).get(SERVICE_LABEL, '')}"


def _slim_pod(pod: Object) -> Object:
    """Addresses of a pod; one that has ended has none any more, though its status still shows them."""
    status = pod.get("status") or {}
    ended = status.get("phase") in {"Succeeded", "Failed"}
    return {**_slim()(pod), "status": {"podIPs": [] if ended else status.get("podIPs") or []}}


def _slim(*keep: str) -> Trim:
    """A function that keeps of an object what records are made of."""

    def trim(obj: Object) -> Object:
        meta = obj["metadata"]
        slim: Object = {key: meta[key] for key in ("namespace", "name", "uid", "resourceVersion") if key in meta}
        service = (meta.get("labels") or {}).get(SERVICE_LABEL)
        if service:
            slim["labels"] = {SERVICE_LABEL: service}
        return {"metadata": slim, **{key: obj[key] for key in keep if key in obj}}

    return trim

"""Services and EndpointSlices, followed and kept as values: objects are read once, when they come in."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

from glasshive.api.resources import ENDPOINT_SLICE, SERVICE
from glasshive.api.service import read_service, read_slice
from glasshive.kube.client import Client
from glasshive.kube.informer import Informer
from glasshive.kube.objects import Object
from glasshive.model.service import EndpointSlice, Service, ServiceRef

VALUE = "value"
_KEPT = ("name", "namespace", "uid", "resourceVersion")


class ServiceSources:
    """``on_change`` is told of every Service that may have other tables now."""

    def __init__(self, client: Client, on_change: Callable[[ServiceRef], None]) -> None:
        self._on_change = on_change
        self._services: dict[ServiceRef, Service] = {}
        self._slices: defaultdict[ServiceRef, dict[str, EndpointSlice]] = defaultdict(dict)
        self._informers = (
            Informer(client, SERVICE, self._on_service, trim=trim_service),
            Informer(client, ENDPOINT_SLICE, self._on_slice, trim=trim_slice),
        )

    def start(self) -> None:
        """Begin to follow."""
        for informer in self._informers:
            informer.start()

    async def stop(self) -> None:
        """Stop following; what is known stays."""
        await asyncio.gather(*(informer.stop() for informer in self._informers))

    async def wait_synced(self, seconds: float) -> None:
        """Wait until everything that exists is known; DeadlineError."""
        await asyncio.gather(*(informer.wait_synced(seconds) for informer in self._informers))

    @property
    def synced(self) -> bool:
        """Whether everything that exists is known."""
        return all(informer.synced for informer in self._informers)

    def service(self, ref: ServiceRef) -> Service | None:
        """One Service."""
        return self._services.get(ref)

    def services(self) -> list[Service]:
        """All Services."""
        return list(self._services.values())

    def slices(self, ref: ServiceRef) -> list[EndpointSlice]:
        """The EndpointSlices of a Service, in the order of their names."""
        found = self._slices.get(ref)
        if not found:
            return []
        return list(found.values()) if len(found) == 1 else [found[name] for name in sorted(found)]

    def _on_service(self, _: str, old: Object | None, new: Object | None) -> None:
        before: Service | None = old[VALUE] if old else None
        after: Service | None = new[VALUE] if new else None
        if after is not None:
            self._services[after.ref] = after
        elif before is not None:
            self._services.pop(before.ref, None)
        if (one := after or before) is not None and before != after:
            self._on_change(one.ref)

    def _on_slice(self, _: str, old: Object | None, new: Object | None) -> None:
        before: EndpointSlice | None = old[VALUE] if old else None
        after: EndpointSlice | None = new[VALUE] if new else None
        if before == after:
            return
        if before is not None and (after is None or after.service != before.service):
            known = self._slices[before.service]
            known.pop(before.name, None)
            if not known:
                del self._slices[before.service]
            self._on_change(before.service)
        if after is not None:
            self._slices[after.service][after.name] = after
            self._on_change(after.service)


def trim_service(obj: Object) -> Object:
    """A Service as it is kept: its value, and of its metadata what a cache needs."""
    return _kept(obj, read_service(obj))


def trim_slice(obj: Object) -> Object:
    """An EndpointSlice as it is kept."""
    return _kept(obj, read_slice(obj))


def _kept(obj: Object, value: object) -> Object:
    meta = obj["metadata"]
    return {"metadata": {name: meta[name] for name in _KEPT if name in meta}, VALUE: value}

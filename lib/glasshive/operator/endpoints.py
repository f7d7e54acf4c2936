"""Endpoints, the older form of EndpointSlices: one object for each Service with a selector, of its first family.

Computed from the slices, so both always tell the same; capped at 1,000 addresses as upstream does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import ClassVar

from glasshive.api.resources import ENDPOINT_SLICE, ENDPOINTS, SERVICE
from glasshive.errors import ApiError
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating, key_of, labels_of, owner_reference
from glasshive.operator import slices
from glasshive.operator.controller import Context, Controller

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
TRUNCATED = "endpoints.kubernetes.io/over-capacity"
MOST_ADDRESSES = 1000


def desired(service: Object, found: Iterable[Object]) -> Object:
    """Return the Endpoints of a Service from its slices. Pure."""
    namespace, name = key_of(service)
    family = slices.families(service)[0]
    groups: dict[str, tuple[list[Object], list[Object], list[Object]]] = {}
    total = 0
    for one in sorted(found, key=lambda s: str(s["metadata"]["name"])):
        if one.get("addressType") != family:
            continue
        ports = [{k: v for k, v in port.items() if k != "name" or v} for port in one.get("ports") or ()]
        group = groups.setdefault(json.dumps(ports, sort_keys=True), (ports, [], []))
        for endpoint in one.get("endpoints") or ():
            total += 1
            conditions = endpoint.get("conditions") or {}
            if total <= MOST_ADDRESSES and not (conditions.get("terminating") and not conditions.get("ready")):
                group[1 if conditions.get("ready") else 2].append(_address(endpoint))
    subsets = []
    for ports, ready, unready in groups.values():
        filled = {"addresses": ready, "notReadyAddresses": unready, "ports": ports}
        if ready or unready:
            subsets.append({key: value for key, value in filled.items() if value})
    own = {k: v for k, v in labels_of(service).items() if k not in {MANAGED_BY, slices.HEADLESS}}
    labels = own | {MANAGED_BY: MANAGER}
    if service["spec"].get("clusterIP") == "None":
        labels[slices.HEADLESS] = ""
    metadata: Object = {"labels": labels, "ownerReferences": [owner_reference(service, "v1", "Service")]}
    if total > MOST_ADDRESSES:
        metadata["annotations"] = {TRUNCATED: "truncated"}
    return ENDPOINTS.object(name, namespace, metadata=metadata, subsets=subsets)


def _address(endpoint: Object) -> Object:
    address: Object = {"ip": endpoint["addresses"][0]}
    for field in ("hostname", "nodeName", "targetRef"):
        if endpoint.get(field):
            address[field] = endpoint[field]
    return address


class EndpointsController(Controller):
    """Keeps the Endpoints of Services with a selector; those that people made are left alone."""

    name: ClassVar[str] = "endpoints"

    def __init__(self, context: Context) -> None:
        self._services = context.caches.of(SERVICE)
        self._slices = context.caches.of(ENDPOINT_SLICE)
        self._endpoints = context.caches.of(ENDPOINTS)
        super().__init__(context, [self._services, self._slices, self._endpoints])
        self._services.on_event(self.enqueue)
        self._slices.on_event(self._on_child)
        self._endpoints.on_event(self._on_endpoints)

    def _on_child(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        self.enqueue_owner("Service", old, new)

    def _on_endpoints(self, kind: EventType, old: Object | None, new: Object | None) -> None:
        """Mend what somebody else changed or deleted."""
        if kind != "ADDED":
            self.enqueue_owner("Service", old, new)

    async def reconcile(self, key: Key) -> float | None:
        """Make the Endpoints of one Service tell what its slices tell."""
        service = self._services.get(key[1], key[0])
        if service is None or is_terminating(service):
            return None  # they go with their owner
        stored = self._endpoints.get(key[1], key[0])
        ours = stored is not None and labels_of(stored).get(MANAGED_BY) == MANAGER
        if not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            if stored is not None and ours:
                await self._endpoints.delete(stored)
            return None
        mine = [s for s in self._slices.controlled_by(service) if labels_of(s).get(slices.MANAGED_BY) == slices.MANAGER]
        wanted = desired(service, mine)
        if stored is None:
            await self._create(wanted)
        elif not _same(wanted, stored):
            gone = dict.fromkeys(labels_of(stored).keys() - labels_of(wanted).keys()) if ours else {}
            flag = (wanted["metadata"].get("annotations") or {}).get(TRUNCATED)
            metadata: Object = {"labels": {**gone, **labels_of(wanted)}, "annotations": {TRUNCATED: flag}}
            metadata["ownerReferences"] = wanted["metadata"]["ownerReferences"]
            await self._endpoints.patch(stored, {"metadata": metadata, "subsets": wanted["subsets"]})
        return None

    async def _create(self, wanted: Object) -> None:
        try:
            await self._endpoints.create(wanted)
        except ApiError as error:
            if error.code != 403:  # 403: the namespace is on its way out
                raise


def _same(wanted: Object, stored: Object) -> bool:
    flags = [(o["metadata"].get("annotations") or {}).get(TRUNCATED) for o in (wanted, stored)]
    return (
        (wanted.get("subsets") or []) == (stored.get("subsets") or [])
        and labels_of(wanted) == labels_of(stored)
        and flags[0] == flags[1]
    )

"""EndpointSlices: where the pods of a Service are, up to date on every change of a pod (computed in ``slices``)."""

from __future__ import annotations

from typing import ClassVar

from glasshive.api.resources import ENDPOINT_SLICE, NODE, POD, SERVICE
from glasshive.errors import ApiError
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating, key_of, labels_of
from glasshive.operator import slices
from glasshive.operator.controller import Context, Controller


class EndpointSliceController(Controller):
    """Keeps the slices of Services that have a selector; slices that others made are left alone."""

    name: ClassVar[str] = "endpointslice"

    def __init__(self, context: Context) -> None:
        self._services = context.caches.of(SERVICE)
        self._slices = context.caches.of(ENDPOINT_SLICE)
        self._pods = context.caches.of(POD)
        self._nodes = context.caches.of(NODE)
        super().__init__(context, [self._services, self._slices, self._pods, self._nodes])
        self._services.on_event(self.enqueue)
        self._slices.on_event(self._on_slice)
        self._pods.on_event(self._on_pod)

    def _on_slice(self, kind: EventType, old: Object | None, new: Object | None) -> None:
        """Mend what somebody else changed or deleted."""
        if kind != "ADDED":
            self.enqueue_owner("Service", old, new)

    def _on_pod(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        pod = new or old
        assert pod is not None
        namespace = key_of(pod)[0]
        for key, value in {*labels_of(old or pod).items(), *labels_of(pod).items()}:
            for service in self._services.informer.by_index("selector", f"{namespace}/{key}={value}"):
                selector = service["spec"]["selector"]
                if any(o is not None and selector.items() <= labels_of(o).items() for o in (old, new)):
                    self.queue.add(key_of(service))

    async def reconcile(self, key: Key) -> float | None:
        """Make the slices of one Service fit its pods."""
        service = self._services.get(key[1], key[0])
        if service is None or is_terminating(service):
            return None  # the slices go with their owner
        existing = {
            s["metadata"]["name"]: s
            for s in self._slices.controlled_by(service)
            if labels_of(s).get(slices.MANAGED_BY) == slices.MANAGER
        }
        selector = service["spec"].get("selector")
        wanted: dict[str, Object] = {}
        if selector and service["spec"].get("type") != "ExternalName":
            here = self._pods.informer.by_index("namespace", key[0])
            pods = [p for p in here if selector.items() <= labels_of(p).items()]
            wanted = slices.desired_slices(service, pods, self._nodes.get)
        for name, body in wanted.items():  # add before removing: no endpoint is missing in between
            await self._put(existing.get(name), body)
        for name in existing.keys() - wanted.keys():
            await self._slices.delete(existing[name])
        return None

    async def _put(self, stored: Object | None, wanted: Object) -> None:
        if stored is None:
            try:
                await self._slices.create(wanted)
            except ApiError as error:
                if error.code != 403:  # 403: the namespace is on its way out
                    raise
        elif not slices.same(wanted, stored):
            gone = dict.fromkeys(labels_of(stored).keys() - labels_of(wanted).keys())
            labels = {**gone, **labels_of(wanted)}
            body = {"metadata": {"labels": labels}, "endpoints": wanted["endpoints"], "ports": wanted["ports"]}
            await self._slices.patch(stored, body)

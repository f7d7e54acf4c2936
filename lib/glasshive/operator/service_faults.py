"""What is wrong about Services is said on them: a condition, and an event when it begins. Others are not touched by it.

What an agent does about it is the same on all nodes: a field that makes no sense is left out, of two Services that want
the same address and port the older one has it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import ClassVar, NamedTuple

from glasshive.api import service_conditions as words
from glasshive.api.resources import ENDPOINT_SLICE, SERVICE
from glasshive.api.service import ANY_IPV4, ANY_IPV6, read_service, service_of_slice
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating, key_of, uid_of
from glasshive.model.address import render
from glasshive.model.service import Service, ServiceRef
from glasshive.model.span import Span
from glasshive.operator.conditions import conditions_patch, with_condition, without_condition
from glasshive.operator.controller import Context, Controller
from glasshive.service.claims import Lost, ServiceClaims

COMPONENT = "service-controller"
PATIENCE_SECONDS = 5.0
"""A Service may be there before its pods: only then is a selector that matches nothing worth a word."""
SHOWN = 3
_EVENTS = {
    words.INVALID_FIELD: "ServiceFieldInvalid",
    words.ADDRESS_IN_CLUSTER: "ServiceAddressInCluster",
    words.PORT_CLASH: "ServicePortClash",
    words.NO_PODS: "ServiceSelectsNothing",
}


class Fault(NamedTuple):
    """What is wrong, as one word and as a sentence."""

    reason: str
    text: str


class ServiceFaultController(Controller):
    """Judges each Service, and those that want what it wants."""

    name: ClassVar[str] = "service-faults"
    workers: ClassVar[int] = 2

    def __init__(self, context: Context) -> None:
        self._services = context.caches.of(SERVICE)
        self._slices = context.caches.of(ENDPOINT_SLICE)
        super().__init__(context, [self._services, self._slices])
        self._claims = ServiceClaims()
        self._endpoints: defaultdict[Key, set[str]] = defaultdict(set)
        self._seen: dict[Key, str] = {}
        config = context.config
        self._own = [(Span.of_prefix(str(one.cidr)), f"the pods' CIDR {one.cidr}") for one in config.pod_blocks]
        self._own += [(Span.of_prefix(one), f"the services' CIDR {one}") for one in config.service_cidrs]
        self._services.on_event(self._on_service)
        self._slices.on_event(self._on_slice)

    def _on_service(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        gone = new is None or is_terminating(new)
        ref = ServiceRef(*key_of(obj))
        for other in self._claims.remove(ref) if gone else self._claims.put(read_service(obj)):
            self.queue.add(other)
        self.queue.add(key_of(obj))

    def _on_slice(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        """Only the first endpoint and the last one matter."""
        for obj, here in ((old, False), (new, bool(new and new.get("endpoints")))):
            ref = service_of_slice(obj) if obj is not None else None
            if obj is None or ref is None:
                continue
            slices = self._endpoints[ref]
            before = bool(slices)
            (slices.add if here else slices.discard)(key_of(obj)[1])
            if bool(slices) != before:
                self.queue.add((ref.namespace, ref.name))
            if not slices:
                del self._endpoints[ref]

    async def reconcile(self, key: Key) -> float | None:
        """Say of one Service what is wrong, and once more after a while if it selects nothing."""
        service = self._services.get(key[1], key[0])
        if service is None or is_terminating(service):
            self._seen.pop(key, None)
            return None
        read = read_service(service)
        faults = faults_of(read, self._claims.lost(read.ref), self._own)
        alone = selects_nothing(read, has_endpoints=key in self._endpoints)
        wait = alone and self._seen.get(key) != uid_of(service)
        if wait:
            self._seen[key] = uid_of(service)
        await self._say(service, {words.ACCEPTED: faults, words.SELECTS: alone if not wait else None})
        return PATIENCE_SECONDS if wait else None

    async def _say(self, service: Object, found: dict[str, Fault | None]) -> None:
        before = (service.get("status") or {}).get("conditions") or []
        wanted = before
        for kind, fault in found.items():
            if fault is None:
                wanted = without_condition(wanted, kind)
            else:
                wanted = with_condition(wanted, kind, "False", fault.reason, fault.text)
        changed = conditions_patch(before, wanted)
        if not changed:
            return
        for fault in found.values():
            if fault is not None and any(one.get("message") == fault.text for one in changed):
                self.context.events.warning(service, _EVENTS[fault.reason], fault.text, COMPONENT)
        await self._services.patch(service, {"status": {"conditions": changed}}, kind="strategic", subresource="status")


def faults_of(service: Service, lost: list[Lost], own: list[tuple[Span, str]]) -> Fault | None:
    """What is wrong about a Service, the worst first. Pure."""
    found = [
        Fault(words.ADDRESS_IN_CLUSTER, f"spec.externalIPs: {render(address)} is an address of {whose}")
        for address in service.external_addresses
        for span, whose in own
        if int.from_bytes(address, "big") in span
    ]
    found += [Fault(words.PORT_CLASH, f"{_shown(one)} belongs to Service {one.holder}, which is older") for one in lost]
    found += [Fault(words.INVALID_FIELD, f"{one.field}: {one.text}") for one in service.findings]
    if not found:
        return None
    text = "; ".join(one.text for one in found[:SHOWN])
    return Fault(found[0].reason, text + (f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""))


def _shown(lost: Lost) -> str:
    anywhere = lost.place.address in {ANY_IPV4, ANY_IPV6}
    return f"node port {str(lost.place).rpartition(':')[2]}" if anywhere else str(lost.place)


def selects_nothing(service: Service, *, has_endpoints: bool) -> Fault | None:
    """Whether nobody answers because the selector matches no pod. Pure."""
    if not service.selects or service.external_name or has_endpoints:
        return None
    return Fault(words.NO_PODS, "spec.selector matches no pod: nobody answers; compare it with the pods' labels")

"""What is wrong about a CiliumLocalRedirectPolicy is said in its condition Valid, and in an event when it begins.

Whether a node has a ready pod for it is each node's own matter: ``glasshive lrp list``.
"""

from __future__ import annotations

from typing import ClassVar

from glasshive.api.local_redirect_policy import CILIUM_LOCAL_REDIRECT_POLICY, LocalRedirect, read_redirect
from glasshive.api.resources import SERVICE
from glasshive.api.service import read_service
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating, key_of
from glasshive.model.service import Place, Service, ServiceRef
from glasshive.operator.conditions import conditions_patch, with_condition
from glasshive.operator.controller import Context, Controller
from glasshive.service.redirect import frontends_of

COMPONENT = "redirect-controller"
VALID = "Valid"
SKIP_NOT_YET = (
    "the policy makes sense, but spec.skipRedirectFromBackend is not carried out yet: calls by the answering pods are "
    "redirected as everybody's"
)


class RedirectStatusController(Controller):
    """Judges each policy. There are few: a change of one, or of a Service that one names, has all looked at."""

    name: ClassVar[str] = "redirect-status"
    workers: ClassVar[int] = 1

    def __init__(self, context: Context) -> None:
        self._policies = context.caches.of(CILIUM_LOCAL_REDIRECT_POLICY)
        self._services = context.caches.of(SERVICE)
        super().__init__(context, [self._policies, self._services])
        self._policies.on_event(self._on_policy)
        self._services.on_event(self._on_service)

    def _on_policy(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        if old is None or new is None or old["spec"] != new["spec"]:
            self._all()

    def _on_service(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        if old is not None and new is not None and old["spec"] == new["spec"]:
            return
        named = (one["spec"]["redirectFrontend"].get("serviceMatcher") or {} for one in self._policies.values())
        if any((one.get("namespace"), one.get("serviceName")) == key_of(obj) for one in named):
            self._all()

    def _all(self) -> None:
        for one in self._policies.values():
            self.queue.add(key_of(one))

    async def reconcile(self, key: Key) -> float | None:
        """Say of one policy whether it makes sense."""
        obj = self._policies.get(key[1], key[0])
        if obj is None or is_terminating(obj):
            return None
        known = {policy.ref: policy for policy in map(read_redirect, self._policies.values())}
        services = {one.service: self._service(one.service) for one in known.values() if one.service}
        ref = ServiceRef(*key)
        why = fault_of(known[ref], known, services)
        before = (obj.get("status") or {}).get("conditions") or []
        wanted = with_condition(
            before, VALID, "False" if why else "True", "InvalidPolicy" if why else "Valid",
            f"{why}: nothing is redirected" if why else SKIP_NOT_YET if known[ref].skip else "the policy makes sense",
        )  # fmt: skip
        if conditions_patch(before, wanted):
            if why:
                self.context.events.warning(obj, "InvalidPolicy", why, COMPONENT)
            await self._policies.patch(obj, {"status": {"conditions": wanted}}, subresource="status")
        return None

    def _service(self, ref: ServiceRef) -> Service | None:
        obj = self._services.get(ref.name, ref.namespace)
        return read_service(obj) if obj is not None else None


def fault_of(
    policy: LocalRedirect, known: dict[ServiceRef, LocalRedirect], services: dict[ServiceRef, Service | None]
) -> str:
    """Why a policy does nothing; "" if it does. Of two that redirect the same place, the older one does. Pure."""

    def places(one: LocalRedirect) -> tuple[set[Place], str]:
        addresses, ports, why = frontends_of(one, services.get(one.service) if one.service else None)
        return {Place(address, front.port, front.protocol) for address in addresses for front, _ in ports}, why

    mine, why = places(policy)
    if why:
        return why
    for other in sorted(known.values(), key=lambda one: (one.created, str(one.ref))):
        if other.ref == policy.ref:
            return ""
        both = mine & places(other)[0]
        if both:
            return f"{min(both)} is redirected by {other.ref} already, which is older"
    return ""

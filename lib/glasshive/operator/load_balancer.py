"""Services of type LoadBalancer: what they wait for is said in an event, as long as nobody gives them an address.

Where there are CiliumLoadBalancerIPPools, what their services wait for is said by ``load_balancer_addresses``.
"""

from __future__ import annotations

from typing import ClassVar

from glasshive.api.load_balancer_pool import CILIUM_LOAD_BALANCER_IP_POOL
from glasshive.api.load_balancer_request import is_ours
from glasshive.api.resources import SERVICE
from glasshive.kube.objects import Key, Object, is_terminating, uid_of
from glasshive.operator.controller import Context, Controller

COMPONENT = "service-controller"
PATIENCE_SECONDS = 2.0
"""Whoever gives addresses to services does so within this time, if there is anybody."""


class LoadBalancerController(Controller):
    """Says once for each Service why its external address is pending."""

    name: ClassVar[str] = "load-balancer"
    workers: ClassVar[int] = 1

    def __init__(self, context: Context) -> None:
        self._services = context.caches.of(SERVICE)
        self._pools = context.caches.of(CILIUM_LOAD_BALANCER_IP_POOL)
        super().__init__(context, [self._services, self._pools])
        self._seen: dict[Key, tuple[str, bool]] = {}
        self._services.on_event(self.enqueue)

    async def reconcile(self, key: Key) -> float | None:
        """Look at one Service, and once more after a while if it waits."""
        service = self._services.get(key[1], key[0])
        if service is None or not is_pending(service):
            self._seen.pop(key, None)
            return None
        uid = uid_of(service)
        seen = self._seen.get(key)
        if seen is None or seen[0] != uid:
            self._seen[key] = (uid, False)
            return PATIENCE_SECONDS
        if not seen[1] and not (is_ours(service) and self._pools.values()):
            self._seen[key] = (uid, True)
            self.context.events.warning(service, "LoadBalancerPending", explain(service), COMPONENT)
        return None


def is_pending(service: Object) -> bool:
    """Tell whether a Service waits for an external address."""
    if service["spec"].get("type") != "LoadBalancer" or is_terminating(service):
        return False
    return not ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress")


def explain(service: Object) -> str:
    """Return what provides external addresses, and what works meanwhile."""
    wanted = service["spec"].get("loadBalancerClass")
    provider = f"an implementation of load balancer class {wanted}" if wanted else "a CiliumLoadBalancerIPPool"
    ports = [str(p["nodePort"]) for p in service["spec"].get("ports") or () if p.get("nodePort")]
    meanwhile = f"; meanwhile it is at node port {', '.join(ports)} of every node" if ports else ""
    return f"no external address: nothing in this cluster provides one yet; {provider} would{meanwhile}"

"""The Service of the cluster's name service: its presence keeps the addresses from being given to another Service.

Every node answers at these addresses itself, so the Service has no selector.
"""

from __future__ import annotations

from typing import ClassVar

from glasshive.api.resources import SERVICE
from glasshive.errors import ApiError
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object
from glasshive.operator.controller import Context, Controller

NAMESPACE, NAME = "kube-system", "kube-dns"
PORTS = [
    {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
    {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
]


def dns_service(addresses: list[str]) -> Object:
    """Return the Service at these addresses, the primary family first. Pure."""
    labels = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true"}
    spec = {
        "clusterIP": addresses[0],
        "clusterIPs": addresses,
        "ipFamilies": ["IPv6" if ":" in address else "IPv4" for address in addresses],
        "ipFamilyPolicy": "RequireDualStack" if len(addresses) > 1 else "SingleStack",
        "ports": PORTS,
    }
    return SERVICE.object(NAME, NAMESPACE, metadata={"labels": labels}, spec=spec)


class ClusterDnsController(Controller):
    """Makes the Service if it is missing. Its key is its own."""

    name: ClassVar[str] = "cluster-dns"
    workers: ClassVar[int] = 1

    def __init__(self, context: Context) -> None:
        self._services = context.caches.of(SERVICE)
        super().__init__(context, [self._services])
        self._services.on_event(self._on_service)

    def prepare(self) -> None:
        """Look once, also when nothing has happened."""
        self.queue.add((NAMESPACE, NAME))

    def _on_service(self, kind: EventType, old: Object | None, _new: Object | None) -> None:
        # Any Service that goes may be the one that had the address.
        if kind == "DELETED" and old is not None:
            self.queue.add((NAMESPACE, NAME))

    async def reconcile(self, key: Key) -> float | None:
        """Create the Service. Someone else's address is waited for: the queue tries again, and says so in the log."""
        addresses = list(self.context.config.dns_addresses)
        if not addresses or self._services.get(key[1], key[0]) is not None:
            return None
        try:
            await self._services.create(dns_service(addresses))
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        return None

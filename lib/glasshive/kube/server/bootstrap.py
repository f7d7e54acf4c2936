"""Objects that every cluster has from its first moment: namespaces and the ``kubernetes`` Service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.api.resources import NAMESPACE, SERVICE

from . import meta, prepare
from .admission import BOOT_NAMESPACES
from .defaults import DEFAULTS

if TYPE_CHECKING:
    from .server import Api

Object = dict[str, Any]


async def bootstrap(api: Api) -> None:
    """Create what is missing; take up the addresses that stored Services hold."""
    services, namespaces = api.registry.builtin(SERVICE), api.registry.builtin(NAMESPACE)
    for record in services.table.records.values():
        api.services.hold(record.parse())
    services.table.listeners.add(api.follow_service)
    for name in BOOT_NAMESPACES:
        if ("", name) not in namespaces.table.records:
            obj = NAMESPACE.object(name)
            meta.fill_new(obj, None, api.stamp(), generation=False)
            prepare.CREATE["namespaces"](obj)
            await api.put(namespaces, ("", name), obj, None)
    if ("default", "kubernetes") not in services.table.records and api.services.pools:
        await api.put(services, ("default", "kubernetes"), _kubernetes_service(api), None)


def _kubernetes_service(api: Api) -> Object:
    """The Service of the API itself, at the first address of the primary range."""
    pool = api.services.pools[0]
    address = str(pool.network.network_address + 1)
    obj = SERVICE.object(
        "kubernetes", "default",
        metadata={"labels": {"component": "apiserver", "provider": "kubernetes"}},
        spec={
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
            "clusterIP": address, "clusterIPs": [address], "ipFamilies": [pool.family], "ipFamilyPolicy": "SingleStack",
        },
    )  # fmt: skip
    meta.fill_new(obj, "default", api.stamp(), generation=False)
    DEFAULTS["services"](obj)
    obj["status"] = {"loadBalancer": {}}
    api.services.hold(obj)
    return obj

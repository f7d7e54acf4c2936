"""Objects that every cluster has from its first moment: namespaces and the ``kubernetes`` Service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from glasshive.api.resources import NAMESPACE, SERVICE

from . import meta, prepare
from .admission import BOOT_NAMESPACES
from .defaults import DEFAULTS
from .log import DELETED

if TYPE_CHECKING:
    from .server import Api
    from .store import Event

Object = dict[str, Any]
_KUBERNETES = ("default", "kubernetes")


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
    if api.services.pools:
        if _KUBERNETES not in services.table.records:
            await _make_kubernetes(api)
        services.table.listeners.add(_Keeper(api).follow)


async def _make_kubernetes(api: Api) -> None:
    await api.put(api.registry.builtin(SERVICE), _KUBERNETES, _kubernetes_service(api), None)


class _Keeper:
    """Makes the ``kubernetes`` Service again when somebody has deleted it: pods find the API by it."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._making: asyncio.Task[None] | None = None

    def follow(self, event: Event) -> None:
        """Look at a change of a Service."""
        if event.action == DELETED and event.record.key == _KUBERNETES and not self._api.stopping:
            self._making = asyncio.create_task(_make_kubernetes(self._api), name="kubernetes service")


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

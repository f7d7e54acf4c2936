"""What every namespace has from its start: ServiceAccount ``default`` and, if known, the cluster's CA certificate."""

from __future__ import annotations

from typing import ClassVar

from glasshive.api.resources import CONFIG_MAP, NAMESPACE, SERVICE_ACCOUNT
from glasshive.errors import ApiError
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating, key_of
from glasshive.operator.caches import Collection
from glasshive.operator.controller import Context, Controller

CA_CONFIG_MAP = "kube-root-ca.crt"


class ServiceAccountController(Controller):
    """Keeps the default ServiceAccount and the CA ConfigMap in every namespace. Keys are ("", namespace)."""

    name: ClassVar[str] = "serviceaccount"

    def __init__(self, context: Context) -> None:
        self._namespaces = context.caches.of(NAMESPACE)
        self._accounts = context.caches.of(SERVICE_ACCOUNT)
        self._maps = context.caches.of(CONFIG_MAP)
        super().__init__(context, [self._namespaces, self._accounts, self._maps])
        self._namespaces.on_event(self.enqueue)
        self._accounts.on_event(self._on_deleted)
        self._maps.on_event(self._on_deleted)

    def _on_deleted(self, kind: EventType, old: Object | None, _new: Object | None) -> None:
        if kind == "DELETED" and old is not None and old["metadata"]["name"] in {"default", CA_CONFIG_MAP}:
            self.queue.add(("", key_of(old)[0]))

    async def reconcile(self, key: Key) -> float | None:
        """Create what is missing in one namespace."""
        namespace = self._namespaces.get(key[1])
        if namespace is None or is_terminating(namespace):
            return None
        if self._accounts.get("default", key[1]) is None:
            await _create(self._accounts, SERVICE_ACCOUNT.object("default", key[1]))
        if self.context.config.ca_pem and self._maps.get(CA_CONFIG_MAP, key[1]) is None:
            data = {"ca.crt": self.context.config.ca_pem}
            await _create(self._maps, CONFIG_MAP.object(CA_CONFIG_MAP, key[1], data=data))
        return None


async def _create(collection: Collection, body: Object) -> None:
    try:
        await collection.create(body)
    except ApiError as error:
        if error.reason != "AlreadyExists" and error.code != 403:  # 403: the namespace is on its way out
            raise

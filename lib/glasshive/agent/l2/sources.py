"""What L2 announcements depend on, followed. Services, their backends and leases only once there is a policy."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable

from glasshive.api.l2_announcement_policy import (
    CILIUM_L2_ANNOUNCEMENT_POLICY,
    L2Policy,
    L2Service,
    policy_of,
    service_of,
)
from glasshive.api.load_balancer_request import Key
from glasshive.api.resources import ENDPOINT_SLICE, SERVICE
from glasshive.errors import UsageError
from glasshive.kube.client import Client
from glasshive.kube.informer import Informer
from glasshive.kube.objects import Object, key_of

SERVICE_NAME = "kubernetes.io/service-name"
_META = ("name", "namespace", "uid", "resourceVersion", "labels", "deletionTimestamp")

log = logging.getLogger(__name__)


class L2Sources:
    """``on_change`` is called after everything that may change what this node announces."""

    def __init__(self, client: Client, node: str, on_change: Callable[[], None]) -> None:
        self._node = node
        self._on_change = on_change
        self.policies: dict[str, L2Policy] = {}
        self.services: dict[Key, L2Service] = {}
        self._backends: defaultdict[Key, set[str]] = defaultdict(set)
        self._policies = Informer(client, CILIUM_L2_ANNOUNCEMENT_POLICY, self._on_policy)
        self._later = (
            Informer(client, SERVICE, self._on_service, trim=_bare_service),
            Informer(client, ENDPOINT_SLICE, self._on_slice, trim=self._bare_slice),
        )
        self.following = False

    def start(self) -> None:
        """Begin to follow policies."""
        self._policies.start()

    async def stop(self) -> None:
        """Stop following."""
        await asyncio.gather(*(one.stop() for one in (self._policies, *self._later)))

    def follow(self) -> None:
        """Begin to follow the rest too."""
        if not self.following:
            self.following = True
            for one in self._later:
                one.start()

    @property
    def knows_policies(self) -> bool:
        """Whether all policies are known."""
        return self._policies.synced

    async def wait_synced(self, seconds: float | None = None) -> None:
        """Wait until all that is followed is known."""
        await asyncio.gather(*(one.wait_synced(seconds) for one in (self._policies, *self._later)))

    def with_backend(self) -> set[Key]:
        """Services with a ready backend on this node."""
        return {key for key, slices in self._backends.items() if slices}

    def _on_policy(self, _: str, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        self.policies.pop(obj["metadata"]["name"], None)
        if new is not None:
            try:
                self.policies[new["metadata"]["name"]] = policy_of(new)
            except UsageError as error:
                log.warning("CiliumL2AnnouncementPolicy %s announces nothing: %s", new["metadata"]["name"], error)
        self._on_change()

    def _on_service(self, _: str, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        before = self.services.pop(key_of(obj), None)
        now = service_of(new) if new is not None else None
        if now is not None:
            self.services[key_of(obj)] = now
        if now != before:
            self._on_change()

    def _on_slice(self, _: str, old: Object | None, new: Object | None) -> None:
        for obj, here in ((old, False), (new, bool(new and new["here"]))):
            if obj is None or not obj["service"]:
                continue
            key = (key_of(obj)[0], obj["service"])
            slices = self._backends[key]
            before = bool(slices)
            (slices.add if here else slices.discard)(key_of(obj)[1])
            if bool(slices) != before:
                self._on_change()
            if not slices:
                del self._backends[key]

    def _bare_slice(self, obj: Object) -> Object:
        """Which Service, and whether a ready endpoint of it is on this node."""
        labels = obj["metadata"].get("labels") or {}
        here = any(one.get("nodeName") == self._node and _is_ready(one) for one in obj.get("endpoints") or ())
        return {"metadata": _bare(obj["metadata"]), "service": labels.get(SERVICE_NAME) or "", "here": here}


def _is_ready(endpoint: Object) -> bool:
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _bare(metadata: Object) -> Object:
    return {name: metadata[name] for name in _META if name in metadata}


def _bare_service(obj: Object) -> Object:
    """Only what ``service_of`` reads."""
    spec = {
        name: obj["spec"][name]
        for name in ("type", "externalIPs", "loadBalancerClass", "externalTrafficPolicy")
        if name in obj["spec"]
    }
    balancer = (obj.get("status") or {}).get("loadBalancer")
    return {"metadata": _bare(obj["metadata"]), "spec": spec, "status": {"loadBalancer": balancer}}

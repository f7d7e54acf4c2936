"""Feature "local-redirect": CiliumLocalRedirectPolicies of the cluster -> frontends of this node.

Pods are followed only once there is a policy, and only this node's.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from glasshive.agent import background
from glasshive.agent.services.feature import ServicesFeature
from glasshive.api.local_redirect_policy import CILIUM_LOCAL_REDIRECT_POLICY, LocalRedirect, read_redirect
from glasshive.api.resources import POD
from glasshive.api.selectors import matches
from glasshive.errors import DeadlineError, UsageError
from glasshive.kube.client import Client
from glasshive.kube.informer import Informer
from glasshive.kube.objects import Object, is_terminating, labels_of
from glasshive.model.address import Address, parse, render
from glasshive.model.service import NO_TABLES, ServiceRef
from glasshive.service.redirect import Redirected, RedirectPod, owner_of, redirected


class LocalRedirects:
    """Keeps each policy's tables right."""

    def __init__(self, client: Client, node: str, services: ServicesFeature) -> None:
        self._services = services
        self._policies: dict[ServiceRef, LocalRedirect] = {}
        self._made: dict[ServiceRef, Redirected] = {}
        self._known = Informer(client, CILIUM_LOCAL_REDIRECT_POLICY, self._on_policy)
        self._pods = Informer(client, POD, self._on_pod, field_selector=f"spec.nodeName={node}", trim=_bare)
        self._changed = asyncio.Event()
        self.ready = asyncio.Event()
        """Set once the tables hold what the policies say."""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow."""
        self._services.listen(self._on_service)
        self._services.wait_first(self.ready)
        self._known.start()
        self._task = background.start(self._run(), "local-redirects")

    async def stop(self) -> None:
        """Stop following; what is in the tables stays in force."""
        await background.stop(self._task)
        await self._known.stop()
        await self._pods.stop()

    def status(self) -> dict[str, Any]:
        """How many policies there are, and how many redirect something on this node."""
        active = sum(1 for one in self._made.values() if one.tables.frontends)
        return {"policies": len(self._policies), "active": active}

    def rows(self) -> list[dict[str, Any]]:
        """Policies with what they do on this node."""
        return [self._row(self._policies[ref], made) for ref, made in sorted(self._made.items())]

    def _row(self, policy: LocalRedirect, made: Redirected) -> dict[str, Any]:
        kind = "clusterIP" if policy.service else "address"
        scope = "named ports" if len(policy.front) > 1 else "port" if policy.front else "all svc ports"
        return {
            "namespace": policy.ref.namespace,
            "name": policy.ref.name,
            "frontendType": f"{kind} + {scope}",
            "service": str(policy.service or ""),
            "address": render(policy.address) if policy.address else "",
            "skipRedirectFromBackend": policy.skip,
            "why": made.why,
            "frontends": [
                {"frontend": str(one.place), "backends": [str(place) for place, _ in one.internal]}
                for one in made.tables.frontends
            ],
        }

    # -- changes

    async def _run(self) -> None:
        await self._known.wait_synced(None)
        while not self._policies:
            self.ready.set()
            self._changed.clear()
            await self._changed.wait()
        self._pods.start()
        await self._pods.wait_synced(None)
        while not self._services.sources.synced:
            with contextlib.suppress(DeadlineError):
                await self._services.sources.wait_synced(10.0)
        while True:
            self._changed.clear()
            self._compute()
            self.ready.set()
            await self._changed.wait()

    def _on_policy(self, _: str, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        policy = read_redirect(obj)
        self._policies.pop(policy.ref, None)
        if new is not None:
            self._policies[policy.ref] = policy
        self._changed.set()

    def _on_pod(self, _: str, old: Object | None, new: Object | None) -> None:
        if (old or {}).get("pod") != (new or {}).get("pod") or (old or {}).get("labels") != (new or {}).get("labels"):
            self._changed.set()

    def _on_service(self, ref: ServiceRef) -> None:
        if any(one.service == ref for one in self._policies.values()):
            self._changed.set()

    def _compute(self) -> None:
        for ref in self._made.keys() - self._policies.keys():
            del self._made[ref]
            self._services.put(f"redirect {ref}", NO_TABLES)
        for ref, policy in self._policies.items():
            service = self._services.sources.service(policy.service) if policy.service else None
            pods = [
                one["pod"]
                for one in self._pods.values()
                if one["pod"] is not None
                and one["metadata"].get("namespace") == ref.namespace
                and matches(policy.selector, one["labels"])
            ]
            self._made[ref] = redirected(policy, service, sorted(pods))
            self._services.put(owner_of(policy), self._made[ref].tables)


def _bare(pod: Object) -> Object:
    """A pod's labels, and its addresses if it is ready."""
    meta, status = pod["metadata"], pod.get("status") or {}
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or ())
    texts = [one.get("ip") for one in status.get("podIPs") or ()] or [status.get("podIP")]
    usable = ready and not is_terminating(pod)
    value = RedirectPod(f"{meta.get('namespace')}/{meta['name']}", _addresses(texts)) if usable else None
    kept = {name: meta[name] for name in ("name", "namespace", "uid", "resourceVersion") if name in meta}
    return {"metadata": kept, "labels": labels_of(pod), "pod": value}


def _addresses(texts: list[Any]) -> tuple[Address, ...]:
    try:
        return tuple(parse(text) for text in texts if text)
    except UsageError:
        return ()  # the API server refuses such

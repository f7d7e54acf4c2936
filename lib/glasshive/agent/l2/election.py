"""Getting, keeping and leaving the leases of services (the rules are in ``glasshive.l2.lease``)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from glasshive.api.load_balancer_request import Key
from glasshive.api.resources import LEASE
from glasshive.errors import ApiError
from glasshive.kube.client import Client
from glasshive.kube.informer import Informer
from glasshive.kube.objects import Object, uid_of
from glasshive.l2.lease import (
    NAMESPACE,
    PREFIX,
    Terms,
    given_up,
    holder_of,
    is_free,
    lease_name,
    lease_seconds,
    taken,
)

AT_ONCE = 8
"""Requests under way."""

log = logging.getLogger(__name__)


class Election:
    """This node's part in the elections. ``wake`` is called when somebody has left a lease."""

    def __init__(self, client: Client, me: str, terms: Terms, wake: Callable[[], None]) -> None:
        self._client = client
        self._me = me
        self._terms = terms
        self._wake = wake
        self.leases = Informer(client, LEASE, self._on_lease, namespace=NAMESPACE)
        self.leading: dict[Key, float] = {}
        """Services whose lease this node holds -> when it was prolonged last (``time.monotonic``)."""
        self._changed: dict[str, float] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)

    def _on_lease(self, _: str, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        name = obj["metadata"]["name"]
        if not name.startswith(PREFIX):
            return
        self._changed[name] = time.monotonic()
        if new is None:
            del self._changed[name]
        if not holder_of(new) or (old is not None and holder_of(old) != holder_of(new)):
            self._wake()

    async def round(self, wanted: Collection[Key], existing: Collection[Key]) -> None:
        """Try to get or keep the leases of these services, and leave all others (``drop`` comes first).

        ``existing``: services that there are at all; the lease of one that is gone is deleted.
        """
        await asyncio.gather(*(self._attempt(key) for key in wanted), *self._leavings(wanted, existing))

    def drop(self, wanted: Collection[Key]) -> bool:
        """Stop leading all other services; whether there were any. What answers for them must end before ``round``
        leaves their leases to others.
        """
        gone = [one for one in self.leading if one not in wanted]
        for service in gone:
            self._lose(service, "it is not announced by this node any more")
        return bool(gone)

    def patience(self, wanted: Collection[Key]) -> float:
        """Seconds until the next round is due: the retry period, or less if somebody's lease ends before."""
        now = time.monotonic()
        ends = [
            self._changed[lease_name(one)] + lease_seconds(self.leases.get(lease_name(one), NAMESPACE), self._terms)
            for one in wanted
            if one not in self.leading and lease_name(one) in self._changed
        ]
        return min([self._terms.retry_s, *(max(self._terms.retry_s / 10, end - now) for end in ends)])

    @property
    def since(self) -> float | None:
        """When the lease that has waited longest was prolonged; None without any."""
        return min(self.leading.values(), default=None)

    async def _attempt(self, service: Key) -> None:
        lease = self.leases.get(lease_name(service), NAMESPACE)
        renewed = self.leading.get(service)
        if renewed is not None and time.monotonic() - renewed < self._terms.retry_s * 0.9:
            if holder_of(lease) in {"", self._me}:
                return
            self._lose(service, f"{holder_of(lease)} has it")
        unchanged = time.monotonic() - self._changed.get(lease_name(service), time.monotonic())
        if holder_of(lease) != self._me and not is_free(lease, unchanged, self._terms):
            if service in self.leading:
                self._lose(service, f"{holder_of(lease)} has it")
            return
        await self._take(service, lease)

    async def _take(self, service: Key, lease: Object | None) -> None:
        began = time.monotonic()
        body = taken(lease, service, self._me, datetime.now(UTC), self._terms)
        try:
            async with self._gate, asyncio.timeout(self._terms.renew_s):
                made = await (self._client.create(LEASE, body) if lease is None else self._client.replace(LEASE, body))
        except (ApiError, TimeoutError) as error:
            self._failed(service, error)
            return
        self.leases.observe(made)
        if service not in self.leading:
            log.info("answering for service %s/%s from now on", *service)
        self.leading[service] = began  # before the request: the others' clocks began no earlier

    def _failed(self, service: Key, error: Exception) -> None:
        """Somebody was faster, or the API is away. What this node holds it holds for a while."""
        renewed = self.leading.get(service)
        if renewed is not None and time.monotonic() - renewed > self._terms.renew_s:
            self._lose(service, f"it could not be prolonged: {error}")
        elif not (isinstance(error, ApiError) and error.code in {404, 409}):
            log.debug("lease of %s/%s: %s", *service, error)

    def _lose(self, service: Key, why: str) -> None:
        log.warning("no longer answering for service %s/%s: %s", *service, why)
        self.leading.pop(service, None)

    def _leavings(self, wanted: Collection[Key], existing: Collection[Key]) -> list[asyncio.Task[None]]:
        names = {lease_name(one) for one in wanted}
        known = {lease_name(one) for one in existing}
        mine = [
            one
            for one in self.leases.values()
            if one["metadata"]["name"].startswith(PREFIX) and holder_of(one) == self._me
        ]
        return [
            asyncio.create_task(self._leave(one, delete=one["metadata"]["name"] not in known))
            for one in mine
            if one["metadata"]["name"] not in names
        ]

    async def _leave(self, lease: Object, *, delete: bool) -> None:
        try:
            async with self._gate:
                if delete:
                    await self._client.delete(LEASE, lease["metadata"]["name"], NAMESPACE, uid=uid_of(lease))
                    self.leases.forget(lease)
                else:
                    self.leases.observe(await self._client.replace(LEASE, given_up(lease, datetime.now(UTC))))
        except ApiError as error:
            log.debug("lease %s is not left yet: %s", lease["metadata"]["name"], error)  # next round

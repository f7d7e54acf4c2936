"""Addresses for Services of type LoadBalancer: who holds which, what is free. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from glasshive.api.load_balancer_pool import LoadBalancerPool
from glasshive.api.load_balancer_request import AddressRequest, Key
from glasshive.api.selectors import matches
from glasshive.ipam.address_run import AddressRun
from glasshive.ipam.address_sharing import may_share
from glasshive.ipam.pool_conflicts import Reserved, conflicts
from glasshive.model.span import family, text_of

SATISFIED = "satisfied"
NO_POOL = "no_pool"
MISMATCH = "pool_selector_mismatch"
TAKEN = "already_allocated"
INCOMPATIBLE = "already_allocated_incompatible_service"
OUT_OF_IPS = "out_of_ips"
INVALID = "invalid_request"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service has now, in the order of its families, and the first wish that is not fulfilled (or SATISFIED)."""

    addresses: tuple[int, ...]
    reason: str = SATISFIED
    message: str = ""


class LoadBalancerAddresses:
    """All pools and all that was given from them."""

    def __init__(self) -> None:
        self.pools: dict[str, LoadBalancerPool] = {}
        self.conflicts: dict[str, str] = {}
        self._runs: dict[str, tuple[AddressRun, ...]] = {}
        self._requests: dict[Key, AddressRequest] = {}
        self._held: dict[Key, tuple[int, ...]] = {}
        self._users: dict[int, set[Key]] = {}
        self._sharers: defaultdict[str, set[Key]] = defaultdict(set)

    # -- pools

    def set_pools(self, pools: Iterable[LoadBalancerPool], reserved: Sequence[Reserved] = ()) -> None:
        """Replace the pools. Nobody loses an address by this; ``assign`` looks at each service anew."""
        known = {pool.name: pool for pool in sorted(pools, key=lambda one: (one.created, one.name))}
        self.conflicts = conflicts(known.values(), reserved)
        self._runs = {
            name: self._runs[name]
            if name in self._runs and self.pools[name].spans == pool.spans
            else tuple(AddressRun(span, self._users) for span in pool.spans)
            for name, pool in known.items()
        }
        self.pools = known

    def counts(self, name: str) -> tuple[int, int, int]:
        """How many addresses a pool has, how many of them are free, and how many are given."""
        total = sum(run.span.size for run in self._runs[name])
        used = sum(run.used for run in self._runs[name])
        return total, total - used, used

    def _pools_of(self, address: int) -> list[LoadBalancerPool]:
        return [pool for pool in self.pools.values() if any(address in span for span in pool.spans)]

    # -- services

    def held(self, key: Key) -> tuple[int, ...]:
        """What a service has."""
        return self._held.get(key, ())

    def services(self) -> Collection[Key]:
        """All services that are known."""
        return self._requests.keys()

    def request(self, key: Key) -> AddressRequest:
        """What a known service asks for."""
        return self._requests[key]

    def release(self, key: Key) -> None:
        """Forget a service; what it has is free, if nobody shares it."""
        self._give(key, ())
        self._held.pop(key, None)
        self._forget_request(key)

    def _forget_request(self, key: Key) -> None:
        request = self._requests.pop(key, None)
        if request is not None and request.sharing_key:
            sharers = self._sharers[request.sharing_key]
            sharers.discard(key)
            if not sharers:
                del self._sharers[request.sharing_key]

    def _know(self, request: AddressRequest) -> None:
        """Take over what a service asks for now."""
        self._forget_request(request.key)
        self._requests[request.key] = request
        if request.sharing_key:
            self._sharers[request.sharing_key].add(request.key)

    def restore(self, request: AddressRequest, addresses: Iterable[int]) -> None:
        """Take over what a service had before this allocator existed, as far as it may have it."""
        self._know(request)
        self._give(request.key, tuple(one for one in addresses if self._may_keep(request, one)))

    def assign(self, request: AddressRequest) -> Answer:
        """Give a service what it asks for, or as much of it as there is. What it has and may have, it keeps."""
        before = self.held(request.key)
        self._know(request)
        if request.fault:
            answer = Answer((), INVALID, request.fault)
        elif request.wanted:
            answer = self._requested(request, before)
        else:
            answer = self._any(request, [one for one in before if self._may_keep(request, one)])
        self._give(request.key, answer.addresses)
        return answer

    def _give(self, key: Key, addresses: tuple[int, ...]) -> None:
        before = self._held.get(key, ())
        self._held[key] = addresses
        for one in set(before) - set(addresses):
            users = self._users[one]
            users.discard(key)
            if not users:
                del self._users[one]
                self._count(one, -1)
        for one in set(addresses) - set(before):
            if one not in self._users:
                self._users[one] = set()
                self._count(one, 1)
            self._users[one].add(key)

    def _count(self, address: int, step: int) -> None:
        for runs in self._runs.values():
            for run in runs:
                if address in run.span:
                    run.changed(address, step)

    def _may_keep(self, request: AddressRequest, address: int) -> bool:
        if family(address) not in request.families or self._clash(request, address):
            return False
        return any(matches(pool.selector, request.labels) for pool in self._pools_of(address))

    def _clash(self, request: AddressRequest, address: int) -> str:
        """Why a service may not have an address that others have; "" if it may."""
        for key in sorted(self._users.get(address, set()) - {request.key}):
            why = may_share(request, self._requests[key])
            if why:
                return f"{text_of(address)} is given to {'/'.join(key)}, and {why}"
        return ""

    # -- exactly these

    def _requested(self, request: AddressRequest, before: Collection[int]) -> Answer:
        found: list[int] = []
        refused: list[tuple[str, str]] = []
        for one in request.wanted:
            refusal = self._refusal(request, one, had=one in before)
            if refusal is None:
                found.append(one)
            else:
                refused.append(refusal)
        return Answer(tuple(found), *(refused[0] if refused else (SATISFIED, "")))

    def _refusal(self, request: AddressRequest, address: int, *, had: bool) -> tuple[str, str] | None:
        text = text_of(address)
        if family(address) not in request.families:
            return INVALID, f"{text} is IPv{family(address)}, which spec.ipFamilies does not have"
        usable = pools = self._pools_of(address)
        if not had:
            usable = [pool for pool in pools if not pool.disabled and pool.name not in self.conflicts]
        if not usable:
            named = ", ".join(pool.name for pool in pools)
            why = f"is in pool {named}, which is disabled or in conflict" if pools else "is in no pool"
            return NO_POOL, f"{text} {why}"
        if not any(matches(pool.selector, request.labels) for pool in usable):
            return MISMATCH, f"{text} is of pool {usable[0].name}, whose serviceSelector does not select this service"
        clash = self._clash(request, address)
        if clash:
            return (INCOMPATIBLE if request.sharing_key else TAKEN), clash
        return None

    # -- any of each family

    def _any(self, request: AddressRequest, kept: Sequence[int]) -> Answer:
        found: list[int] = []
        missing: list[tuple[str, str]] = []
        for wanted in request.families:
            have = next((one for one in kept if family(one) == wanted), None)
            if have is None:
                have = self._shared(request, wanted)
            if have is None:
                have = self._free(request, wanted)
            if have is None:
                missing.append(self._shortage(request, wanted))
            else:
                found.append(have)
        if found and request.prefers_both:
            missing = []
        return Answer(tuple(found), *(missing[0] if missing else (SATISFIED, "")))

    def _usable(self, request: AddressRequest) -> list[LoadBalancerPool]:
        return [
            pool
            for pool in self.pools.values()
            if not pool.disabled and pool.name not in self.conflicts and matches(pool.selector, request.labels)
        ]

    def _shared(self, request: AddressRequest, wanted: int) -> int | None:
        usable = self._usable(request) if request.sharing_key else []
        for key in sorted(self._sharers[request.sharing_key] - {request.key} if usable else ()):
            for one in self.held(key):
                in_pool = any(one in span for pool in usable for span in pool.spans)
                if family(one) == wanted and in_pool and not self._clash(request, one):
                    return one
        return None

    def _free(self, request: AddressRequest, wanted: int) -> int | None:
        for pool in self._usable(request):
            for run in self._runs[pool.name]:
                if run.span.family == wanted and (one := run.free()) is not None:
                    return one
        return None

    def _shortage(self, request: AddressRequest, wanted: int) -> tuple[str, str]:
        fitting = [p for p in self._usable(request) if any(span.family == wanted for span in p.spans)]
        if fitting:
            return OUT_OF_IPS, f"no IPv{wanted} address left in pool {', '.join(pool.name for pool in fitting)}"
        return NO_POOL, f"no pool that is usable (neither disabled nor in conflict) has IPv{wanted} for this service"

"""LB IPAM: Services of type LoadBalancer get addresses from CiliumLoadBalancerIPPools.

Dormant until there is a pool. What services have is written in their status and nowhere else: an operator that starts
takes it over from there before it gives anything new.
"""

from __future__ import annotations

from typing import ClassVar

from glasshive.api.load_balancer_pool import CILIUM_LOAD_BALANCER_IP_POOL, CONFLICT, COUNTS, pool_of
from glasshive.api.load_balancer_request import SATISFIED, is_ours, request_of
from glasshive.api.resources import NODE, SERVICE
from glasshive.errors import UsageError
from glasshive.ipam.load_balancer import SATISFIED as SATISFIED_REASON
from glasshive.ipam.load_balancer import Answer, LoadBalancerAddresses
from glasshive.ipam.pool_conflicts import Reserved
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating, key_of
from glasshive.model.span import Span, number, text_of
from glasshive.operator.conditions import conditions_patch, with_condition, without_condition
from glasshive.operator.controller import Context, Controller
from glasshive.operator.node_addresses import pod_cidrs

COMPONENT = "lb-ipam"
POOLS: Key = ("", "")
"""Key of the work of reading all pools; a pool's own status has the key ("", name), a Service (namespace, name)."""
WAITING: Key = ("", " waiting")
"""Key of the work of looking at the services that wait for an address."""
BURST_SECONDS = 0.2
"""A pool's counts are written once per burst of services, and those that wait are looked at once."""


class LoadBalancerAddressController(Controller):
    """Who asks first is served first, after a start the older service: an address is chosen before the first wait."""

    name: ClassVar[str] = "load-balancer-addresses"
    workers: ClassVar[int] = 4

    def __init__(self, context: Context) -> None:
        self._services = context.caches.of(SERVICE)
        self._pools = context.caches.of(CILIUM_LOAD_BALANCER_IP_POOL)
        self._nodes = context.caches.of(NODE)
        super().__init__(context, [self._services, self._pools, self._nodes])
        self.addresses = LoadBalancerAddresses()
        self._awake = False
        self._services.on_event(self._on_service)
        self._pools.on_event(self._on_pool)
        self._nodes.on_event(self._on_node)

    # -- what happens

    def _on_service(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        if self._awake and (is_ours(obj) or key_of(obj) in self.addresses.services()):
            self.queue.add(key_of(obj))

    def _on_pool(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        if old is None or new is None or old["spec"] != new["spec"]:
            self.queue.add(POOLS)

    def _on_node(self, _kind: EventType, old: Object | None, new: Object | None) -> None:
        if self._awake and (old is None or new is None or _of_node(old) != _of_node(new)):
            self.queue.add(POOLS)

    def prepare(self) -> None:
        """Take over what services have."""
        self.addresses.set_pools([pool_of(one) for one in self._pools.values()], self._reserved())
        for service in self._by_age():
            had = ingress_of(service)
            if had:
                self.addresses.restore(request_of(service), had)
            if _condition(service):  # there were pools once
                self._awake = True
                self.queue.add(key_of(service))

    def _by_age(self) -> list[Object]:
        ours = (one for one in self._services.values() if is_ours(one) and not is_terminating(one))
        return sorted(ours, key=lambda one: (one["metadata"].get("creationTimestamp") or "", key_of(one)))

    def _reserved(self) -> list[Reserved]:
        config = self.context.config
        found = [(Span.of_prefix(str(block.cidr)), f"the pods' CIDR {block.cidr}") for block in config.pod_blocks]
        found += [(Span.of_prefix(cidr), f"the services' CIDR {cidr}") for cidr in config.service_cidrs]
        for node in self._nodes.values():
            found += _of_node(node)
        return found

    # -- what is done

    async def reconcile(self, key: Key) -> float | None:
        """Look at all pools, write the status of one, or serve one Service."""
        if key == POOLS:
            self._read_pools()
        elif key == WAITING:
            for service in self._by_age():
                if _condition(service).get("status") != "True":
                    self.queue.add(key_of(service))
        elif not key[0]:
            await self._write_pool(key[1])
        else:
            await self._serve(key)
        return None

    def _read_pools(self) -> None:
        self.addresses.set_pools([pool_of(one) for one in self._pools.values()], self._reserved())
        self._awake = self._awake or bool(self.addresses.pools)
        if self._awake:
            for service in self._by_age():
                self.queue.add(key_of(service))
        self._counts_changed()

    def _counts_changed(self) -> None:
        for name in self.addresses.pools:
            self.queue.add_after(("", name), BURST_SECONDS)

    async def _write_pool(self, name: str) -> None:
        pool = self._pools.get(name)
        if pool is None or name not in self.addresses.pools:
            return
        before = (pool.get("status") or {}).get("conditions") or []
        why = self.addresses.conflicts.get(name, "")
        text = f"{why}: the pool gives no addresses" if why else "no conflict"
        known = self.addresses.pools[name]
        reason = "resolved" if not why else "cidr_invalid" if known.fault else "cidr_overlap"
        wanted = with_condition(before, CONFLICT, "True" if why else "False", reason, text)
        for kind, count in zip(COUNTS, self.addresses.counts(name), strict=True):
            wanted = with_condition(wanted, kind, "Unknown", "noreason", str(count))
        if wanted == before:
            return
        if why and not any(one["type"] == CONFLICT and one.get("message") == text for one in before):
            self.context.events.warning(pool, "PoolConflict", text, COMPONENT)
        await self._pools.patch(pool, {"status": {"conditions": wanted}}, subresource="status")

    async def _serve(self, key: Key) -> None:
        service = self._services.get(key[1], key[0])
        if service is None or is_terminating(service) or not is_ours(service):
            had = set(self.addresses.held(key))
            self.addresses.release(key)
            if service is not None and not is_terminating(service):
                await self._take_back(service, had)
            self._freed(had)
            return
        had = set(self.addresses.held(key))
        answer = self.addresses.assign(request_of(service))
        await self._say(service, answer)
        self._freed(had - set(answer.addresses))
        if had != set(answer.addresses):
            self._counts_changed()

    def _freed(self, addresses: set[int]) -> None:
        """Whoever waits for an address may have its turn now."""
        if addresses:
            self._counts_changed()
            self.queue.add_after(WAITING, BURST_SECONDS)

    async def _say(self, service: Object, answer: Answer) -> None:
        before = (service.get("status") or {}).get("conditions") or []
        satisfied = answer.reason == SATISFIED_REASON
        text = answer.message or f"has {', '.join(map(text_of, answer.addresses))}"
        wanted = with_condition(before, SATISFIED, "True" if satisfied else "False", answer.reason, text)
        if wanted != before and not satisfied:
            self.context.events.warning(service, "LoadBalancerPending", text, COMPONENT)
        ingress = [{"ip": text_of(one), "ipMode": "VIP"} for one in answer.addresses]
        await self._write(service, ingress if ingress_of(service) != answer.addresses else None, wanted)

    async def _take_back(self, service: Object, had: set[int]) -> None:
        """A Service that is no longer ours loses what it had from us, and our condition."""
        status = service.get("status") or {}
        ingress = (status.get("loadBalancer") or {}).get("ingress") or []
        left = [one for one in ingress if _number(one) not in had]
        conditions = without_condition(status.get("conditions") or [], SATISFIED)
        await self._write(service, left if left != ingress else None, conditions)

    async def _write(self, service: Object, ingress: list[Object] | None, conditions: list[Object]) -> None:
        """Write what of it is new; ``ingress`` None: as it is."""
        status: Object = {}
        if ingress is not None:
            status["loadBalancer"] = {"ingress": ingress or None}
        changed = conditions_patch((service.get("status") or {}).get("conditions") or [], conditions)
        if changed:
            status["conditions"] = changed
        if status:
            await self._services.patch(service, {"status": status}, kind="strategic", subresource="status")


def ingress_of(service: Object) -> tuple[int, ...]:
    """The external addresses that a Service's status names."""
    listed = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return tuple(one for one in map(_number, listed) if one is not None)


def _number(ingress: Object) -> int | None:
    try:
        return number(ingress.get("ip") or "")
    except UsageError:
        return None  # somebody else's: a host name


def _condition(service: Object) -> Object:
    """What was said of the Service's request, {} if nothing."""
    conditions = (service.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == SATISFIED), {})


def _of_node(node: Object) -> list[Reserved]:
    """The pods' prefixes and the addresses of a node."""
    name = node["metadata"]["name"]
    found = [(Span.of_prefix(cidr), f"pod CIDR {cidr} of node {name}") for cidr in pod_cidrs(node)]
    listed = (node.get("status") or {}).get("addresses") or ()
    own = [one["address"] for one in listed if one.get("type") in {"InternalIP", "ExternalIP"}]
    return found + [(Span.between(text), f"address {text} of node {name}") for text in own]

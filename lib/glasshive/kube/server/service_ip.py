"""Cluster IPs of Services: one address per family from the service CIDRs, never given twice (ports: `service_port`).

The allocator's state is the set of addresses that the stored Services hold, rebuilt at the start. The lower part of a
range is left to addresses that people ask for by name (the DNS service), as upstream does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from . import service_family
from .service_port import NodePorts
from .status import bad_value, forbidden_field, internal, invalid

if TYPE_CHECKING:
    from .call import Call
    from .server import Api

Object = dict[str, Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_FAMILIES = {4: "IPv4", 6: "IPv6"}
#: Addresses at the start of a range that are only given to those who name them.
_RESERVED = 256


class Pool:
    """Addresses of one service CIDR."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.family = _FAMILIES[network.version]
        self._used: dict[int, str] = {}
        self._size = min(network.num_addresses, 1 << 20)
        self._first = min(_RESERVED, self._size // 4)
        self._cursor = self._first

    def holder(self, address: Address) -> str | None:
        """The Service (``namespace/name``) that has the address, or None."""
        return self._used.get(int(address) - int(self.network.network_address))

    def take(self, address: Address, owner: str) -> None:
        """Mark an address of the range as held."""
        self._used[int(address) - int(self.network.network_address)] = owner

    def release(self, address: Address, owner: str) -> None:
        """Give an address back, if ``owner`` holds it."""
        offset = int(address) - int(self.network.network_address)
        if self._used.get(offset) == owner:
            del self._used[offset]

    def next_free(self) -> Address | None:
        """A free address (not yet held), None when there is none."""
        upper = range(self._first, self._size - 1)
        span = len(upper)
        for step in range(span):
            offset = self._first + (self._cursor - self._first + step) % span
            if offset not in self._used and offset > 0:
                self._cursor = offset + 1
                return self.network.network_address + offset
        lower = (offset for offset in range(1, self._first) if offset not in self._used)
        offset = next(lower, 0)
        return self.network.network_address + offset if offset else None


class Allocator:
    """All pools, in order of preference (the first is the cluster's primary family)."""

    def __init__(self, cidrs: Iterable[str]) -> None:
        self.pools = [Pool(ipaddress.ip_network(cidr)) for cidr in cidrs]
        self.node_ports = NodePorts()

    def pool(self, family: str) -> Pool | None:
        """The pool of ``IPv4`` or ``IPv6``."""
        return next((pool for pool in self.pools if pool.family == family), None)

    def pool_of(self, address: Address) -> Pool | None:
        """The pool whose range contains the address."""
        return next((p for p in self.pools if address.version == p.network.version and address in p.network), None)

    def hold(self, service: Object) -> None:
        """Mark a stored Service's addresses and node ports as held."""
        self.node_ports.hold(service, _owner(service))
        for address in _addresses(service):
            pool = self.pool_of(address)
            if pool is not None:
                pool.take(address, _owner(service))

    def release(self, service: Object, keep: Object | None = None) -> None:
        """Give back what a Service had that went away (or that its next version ``keep`` no longer has)."""
        self.node_ports.release(service, _owner(service), keep)
        kept = set(_addresses(keep)) if keep else set()
        for address in _addresses(service):
            pool = self.pool_of(address)
            if pool is not None and address not in kept:
                pool.release(address, _owner(service))


def _owner(service: Object) -> str:
    return f"{service['metadata'].get('namespace', '')}/{service['metadata'].get('name', '')}"


def _addresses(service: Object | None) -> list[Address]:
    found = []
    for text in ((service or {}).get("spec") or {}).get("clusterIPs") or []:
        try:
            found.append(ipaddress.ip_address(text))
        except ValueError:
            continue
    return found


def assign(api: Api, call: Call, obj: Object, old: Object | None) -> None:
    """Give a Service its addresses, families and node ports; StatusError 422 when it asks for what cannot be."""
    _assign_addresses(api, call, obj, old)
    before = (old or {}).get("spec") or {}
    faults = api.services.node_ports.assign(obj["spec"], before, _owner(obj))
    if faults:
        kept = old if old is not None else {"metadata": obj["metadata"]}
        api.services.release({**obj, "spec": {**obj["spec"], "ports": []}}, keep=kept)
        raise invalid(call.served.resource, obj["metadata"]["name"], faults)


def _assign_addresses(api: Api, call: Call, obj: Object, old: Object | None) -> None:
    allocator, spec = api.services, obj.setdefault("spec", {})
    resource, name = call.served.resource, obj["metadata"]["name"]
    available = [pool.family for pool in allocator.pools]
    faults = service_family.settle(spec, (old or {}).get("spec"), available)
    if faults:
        raise invalid(resource, name, faults)
    if spec.get("type") == "ExternalName":
        return
    ips, families = spec["clusterIPs"], spec["ipFamilies"]
    if ips != [service_family.NONE]:
        ips = _settle(allocator, families, ips, obj, resource_fault=lambda f: invalid(resource, name, [f]))
    spec["clusterIP"], spec["clusterIPs"] = ips[0], ips


def _settle(
    allocator: Allocator, families: list[str], ips: list[str], service: Object, *, resource_fault: Any
) -> list[str]:
    """The addresses of the Service, all taken; or none taken and a StatusError."""
    owner, taken = _owner(service), []
    for at, family in enumerate(families):
        pool = allocator.pool(family)
        if pool is None:
            raise internal(f"no service range for {family}")
        if at < len(ips):
            address = ipaddress.ip_address(ips[at])
            holder = pool.holder(address) if address in pool.network else None
            if address not in pool.network:
                text = f"provided IP is not in the valid range of {pool.network}"
                raise resource_fault(bad_value(f"spec.clusterIPs[{at}]", ips[at], text))
            if holder not in {None, owner}:
                text = f"provided IP is already allocated (by service {holder})"
                raise resource_fault(bad_value(f"spec.clusterIPs[{at}]", ips[at], text))
        else:
            free = pool.next_free()
            if free is None:
                raise resource_fault(forbidden_field("spec.clusterIPs", f"the range {pool.network} is full"))
            address = free
        taken.append((pool, address))
    for pool, address in taken:
        pool.take(address, owner)
    return [str(address) for _, address in taken]

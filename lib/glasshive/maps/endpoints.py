"""The map ``endpoints``: address -> local endpoint (``bpf/types/endpoint.h``).

A pod has one entry per address. The node's own addresses have entries too, marked HOST, so that programs know them
from the same look-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from glasshive.bpf import Map
from glasshive.bpf.layout import Records
from glasshive.maps.reconcile import Changes, reconcile
from glasshive.model.address import Address
from glasshive.model.endpoint import Endpoint

NAME = "endpoints"


@dataclass(frozen=True, slots=True)
class HostEntry:
    """An address of the node itself. ``flags`` is ``enum gh_endpoint_flags``."""

    address: Address
    ifindex: int
    identity: int
    flags: int
    mac: bytes = bytes(6)


class EndpointsMap:
    """Typed face of the kernel's map."""

    def __init__(self, kernel: Map) -> None:
        self.kernel = kernel
        self._template = np.zeros(1, kernel.value_dtype)

    def put(self, endpoint: Endpoint) -> None:
        """Write an endpoint's entries, one per address, in one call."""
        self.kernel.update(self._keys(endpoint.addresses), self._value(endpoint))

    def put_host(self, entries: Sequence[HostEntry]) -> None:
        """Write the node's own addresses."""
        self.kernel.update(self._keys([entry.address for entry in entries]), self._host_values(entries))

    def delete(self, addresses: Sequence[Address]) -> int:
        """Remove entries; how many were there."""
        return self.kernel.delete(self._keys(addresses))

    def has(self, endpoint: Endpoint) -> bool:
        """Whether the kernel holds exactly this endpoint under each of its addresses."""
        wanted = self._value(endpoint)[0]
        return all(self.kernel.get(self._keys([address])) == wanted for address in endpoint.addresses)

    def reconcile(self, endpoints: Iterable[Endpoint], host: Sequence[HostEntry]) -> Changes:
        """Make the map hold these endpoints and nothing else."""
        addresses: list[Address] = [entry.address for entry in host]
        values = self._host_values(host).tobytes()
        for endpoint in endpoints:
            addresses += endpoint.addresses
            values += self._value(endpoint).tobytes() * len(endpoint.addresses)
        return reconcile(self.kernel, (self._keys(addresses), np.frombuffer(values, self.kernel.value_dtype)))

    def _keys(self, addresses: Sequence[Address]) -> Records:
        return np.frombuffer(b"".join(addresses), dtype=self.kernel.key_dtype)

    def _value(self, endpoint: Endpoint) -> Records:
        value = self._template.copy()
        value["ifindex"] = endpoint.ifindex
        value["identity"] = endpoint.identity
        value["id"] = endpoint.id
        value["mac"] = np.frombuffer(endpoint.mac, np.uint8)
        value["host_mac"] = np.frombuffer(endpoint.host_mac, np.uint8)
        return value

    def _host_values(self, entries: Sequence[HostEntry]) -> Records:
        values = np.zeros(len(entries), self.kernel.value_dtype)
        for row, entry in enumerate(entries):
            values["ifindex"][row] = entry.ifindex
            values["identity"][row] = entry.identity
            values["flags"][row] = entry.flags
            values["host_mac"][row] = np.frombuffer(entry.mac, np.uint8)
        return values

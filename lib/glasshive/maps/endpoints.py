"""The map ``endpoints``: address -> local endpoint (``bpf/types/endpoint.h``).

A pod has one entry per address. The node's own addresses have entries too, marked HOST, so that programs know them
from the same look-up.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from glasshive.bpf import Map
from glasshive.bpf.layout import Records
from glasshive.maps.element import ElementWriter, field_offsets
from glasshive.maps.reconcile import Changes, reconcile
from glasshive.model.address import Address
from glasshive.model.endpoint import NOT_ENFORCED, Endpoint, Enforcement

NAME = "endpoints"

_U32, _U16 = struct.Struct("=I"), struct.Struct("=H")


@dataclass(frozen=True, slots=True)
class HostEntry:
    """An address of the node itself. ``flags`` is ``enum gh_endpoint_flags``. ``enforcement``: host firewall."""

    address: Address
    ifindex: int
    identity: int
    flags: int
    mac: bytes = bytes(6)
    enforcement: Enforcement = NOT_ENFORCED


INGRESS_ENFORCED, EGRESS_ENFORCED, AUDIT = 4, 8, 16
"""``enum gh_endpoint_flags``; a test compares the numbers with the object's BTF."""


def flags_of(enforcement: Enforcement) -> int:
    """Enforcement as bits of ``enum gh_endpoint_flags``."""
    return INGRESS_ENFORCED * enforcement.ingress + EGRESS_ENFORCED * enforcement.egress + AUDIT * enforcement.audit


def enforcement_of(policy: int, flags: int) -> Enforcement:
    """The other way round."""
    return Enforcement(policy, bool(flags & INGRESS_ENFORCED), bool(flags & EGRESS_ENFORCED), bool(flags & AUDIT))


class EndpointsMap:
    """Typed face of the kernel's map."""

    def __init__(self, kernel: Map) -> None:
        self.kernel = kernel
        self._writer = ElementWriter(kernel)
        names = ("ifindex", "identity", "id", "flags", "policy", "mac", "host_mac")
        self._at = field_offsets(kernel.value_dtype, names)

    def put(self, endpoint: Endpoint) -> None:
        """Write an endpoint's entries, one per address.

        Each address has its entry, and each entry changes in one step: a packet is judged by the old enforcement or by
        the new one as a whole. Between the entries of both families there is a moment in which IPv4 packets are judged
        by the one and IPv6 packets by the other.
        """
        self._writer.put(endpoint.addresses, self._pack(endpoint))

    def put_host(self, entries: Sequence[HostEntry]) -> None:
        """Write the node's own addresses."""
        self.kernel.update(self._keys([entry.address for entry in entries]), self._host_values(entries))

    def delete(self, addresses: Sequence[Address]) -> int:
        """Remove entries; how many were there."""
        return self._writer.delete(addresses)

    def host_state(self, addresses: Sequence[Address]) -> dict[Address, tuple[int, Enforcement]]:
        """Identity and enforcement of the node's own addresses that have an entry in the kernel."""
        found = {address: self.kernel.get(self._keys([address])) for address in addresses}
        return {
            address: (int(value["identity"]), enforcement_of(int(value["policy"]), int(value["flags"])))
            for address, value in found.items() if value is not None
        }  # fmt: skip

    def has(self, endpoint: Endpoint) -> bool:
        """Whether the kernel holds exactly this endpoint under each of its addresses."""
        wanted = self._pack(endpoint)
        found = [self.kernel.get(self._keys([address])) for address in endpoint.addresses]
        return all(value is not None and value.tobytes() == wanted for value in found)

    def reconcile(self, endpoints: Iterable[Endpoint], host: Sequence[HostEntry]) -> Changes:
        """Make the map hold these endpoints and nothing else."""
        addresses: list[Address] = [entry.address for entry in host]
        values = self._host_values(host).tobytes()
        for endpoint in endpoints:
            addresses += endpoint.addresses
            values += self._pack(endpoint) * len(endpoint.addresses)
        return reconcile(self.kernel, (self._keys(addresses), np.frombuffer(values, self.kernel.value_dtype)))

    def _keys(self, addresses: Sequence[Address]) -> Records:
        return np.frombuffer(b"".join(addresses), dtype=self.kernel.key_dtype)

    def _pack(self, endpoint: Endpoint) -> bytes:
        """The value as bytes, at the offsets that BTF gives: a third of the time that numpy fields take."""
        ifindex, identity, number, flags, policy, mac, host_mac = self._at
        value = bytearray(self.kernel.value_dtype.itemsize)
        _U32.pack_into(value, ifindex, endpoint.ifindex)
        _U32.pack_into(value, identity, endpoint.identity)
        _U16.pack_into(value, number, endpoint.id)
        _U16.pack_into(value, flags, flags_of(endpoint.enforcement))
        _U32.pack_into(value, policy, endpoint.enforcement.policy)
        value[mac : mac + 6] = endpoint.mac
        value[host_mac : host_mac + 6] = endpoint.host_mac
        return bytes(value)

    def _host_values(self, entries: Sequence[HostEntry]) -> Records:
        values = np.zeros(len(entries), self.kernel.value_dtype)
        for row, entry in enumerate(entries):
            values["ifindex"][row] = entry.ifindex
            values["identity"][row] = entry.identity
            values["flags"][row] = entry.flags | flags_of(entry.enforcement)
            values["policy"][row] = entry.enforcement.policy
            values["host_mac"][row] = np.frombuffer(entry.mac, np.uint8)
        return values

"""Pod addresses of one node: one address per family and owner, from the node's pod CIDRs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from glasshive.errors import ExhaustedError, UsageError
from glasshive.ipam.slots import Slots

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
ROUTER_SLOT = 1
"""The first usable address of a pod CIDR is the node's own door to its pods."""


@dataclass(frozen=True, slots=True)
class PodAddresses:
    """The addresses of one owner; a family that the node does not have is None."""

    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None

    def __iter__(self) -> Iterator[Address]:
        return iter([a for a in (self.ipv4, self.ipv6) if a is not None])

    @classmethod
    def of(cls, addresses: Iterable[str | Address]) -> PodAddresses:
        """Return the value for addresses in any order; raises UsageError for two of one family."""
        fields: dict[str, Address] = {}
        for one in addresses:
            # Parsing what is an address already takes 50 us: it is tried as text of both families.
            address = one if isinstance(one, IPv4Address | IPv6Address) else ip_address(one)
            if fields.setdefault(f"ipv{address.version}", address) != address:
                raise UsageError(f"{fields[f'ipv{address.version}']} and {address} are both IPv{address.version}")
        return cls(**fields)  # type: ignore[arg-type]  # the key says the type


class _Family:
    """One pod CIDR: reserved are the network address, the router, and IPv4's broadcast address."""

    def __init__(self, cidr: Network) -> None:
        if cidr.num_addresses < 4:
            raise UsageError(f"pod CIDR {cidr} is too small", hint="at least 4 addresses are needed")
        self.cidr = cidr
        self.router = cidr.network_address + ROUTER_SLOT
        last = {cidr.num_addresses - 1} if cidr.version == 4 else set()
        self.slots = Slots(cidr.num_addresses, {0, ROUTER_SLOT} | last)

    def slot(self, address: Address) -> int:
        return int(address) - int(self.cidr.network_address)

    def address(self, slot: int) -> Address:
        return self.cidr.network_address + slot


class NodePool:
    """Addresses of a node's pod CIDRs, each with the owner that has it (a container id, or any other stable name).

    An owner gets one address of every family or none. All operations are O(1).
    """

    def __init__(self, pod_cidrs: Sequence[str | Network]) -> None:
        try:
            networks = [ip_network(cidr) for cidr in pod_cidrs]
        except ValueError as error:
            raise UsageError(f"pod CIDRs {', '.join(map(str, pod_cidrs))}: {error}") from error
        if not networks or len({n.version for n in networks}) != len(networks):
            shown = ", ".join(map(str, networks)) or "none"
            raise UsageError(f"a node needs one pod CIDR of each address family, not {shown}")
        self._families = tuple(_Family(n) for n in sorted(networks, key=lambda n: n.version))
        self._owned: dict[str, PodAddresses] = {}

    @property
    def routers(self) -> PodAddresses:
        """The node's own addresses in its pod CIDRs."""
        return PodAddresses.of(f.router for f in self._families)

    @property
    def cidrs(self) -> tuple[Network, ...]:
        """The pod CIDRs, IPv4 first."""
        return tuple(f.cidr for f in self._families)

    @property
    def capacity(self) -> int:
        """How many owners fit."""
        return min(f.slots.capacity for f in self._families)

    def __len__(self) -> int:
        return len(self._owned)

    def __iter__(self) -> Iterator[tuple[str, PodAddresses]]:
        return iter(self._owned.items())

    def allocate(self, owner: str) -> PodAddresses:
        """Return the owner's addresses, giving it new ones if it has none; raises ExhaustedError."""
        owned = self._owned.get(owner)
        if owned is not None:
            return owned
        taken: list[Address] = []
        for family in self._families:
            slot = family.slots.allocate(owner)
            if slot is None:
                for done, address in zip(self._families, taken, strict=False):
                    done.slots.release(done.slot(address))
                raise ExhaustedError(
                    f"no address left in pod CIDR {family.cidr}: all {family.slots.capacity} pod addresses are in use",
                    hint="delete pods of this node, add a node, or make the cluster with larger node blocks",
                )
            taken.append(family.address(slot))
        self._owned[owner] = addresses = PodAddresses.of(taken)
        return addresses

    def restore(self, owner: str, addresses: Iterable[str | Address]) -> PodAddresses:
        """Note that ``owner`` already has ``addresses``; raises UsageError (and changes nothing) if that cannot be.

        Restore all owners before the first ``allocate``.
        """
        wanted = PodAddresses.of(addresses)
        by_version = {a.version: a for a in wanted}
        if set(by_version) != {f.cidr.version for f in self._families}:
            shown = ", ".join(map(str, wanted)) or "none"
            raise UsageError(f"{owner}: needs one address of each of {self._shown()}, not {shown}")
        for family in self._families:
            address = by_version[family.cidr.version]
            slot = family.slot(address)
            other = family.slots.owner(slot)
            if other not in {None, owner}:
                raise UsageError(f"{owner}: address {address} belongs to {other}")
            if other is None and not family.slots.can_take(slot):
                raise UsageError(f"{owner}: address {address} is reserved or outside {family.cidr}")
        self.release(owner)
        for family in self._families:
            family.slots.take(family.slot(by_version[family.cidr.version]), owner)
        self._owned[owner] = wanted
        return wanted

    def release(self, owner: str) -> bool:
        """Free the owner's addresses; False if it had none."""
        owned = self._owned.pop(owner, None)
        if owned is None:
            return False
        for family, address in zip(self._families, owned, strict=True):
            family.slots.release(family.slot(address))
        return True

    def owned(self, owner: str) -> PodAddresses | None:
        """Return the owner's addresses."""
        return self._owned.get(owner)

    def owner_of(self, address: str | Address) -> str | None:
        """Return who has ``address``."""
        wanted = ip_address(address)
        for family in self._families:
            if wanted.version == family.cidr.version:
                return family.slots.owner(family.slot(wanted))
        return None

    def _shown(self) -> str:
        return " and ".join(str(f.cidr) for f in self._families)

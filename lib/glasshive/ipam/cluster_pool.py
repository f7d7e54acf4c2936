"""Pod CIDRs for nodes: a pool per address family is split into equal blocks; a node owns one block of each family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from glasshive.errors import ExhaustedError, UsageError
from glasshive.ipam.slots import Slots

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Block:
    """One family's pool: ``cidr``, and the prefix length of the block that each node gets."""

    cidr: Network
    node_prefix: int

    @classmethod
    def parse(cls, cidr: str, node_prefix: int) -> Block:
        """Check and return a pool; raises UsageError naming what is wrong."""
        try:
            network = ip_network(cidr)
        except ValueError as error:
            raise UsageError(f"pod CIDR {cidr!r}: {error}") from error
        longest = network.max_prefixlen - 2  # a block needs a network address, a router and at least one pod
        if not network.prefixlen <= node_prefix <= longest:
            raise UsageError(
                f"pod CIDR {cidr}: node prefix /{node_prefix} does not fit",
                hint=f"choose /{network.prefixlen} to /{longest}",
            )
        return cls(network, node_prefix)

    @property
    def count(self) -> int:
        """How many nodes the pool can serve."""
        return 1 << (self.node_prefix - self.cidr.prefixlen)

    def network(self, slot: int) -> Network:
        """Return block number ``slot``."""
        shift = self.cidr.max_prefixlen - self.node_prefix
        first = self.cidr.network_address + (slot << shift)
        return ip_network((first, self.node_prefix))

    def slot(self, network: Network) -> int | None:
        """Return the number of a block, None if it is not one of this pool's blocks."""
        if network.version != self.cidr.version or network.prefixlen != self.node_prefix:
            return None
        offset = int(network.network_address) - int(self.cidr.network_address)
        slot = offset >> (self.cidr.max_prefixlen - self.node_prefix)
        return slot if 0 <= slot < self.count else None


class ClusterPool:
    """Blocks of all families, owned by nodes. One block per family and node; families are given all or none."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        if not blocks or len({b.cidr.version for b in blocks}) != len(blocks):
            raise UsageError("a cluster pool needs one pod CIDR for IPv4, for IPv6, or one for each")
        self.blocks = tuple(blocks)
        self._slots = tuple(Slots(block.count) for block in blocks)
        self._owned: dict[str, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self._owned)

    def allocate(self, node: str) -> tuple[Network, ...]:
        """Return the node's blocks, giving it new ones if it has none; raises ExhaustedError."""
        if node not in self._owned:
            taken: list[int] = []
            for block, slots in zip(self.blocks, self._slots, strict=True):
                slot = slots.allocate(node)
                if slot is None:
                    for done, number in zip(self._slots, taken, strict=False):
                        done.release(number)
                    raise ExhaustedError(
                        f"no pod CIDR left for node {node}: all {block.count} blocks of /{block.node_prefix} "
                        f"in {block.cidr} are in use",
                        hint="delete unused nodes, or make the cluster with a larger pod CIDR or smaller node blocks",
                    )
                taken.append(slot)
            self._owned[node] = tuple(taken)
        return self.owned(node)

    def restore(self, node: str, cidrs: Iterable[str | Network]) -> None:
        """Note that ``node`` already has ``cidrs``.

        Raises UsageError (and changes nothing) if they are not one block of each family of this pool, or another
        node's. Restore all nodes before the first ``allocate``.
        """
        networks = [ip_network(cidr) for cidr in cidrs]
        wanted: list[int] = []
        for block, slots in zip(self.blocks, self._slots, strict=True):
            found = [slot for slot in map(block.slot, networks) if slot is not None]
            if len(found) != 1 or len(networks) != len(self.blocks):
                shown = ", ".join(map(str, networks))
                raise UsageError(
                    f"node {node}: pod CIDRs {shown} are not blocks of /{block.node_prefix} in {block.cidr}"
                )
            other = slots.owner(found[0])
            if other not in {None, node}:
                raise UsageError(f"node {node}: pod CIDR {block.network(found[0])} belongs to node {other}")
            wanted.append(found[0])
        self.release(node)
        for slots, slot in zip(self._slots, wanted, strict=True):
            slots.take(slot, node)
        self._owned[node] = tuple(wanted)

    def release(self, node: str) -> bool:
        """Free the node's blocks; False if it had none."""
        owned = self._owned.pop(node, None)
        if owned is None:
            return False
        for slots, slot in zip(self._slots, owned, strict=True):
            slots.release(slot)
        return True

    def owned(self, node: str) -> tuple[Network, ...]:
        """Return the node's blocks in the order of the pool's families; empty if it has none."""
        slots = self._owned.get(node)
        if slots is None:
            return ()
        return tuple(block.network(slot) for block, slot in zip(self.blocks, slots, strict=True))

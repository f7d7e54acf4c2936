"""What every node of a cluster must know about each node, itself included."""

from __future__ import annotations

from dataclasses import dataclass

from glasshive.model.address import Address, Prefix, is_ipv4


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node's name, its addresses on the fabric and the pod prefixes that live on it, in the node's own order."""

    name: str
    addresses: tuple[Address, ...] = ()
    pod_prefixes: tuple[Prefix, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    """The Node object's labels, sorted."""

    def address(self, *, ipv4: bool) -> Address | None:
        """The first fabric address of a family."""
        return next((one for one in self.addresses if is_ipv4(one) == ipv4), None)

    def underlay(self) -> Address | None:
        """The address other nodes send tunnelled packets to: IPv4 where there is one."""
        return self.address(ipv4=True) or self.address(ipv4=False)

    def routers(self) -> tuple[Address, ...]:
        """The node's router addresses: the first usable address of every pod prefix, its pods' gateway."""
        return tuple(router_of(prefix) for prefix in self.pod_prefixes)


def router_of(prefix: Prefix) -> Address:
    """First usable address of a pod prefix (the network address plus one)."""
    return Address((int.from_bytes(prefix.address, "big") + 1).to_bytes(16, "big"))

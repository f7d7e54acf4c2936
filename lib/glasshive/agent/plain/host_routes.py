"""How packets find pods on a node without eBPF: a route and a fixed neighbour per address.

Fixed, because pods' links have no link-local address from which the node could be asked (``net.veth``).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence

from glasshive.model.address import Address, Prefix, is_ipv4
from glasshive.model.endpoint import Endpoint, PodRef
from glasshive.model.node import NodeFacts
from glasshive.model.pod import PodFacts
from glasshive.net import netlink
from glasshive.routing.desired import Route
from glasshive.routing.sync import RouteSync

_NDA_DST, _NDA_LLADDR, _NUD_PERMANENT = 1, 2, 0x80
_REPLACE = netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE


class HostRoutes:
    """Routes of this node's pods. ``wanted`` is what the node's other routes are joined with."""

    def __init__(self, wire: netlink.Socket, routes: RouteSync) -> None:
        self._wire = wire
        self._routes = routes
        self.wanted: dict[Prefix, Route] = {}

    def put(self, endpoint: Endpoint) -> None:
        """Route an endpoint's addresses to its device."""
        batch = netlink.Batch()
        for address in endpoint.addresses:
            family, raw = (socket.AF_INET, address[12:]) if is_ipv4(address) else (socket.AF_INET6, address)
            batch.add(
                netlink.RTM_NEWNEIGH, _REPLACE, f"neighbour {endpoint.host_ifname}",
                netlink.ndmsg(family, endpoint.ifindex, _NUD_PERMANENT),
                netlink.attr(_NDA_DST, raw), netlink.attr(_NDA_LLADDR, endpoint.mac),
            )  # fmt: skip
        self._wire.run(batch)
        found = {Prefix(128, address): Route(endpoint.ifindex) for address in endpoint.addresses}
        self._routes.add(found)
        self.wanted |= found

    def delete(self, addresses: Sequence[Address]) -> None:
        """The routes go with the next comparison, or with the device."""
        for address in addresses:
            self.wanted.pop(Prefix(128, address), None)

    def has(self, endpoint: Endpoint) -> bool:
        """Whether the kernel routes every address to the endpoint's device."""
        present = self._routes.present()
        return all(present.get(Prefix(128, one)) == Route(endpoint.ifindex) for one in endpoint.addresses)


class NoHooks:
    """Nothing is attached to pods' devices."""

    def attach(self, endpoint: Endpoint) -> None:
        """Nothing to attach."""

    def detach(self, endpoint: Endpoint) -> None:
        """Nothing to take away."""

    def missing(self, endpoint: Endpoint) -> list[str]:  # noqa: ARG002
        """Nothing is missing."""
        return []

    def remove_strays(self, ids: set[int]) -> list[int]:  # noqa: ARG002
        """There are none."""
        return []


class NoIpcache:
    """Nobody on this node asks who is behind an address."""

    def set_node(self, node: NodeFacts) -> None:
        """Not kept."""

    def remove_node(self, name: str) -> None:
        """Not kept."""

    def set_pod(self, pod: PodFacts, identity: int) -> None:
        """Not kept."""

    def remove_pod(self, ref: PodRef) -> None:
        """Not kept."""

    def set_local(self, endpoint_id: int, addresses: Iterable[Address], identity: int) -> None:
        """Not kept."""

    def remove_local(self, endpoint_id: int) -> None:
        """Not kept."""

    def set_apiserver(self, addresses: Iterable[Address], identity: int) -> None:
        """Not kept."""

"""The routes a node needs, from what it knows of all nodes. Pure.

Native routing sends a remote pod prefix to its node's address on the fabric. With a tunnel the prefix points at the
node's own door ``gh_host``, whose program encapsulates. The node's own pod prefixes always point at ``gh_host``. Where
pods have a smaller MTU than the door, all these routes say so: the node must not send its own pods more than they take.
Pods' own packets do not come by here when the datapath redirects them, but its look-up of the next hop reads these
routes, and the node's own processes (probes, agents) use them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from glasshive.model.address import Address, Prefix
from glasshive.model.node import NodeFacts


class Route(NamedTuple):
    """A unicast route of the main table; ``source`` is preferred for connections that start on the node."""

    ifindex: int
    gateway: Address | None = None
    source: Address | None = None
    mtu: int = 0


class Ways(NamedTuple):
    """What routes can point at: the device to the fabric, the node's own door, and the MTU behind a tunnel."""

    device_ifindex: int
    host_ifindex: int
    tunnel: bool
    pod_mtu: int


def desired(nodes: Iterable[NodeFacts], own: str, ways: Ways) -> dict[Prefix, Route]:
    """Every pod prefix with its route. A node without an address of a prefix's family is left out."""
    nodes = list(nodes)
    routers = {
        prefix.is_ipv4: router
        for node in nodes
        if node.name == own
        for prefix, router in zip(node.pod_prefixes, node.routers(), strict=True)
    }
    routes: dict[Prefix, Route] = {}
    mtu = ways.pod_mtu if ways.tunnel else 0
    for node in nodes:
        for prefix in node.pod_prefixes:
            if node.name == own:
                routes[prefix] = Route(ways.host_ifindex, source=routers[prefix.is_ipv4], mtu=mtu)
            elif ways.tunnel:
                routes[prefix] = Route(ways.host_ifindex, source=routers.get(prefix.is_ipv4), mtu=mtu)
            elif (gateway := node.address(ipv4=prefix.is_ipv4)) is not None:
                routes[prefix] = Route(ways.device_ifindex, gateway=gateway)
    return routes

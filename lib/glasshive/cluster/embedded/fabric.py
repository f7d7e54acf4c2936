"""The wires of an embedded cluster: a bridge namespace, the world outside, one namespace per node.

::

    node1 eth0 --+
    node2 eth0 --+-- br0 (fabric) -- eth0 world ext0 (203.0.113.10, 2001:db8:ffff::10)
    node3 eth0 --+

Each node has its fabric addresses and a default route to the world, nothing else: the agent adds the rest. The names
are in the inventory before this runs (``launch``); a crash in between is mended by ``teardown``.
"""

from __future__ import annotations

import os

from glasshive.cluster.embedded import addresses
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.net import netns, sysctl
from glasshive.net.links import Links

BRIDGE = "br0"
DEVICE = "eth0"
OUTSIDE_DEVICE = "ext0"
NODE_IFINDEX = 2  # eth0's index in every node namespace, so that programs may have it as a constant


def build(config: ClusterConfig, paths: ClusterPaths) -> None:
    """Make all namespaces and links. Raises NetlinkError, KernelError or UsageError; the caller tears down."""
    netns.ensure_run_netns()
    _namespace(paths.fabric_netns)
    with Links(paths.fabric_netns) as links, netns.opened(paths.fabric_netns) as fd:
        links.bridge(BRIDGE, mtu=config.mtu)
        links.change(BRIDGE, up=True)
        fabric = _Fabric(links, fd, config)
        fabric.world(paths.world_netns)
        for number in range(1, config.nodes + 1):
            fabric.node(number, paths.node_netns(addresses.node_name(number)))


class _Fabric:
    """The bridge's namespace while members are plugged into it."""

    def __init__(self, links: Links, fd: int, config: ClusterConfig) -> None:
        self._links = links
        self._fd = fd
        self._config = config

    def world(self, name: str) -> None:
        _namespace(name)
        sysctl.write(sysctl.ROUTER, name)
        with Links(name) as links:
            self._plug(links, "world", addresses.WORLD)
            # A pair with both ends here: it has carrier, as IPv6 asks for, and not every kernel has dummy devices.
            links.veth(OUTSIDE_DEVICE, f"{OUTSIDE_DEVICE}p")
            links.change(f"{OUTSIDE_DEVICE}p", up=True)
            links.change(OUTSIDE_DEVICE, up=True)
            for family in self._config.ip_families:
                address, length = addresses.WORLD_OUTSIDE[family]
                links.add_address(OUTSIDE_DEVICE, f"{address}/{length}")

    def node(self, number: int, name: str) -> None:
        _namespace(name)
        own = {family: addresses.node_address(number, family) for family in self._config.ip_families}
        with Links(name) as links:
            self._plug(links, addresses.node_name(number), own)
            for family in self._config.ip_families:
                links.set_route("default", dev=DEVICE, via=addresses.WORLD[family])

    def _plug(self, links: Links, port: str, own: dict[str, str]) -> None:
        """Join a namespace to the bridge by a veth pair and give its end one address of each family."""
        links.veth(DEVICE, port, peer_netns=self._fd, index=NODE_IFINDEX, mtu=self._config.mtu)
        self._links.change(port, up=True, bridge=BRIDGE, mtu=self._config.mtu)
        links.change(DEVICE, up=True)
        for family in self._config.ip_families:
            links.add_address(DEVICE, f"{own[family]}/{addresses.fabric_prefix_length(family)}")
        if addresses.IPV6 in own:
            # Neighbours of forwarded packets are asked for from the link-local address, or not at all.
            links.add_address(DEVICE, f"fe80::{own[addresses.IPV6].rpartition(':')[2]}/64")


def _namespace(name: str) -> None:
    netns.create(name)
    # Before any device exists, so that none gets an IPv6 link-local address and waits for duplicate detection.
    sysctl.write(sysctl.QUIET_IPV6, name)
    with Links(name) as links:
        links.change("lo", up=True)


def standing(config: ClusterConfig, paths: ClusterPaths) -> bool:
    """Whether every namespace of the fabric is there, as a supervisor that takes a cluster over wants to know."""
    nodes = [addresses.node_name(number) for number in range(1, config.nodes + 1)]
    return all(os.path.ismount(netns.path_of(name)) for name in paths.all_netns(nodes))

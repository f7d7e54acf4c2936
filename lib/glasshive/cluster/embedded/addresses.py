"""The fabric's address plan: pure functions from a node's number to its addresses.

Every cluster's namespaces are isolated from the host and from each other, so all clusters use the same plan:

===========  ==========================================  =============================================
who          IPv4                                        IPv6
===========  ==========================================  =============================================
node ``i``   172.30.0.(10+i), going on into 172.30.1.x   fd30::(10+i), the number written in hexadecimal
world        172.30.255.254 (the nodes' default route)   fd30::ffff
world ext0   203.0.113.10/24 (documentation range)       2001:db8:ffff::10/64
===========  ==========================================  =============================================
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from glasshive.cluster.embedded.config import ClusterConfig

IPV4, IPV6 = "ipv4", "ipv6"
FABRIC = {IPV4: ipaddress.ip_network("172.30.0.0/16"), IPV6: ipaddress.ip_network("fd30::/64")}
WORLD = {IPV4: "172.30.255.254", IPV6: "fd30::ffff"}
WORLD_OUTSIDE = {IPV4: ("203.0.113.10", 24), IPV6: ("2001:db8:ffff::10", 64)}
WORLD_NAMES = ("example.com", "world.test")
_FIRST_NODE = 10  # node 1 is .11: the first ten addresses stay free for labs


def node_name(number: int) -> str:
    """Name of node ``number`` (from 1), also of its Node object."""
    return f"node{number}"


def node_address(number: int, family: str) -> str:
    """Address of node ``number`` (from 1) on the fabric."""
    return str(FABRIC[family][_FIRST_NODE + number])


def fabric_prefix_length(family: str) -> int:
    """Prefix length of the fabric's network."""
    return FABRIC[family].prefixlen


def kubernetes_service_addresses(config: ClusterConfig) -> list[str]:
    """Addresses of the service ``kubernetes.default``: the first of each service network."""
    return [str(ipaddress.ip_network(cidr)[1]) for cidr in config.service_cidrs]


def dns_addresses(config: ClusterConfig) -> list[str]:
    """Addresses of the cluster's DNS service: the tenth of each service network."""
    return [str(ipaddress.ip_network(cidr)[10]) for cidr in config.service_cidrs]


def world_names(config: ClusterConfig) -> Mapping[str, Sequence[str]]:
    """What the world's resolver knows: the configured names, or else two for the world itself and an alias."""
    if config.world_names:
        return config.world_names
    outside = [WORLD_OUTSIDE[family][0] for family in config.ip_families]
    return {**dict.fromkeys(WORLD_NAMES, outside), "www.example.com": ["example.com"]}

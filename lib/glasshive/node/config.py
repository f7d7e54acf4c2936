"""What every program of a node is told as read-only data, and the pods' MTU. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from glasshive.errors import UsageError
from glasshive.model.address import ZERO, Address, is_ipv4
from glasshive.model.node import NodeFacts

NAT_PORTS = (49_152, 65_535)
"""Source ports of masqueraded connections: IANA's dynamic range."""
LOCAL_PORTS = (32_768, 49_151)
"""Source ports of the node's own connections. Disjoint from ``NAT_PORTS``: the two can never collide."""
VXLAN_PORT = 8472

_VXLAN_BYTES = {True: 50, False: 70}
"""What a tunnelled packet grows by: outer Ethernet 14, IPv4 20 or IPv6 40, UDP 8, VXLAN 8."""


@dataclass(frozen=True, slots=True)
class Devices:
    """The node's devices as the programs know them: interface indices (0: there is none) and the fabric side's MAC."""

    device: int
    device_mac: bytes
    device_mtu: int
    host: int
    overlay: int = 0


def pod_mtu(device_mtu: int, *, tunnel: bool, underlay_ipv4: bool) -> int:
    """What pods may send so that the fabric carries it in one piece."""
    mtu = device_mtu - (_VXLAN_BYTES[underlay_ipv4] if tunnel else 0)
    if mtu < 1280:
        raise UsageError(
            f"pods would have an MTU of {mtu}: IPv6 needs 1280",
            hint="raise the MTU of the node's device, or use native routing",
        )
    return mtu


def node_config(
    node: NodeFacts,
    devices: Devices,
    flags: Mapping[str, int],
    *,
    tunnel: bool,
    masquerade: bool,
    families: Iterable[str],
    allow_localhost: bool = True,
    verdict_records: bool = True,
    maglev: tuple[int, int] = (0, 0),
) -> dict[str, Any]:
    """Fields of ``struct gh_node_config``. ``flags`` is the C enum ``gh_node_flags`` by name.

    ``allow_localhost``: the node's own processes (kubelet's probes) reach its pods whatever policy these have.
    ``verdict_records``: tell user space what policy said about every new connection.
    ``maglev``: seed of the hash of flows (32 bits), and slots of a table; 0 slots: there are no tables.
    """
    families = set(families)
    wanted = {
        "GH_NODE_TUNNEL": tunnel,
        "GH_NODE_MASQUERADE": masquerade,
        "GH_NODE_IPV4": "ipv4" in families,
        "GH_NODE_IPV6": "ipv6" in families,
        "GH_NODE_ALLOW_LOCALHOST": allow_localhost,
        "GH_NODE_VERDICT_RECORDS": verdict_records,
    }
    return {
        "flags": sum(flags[name] for name, on in wanted.items() if on),
        "device_ifindex": devices.device,
        "overlay_ifindex": devices.overlay,
        "host_ifindex": devices.host,
        "nat_port_min": NAT_PORTS[0],
        "nat_port_max": NAT_PORTS[1],
        "device_mac": devices.device_mac,
        "device_mtu_bytes": devices.device_mtu,
        "overlay_port": VXLAN_PORT if tunnel else 0,
        "hash_seed": maglev[0],
        "maglev_slots": maglev[1],
        "node_ipv4": node.address(ipv4=True) or ZERO,
        "node_ipv6": node.address(ipv4=False) or ZERO,
        "router_ipv4": _first(node.routers(), ipv4=True),
        "router_ipv6": _first(node.routers(), ipv4=False),
    }


def _first(addresses: Iterable[Address], *, ipv4: bool) -> Address:
    return next((one for one in addresses if is_ipv4(one) == ipv4), ZERO)

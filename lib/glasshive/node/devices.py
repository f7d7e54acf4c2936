"""A node's own devices, made or found again.

``gh_host`` is the node's door to pods: a device without a wire that carries the router addresses and is what pod
prefixes are routed to. Packets that the node's stack sends to pods leave through it, where the program at its egress
hands them on; the device drops what nobody takes. That is what a dummy does, or, on kernels without dummies, an ifb.
``gh_vxlan`` is a VXLAN device whose remote end and VNI come with each packet.
Both have fixed interface indices, so nothing needs to be looked up.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from glasshive.errors import CapabilityError, NetlinkError, NotFoundError
from glasshive.model.address import Address, is_ipv4, render
from glasshive.model.node import NodeFacts
from glasshive.net import links, netlink, sysctl
from glasshive.node.config import LOCAL_PORTS, VXLAN_PORT, Devices

HOST_NAME, HOST_IFINDEX = "gh_host", 90_001
OVERLAY_NAME, OVERLAY_IFINDEX = "gh_vxlan", 90_002

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_INFO_KIND = 1, 3, 4, 18, 1
_DOOR_KINDS = ("dummy", "ifb")

SETTINGS = {
    **sysctl.ROUTER,
    **sysctl.QUIET_IPV6,
    "net/ipv4/ip_local_port_range": f"{LOCAL_PORTS[0]} {LOCAL_PORTS[1]}",
    "net/ipv4/conf/all/accept_redirects": "0",
    "net/ipv6/conf/all/accept_redirects": "0",
}


def prepare(node: NodeFacts, device: str, *, tunnel: bool, services: Iterable[Address] = ()) -> Devices:
    """Set the namespace up as a node: settings, ``gh_host`` with the router addresses, and the overlay if wanted.

    ``services`` are further addresses of ``gh_host``, at which processes of the node serve its pods.

    Runs in the node's network namespace. Idempotent: what is there already stays as it is, connections included.
    Raises NotFoundError when the fabric device is missing.
    """
    sysctl.write(SETTINGS)
    fabric = link_facts(device)
    if fabric is None:
        raise NotFoundError(f"node {node.name} has no device {device}", hint="is this its network namespace?")
    with links.Links() as wire:
        if not wire.index(HOST_NAME):
            _create_door(fabric.mtu)
        wire.change(HOST_NAME, up=True, link_local=False)
        for address in (*node.routers(), *services):
            wire.add_address(HOST_NAME, f"{render(address)}/{32 if is_ipv4(address) else 128}")
        if tunnel:
            if not wire.index(OVERLAY_NAME):
                wire.vxlan(OVERLAY_NAME, port=VXLAN_PORT, index=OVERLAY_IFINDEX, mtu=fabric.mtu)
            wire.change(OVERLAY_NAME, up=True, link_local=False)
        else:
            wire.delete(OVERLAY_NAME)
        return Devices(fabric.index, fabric.mac, fabric.mtu, wire.index(HOST_NAME), wire.index(OVERLAY_NAME))


def _create_door(mtu: int) -> None:
    """Make ``gh_host``. Both kinds need no neighbours (IFF_NOARP) and lose what is sent to them."""
    with netlink.Socket() as wire:
        for kind in _DOOR_KINDS:
            info = netlink.attr(_IFLA_LINKINFO | netlink.NLA_F_NESTED, netlink.attr(_IFLA_INFO_KIND, kind.encode()))
            parts = netlink.attr_text(_IFLA_IFNAME, HOST_NAME) + netlink.attr_u32(_IFLA_MTU, mtu) + info
            try:
                wire.one(
                    netlink.RTM_NEWLINK, netlink.CREATE, f"create {HOST_NAME}", netlink.ifinfo(HOST_IFINDEX), parts
                )
            except NetlinkError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
            else:
                return
    raise CapabilityError(
        f"this kernel has no device for {HOST_NAME}: neither {' nor '.join(_DOOR_KINDS)}",
        hint="load the module dummy or ifb",
    )


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """What the kernel says of a device; ``mac`` has 6 bytes, ``mtu`` counts bytes."""

    index: int
    mac: bytes
    mtu: int


def link_facts(device: str) -> LinkFacts | None:
    """A device of the calling thread's namespace, None if there is none of that name.

    Asked over rtnetlink: /sys/class/net shows the namespace that sysfs was mounted in, not the caller's.
    """
    name = netlink.attr_text(_IFLA_IFNAME, device)
    with netlink.Socket() as wire:
        try:
            body = wire.get(netlink.RTM_GETLINK, f"link {device}", netlink.ifinfo(), name)
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
    found = netlink.attributes(body, 16)
    (index,) = struct.unpack_from("=i", body, 4)
    (mtu,) = struct.unpack("=I", found[_IFLA_MTU])
    return LinkFacts(index, found.get(_IFLA_ADDRESS, bytes(6)), mtu)

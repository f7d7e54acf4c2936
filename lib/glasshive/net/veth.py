"""A pod's link: veth pair, addresses, routes and neighbours of both families, in three sends.

The netlink socket lives inside the pod's namespace and makes ``eth0`` there as ifindex 2, its peer with a fixed ifindex
and name in the node's: no look-up is needed, and no device is ever moved. Measured recipe: kernel-recipes.md section 2.

Order matters. The host side comes up first and the pod's second: the device that is opened last has its carrier at once
and its queue is active when the send returns, so the pod's first packet is not lost to the delayed link watch. Nothing
is sent on the wire by this: no duplicate address detection, no link-local address, no router solicitation. (Without a
link-local address the node's own stack cannot solicit the pod's MAC by ND: the datapath delivers by redirect, and who
wants plain IPv6 routes to a pod sets its neighbour.)
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from functools import lru_cache

from glasshive.errors import KernelError
from glasshive.net import netlink, netns
from glasshive.net.netlink import CREATE, IFF_UP, NLA_F_NESTED, Batch, attr, attr_text, attr_u32

POD_IFINDEX = 2
LOOPBACK_IFINDEX = 1

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_AF_SPEC, _IFLA_NET_NS_FD = 1, 3, 4, 18, 26, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFLA_INET6_ADDR_GEN_MODE, _ADDR_GEN_NONE = 8, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_F_NODAD = 1, 2, 0x02
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 4, 5, 7
_SCOPE_LINK = 253
_IFLA_NUM_TX_QUEUES, _IFLA_NUM_RX_QUEUES = 31, 32
# The kernel's default is a queue per processor, each with its own sysfs objects: a third of the cost of the pair.
# A veth without XDP has no use for them: it sends without a queue lock and receives on the sender's processor.
_ONE_QUEUE = attr_u32(_IFLA_NUM_TX_QUEUES, 1) + attr_u32(_IFLA_NUM_RX_QUEUES, 1)
_NDA_DST, _NDA_LLADDR, _NUD_PERMANENT = 1, 2, 0x80

_NO_LINK_LOCAL = attr(
    _IFLA_AF_SPEC | NLA_F_NESTED,
    attr(socket.AF_INET6 | NLA_F_NESTED, attr(_IFLA_INET6_ADDR_GEN_MODE, bytes([_ADDR_GEN_NONE]))),
)


@dataclass(frozen=True, slots=True)
class PodLink:
    """What a pod's link shall be. Addresses without prefix length, as text; an empty address leaves that family out."""

    host_name: str
    host_ifindex: int
    host_mac: str
    pod_mac: str
    mtu: int
    ipv4: str = ""
    ipv6: str = ""
    gateway_ipv4: str = ""
    gateway_ipv6: str = ""
    pod_name: str = "eth0"


def mac_bytes(mac: str) -> bytes:
    """Six bytes of ``02:00:...``."""
    return bytes.fromhex(mac.replace(":", ""))


def create_pod_link(pod: netns.Target, link: PodLink, host: netlink.Socket | None = None) -> None:
    """Make the link between the pod's namespace and the caller's (the node's); both ends up and usable on return.

    ``host`` is a netlink socket of the node's namespace to reuse. Raises NetlinkError: EEXIST if the host side's name
    or index is taken. After a failure delete the pod's namespace; if only this link failed, nothing of it remains.
    """
    own = netlink.Socket() if host is None else host
    try:
        inside = netns.socket_in(pod)
        try:
            with netns.opened() as node_fd:
                inside.run(_creation(link, node_fd))
            try:
                own.run(_host_up(link))
                inside.run(_configuration(link))
            except KernelError:
                inside.one(netlink.RTM_DELLINK, 0, "undo veth", netlink.ifinfo(POD_IFINDEX))
                raise
        finally:
            inside.close()
    finally:
        if host is None:
            own.close()


def delete_host_link(ifindex: int, host: netlink.Socket | None = None) -> bool:
    """Delete a pod's link by its host side; False if it was gone. Deleting the pod's namespace does this too, later."""
    own = netlink.Socket() if host is None else host
    try:
        own.one(netlink.RTM_DELLINK, 0, f"delete link {ifindex}", netlink.ifinfo(ifindex))
    except KernelError as error:
        if error.errno != 19:  # ENODEV
            raise
        return False
    finally:
        if host is None:
            own.close()
    return True


def _creation(link: PodLink, node_fd: int) -> Batch:
    peer = (
        netlink.ifinfo(link.host_ifindex)
        + attr_text(_IFLA_IFNAME, link.host_name)
        + attr(_IFLA_ADDRESS, mac_bytes(link.host_mac))
        + attr_u32(_IFLA_MTU, link.mtu)
        + attr_u32(_IFLA_NET_NS_FD, node_fd)
        + _ONE_QUEUE
    )
    info = attr(_IFLA_INFO_KIND, b"veth") + attr(
        _IFLA_INFO_DATA | NLA_F_NESTED, attr(_VETH_INFO_PEER | NLA_F_NESTED, peer)
    )
    batch = Batch()
    batch.add(
        netlink.RTM_NEWLINK, CREATE, f"create veth {link.host_name} (index {link.host_ifindex})",
        netlink.ifinfo(POD_IFINDEX), attr_text(_IFLA_IFNAME, link.pod_name),
        attr(_IFLA_ADDRESS, mac_bytes(link.pod_mac)), attr_u32(_IFLA_MTU, link.mtu),
        attr(_IFLA_LINKINFO | NLA_F_NESTED, info), _ONE_QUEUE,
    )  # fmt: skip
    return batch


def _host_up(link: PodLink) -> Batch:
    """addr_gen_mode is refused when the link is made (EAFNOSUPPORT), so it is its own message, before "up"."""
    batch = Batch()
    if link.ipv6:
        batch.add(
            netlink.RTM_NEWLINK,
            0,
            f"no link-local on {link.host_name}",
            netlink.ifinfo(link.host_ifindex),
            _NO_LINK_LOCAL,
        )
    batch.add(netlink.RTM_NEWLINK, 0, f"{link.host_name} up", netlink.ifinfo(link.host_ifindex, IFF_UP, IFF_UP))
    return batch


@lru_cache(maxsize=2)
def _packed(family: int, address: str) -> bytes:
    return socket.inet_pton(family, address)


def _configuration(link: PodLink) -> Batch:
    batch = Batch()
    batch.add(netlink.RTM_NEWLINK, 0, "lo up", netlink.ifinfo(LOOPBACK_IFINDEX, IFF_UP, IFF_UP))
    if link.ipv6:
        batch.add(netlink.RTM_NEWLINK, 0, "no link-local on eth0", netlink.ifinfo(POD_IFINDEX), _NO_LINK_LOCAL)
    batch.add(netlink.RTM_NEWLINK, 0, "eth0 up", netlink.ifinfo(POD_IFINDEX, IFF_UP, IFF_UP))
    mac = mac_bytes(link.host_mac)
    if link.ipv4:
        _add_family(batch, socket.AF_INET, link.ipv4, _packed(socket.AF_INET, link.gateway_ipv4), mac)
    if link.ipv6:
        _add_family(batch, socket.AF_INET6, link.ipv6, _packed(socket.AF_INET6, link.gateway_ipv6), mac)
    return batch


def _add_family(batch: Batch, family: int, address: str, gateway_be: bytes, gateway_mac: bytes) -> None:
    """Address as a single host, gateway on the link, default through it, neighbour fixed: no ARP or ND is needed."""
    raw = socket.inet_pton(family, address)
    bits = len(raw) * 8
    eth0 = struct.pack("=HHI", 8, _RTA_OIF, POD_IFINDEX)
    flags = _IFA_F_NODAD if family == socket.AF_INET6 else 0
    batch.add(
        netlink.RTM_NEWADDR, CREATE, f"address {address}",
        netlink.ifaddr(family, bits, POD_IFINDEX, flags), attr(_IFA_LOCAL, raw), attr(_IFA_ADDRESS, raw),
    )  # fmt: skip
    batch.add(
        netlink.RTM_NEWNEIGH, CREATE, "neighbour of the gateway",
        netlink.ndmsg(family, POD_IFINDEX, _NUD_PERMANENT), attr(_NDA_DST, gateway_be), attr(_NDA_LLADDR, gateway_mac),
    )  # fmt: skip
    batch.add(
        netlink.RTM_NEWROUTE, CREATE, "route to the gateway",
        netlink.rtmsg(family, bits, scope=_SCOPE_LINK), attr(_RTA_DST, gateway_be), eth0,
    )  # fmt: skip
    source = attr(_RTA_PREFSRC, raw) if family == socket.AF_INET else b""
    batch.add(
        netlink.RTM_NEWROUTE, CREATE, "default route",
        netlink.rtmsg(family, 0), attr(_RTA_GATEWAY, gateway_be), eth0, source,
    )  # fmt: skip

"""Bridges, veth pairs, tunnels, addresses and routes: one object at a time, in any namespace.

For what is made once per node. A pod's link has its own fast path in :mod:`glasshive.net.veth`.
Prefixes and addresses are text (``"10.244.1.0/24"``, ``"fd30::b/64"``); both families everywhere.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from types import TracebackType
from typing import Self

from glasshive.errors import NetlinkError
from glasshive.net import netlink, netns
from glasshive.net.netlink import CREATE, IFF_UP, NLA_F_NESTED, attr, attr_text, attr_u32
from glasshive.net.veth import mac_bytes

_ENODEV, _EEXIST, _ENOENT, _ESRCH, _EADDRNOTAVAIL = 19, 17, 2, 3, 99
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 10, 18
_IFLA_AF_SPEC, _IFLA_NET_NS_FD = 26, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFLA_INET6_ADDR_GEN_MODE = 8
_IFLA_VXLAN_LEARNING, _IFLA_VXLAN_PORT, _IFLA_VXLAN_UDP_CSUM = 7, 15, 18
_IFLA_VXLAN_UDP_ZERO_CSUM6_TX, _IFLA_VXLAN_UDP_ZERO_CSUM6_RX, _IFLA_VXLAN_COLLECT_METADATA = 19, 20, 25
_IFA_ADDRESS, _IFA_LOCAL, _IFA_F_NODAD = 1, 2, 0x02
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_METRICS, _RTAX_MTU = 1, 4, 5, 7, 8, 2
_RT_SCOPE_LINK, _RTNH_F_ONLINK = 253, 4
_NDA_DST, _NDA_LLADDR, _NUD_PERMANENT = 1, 2, 0x80


class Links:
    """The links of one network namespace (None: the calling thread's). A context manager; usable from any thread."""

    def __init__(self, target: netns.Target | None = None) -> None:
        self._socket = netlink.Socket() if target is None else netns.socket_in(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def index(self, name: str) -> int:
        """The device's ifindex, 0 if there is none of that name."""
        try:
            body = self._socket.get(
                netlink.RTM_GETLINK, f"link {name}", netlink.ifinfo(), attr_text(_IFLA_IFNAME, name)
            )
        except NetlinkError as error:
            if error.errno == _ENODEV:
                return 0
            raise
        return int(struct.unpack_from("=i", body, 4)[0])

    def bridge(self, name: str, *, index: int = 0, mtu: int = 0, mac: str = "") -> None:
        """Make a bridge (no spanning tree: that is the kernel's default)."""
        self._create(name, "bridge", index=index, mtu=mtu, mac=mac)

    def vxlan(self, name: str, *, port: int = 8472, index: int = 0, mtu: int = 0, mac: str = "") -> None:
        """Make a VXLAN device whose tunnel keys come with each packet (from BPF), over IPv4 and IPv6 underlays alike.

        No learning. UDP checksums are neither asked for nor demanded: the inner packet has its own.
        """
        data = (
            attr(_IFLA_VXLAN_COLLECT_METADATA, b"\1")
            + attr(_IFLA_VXLAN_PORT, struct.pack("!H", port))
            + attr(_IFLA_VXLAN_LEARNING, b"\0")
            + attr(_IFLA_VXLAN_UDP_CSUM, b"\0")
            + attr(_IFLA_VXLAN_UDP_ZERO_CSUM6_TX, b"\1")
            + attr(_IFLA_VXLAN_UDP_ZERO_CSUM6_RX, b"\1")
        )
        self._create(name, "vxlan", data, index=index, mtu=mtu, mac=mac)

    def veth(
        self, name: str, peer: str, *, peer_netns: netns.Target | None = None, index: int = 0, peer_index: int = 0,
        mtu: int = 0, mac: str = "", peer_mac: str = "",
    ) -> None:  # fmt: skip
        """Make a veth pair, the peer in another namespace if given. Both ends are down: see :meth:`change`."""
        parts = netlink.ifinfo(peer_index) + attr_text(_IFLA_IFNAME, peer)
        parts += attr_u32(_IFLA_MTU, mtu) if mtu else b""
        parts += attr(_IFLA_ADDRESS, mac_bytes(peer_mac)) if peer_mac else b""
        if peer_netns is None:
            self._create(name, "veth", attr(_VETH_INFO_PEER | NLA_F_NESTED, parts), index=index, mtu=mtu, mac=mac)
            return
        with netns.opened(peer_netns) as fd:
            data = attr(_VETH_INFO_PEER | NLA_F_NESTED, parts + attr_u32(_IFLA_NET_NS_FD, fd))
            self._create(name, "veth", data, index=index, mtu=mtu, mac=mac)

    def change(
        self,
        name: str,
        *,
        up: bool | None = None,
        mtu: int = 0,
        mac: str = "",
        bridge: str = "",
        link_local: bool | None = None,
    ) -> None:
        """Change a device: bring it up or down, set MTU or MAC, make it a port of ``bridge``, allow IPv6 link-local or
        not.
        """
        index = self._need(name)
        if link_local is not None:  # must come before "up", in a message of its own
            mode = attr(_IFLA_INET6_ADDR_GEN_MODE, b"\0" if link_local else b"\1")
            spec = attr(_IFLA_AF_SPEC | NLA_F_NESTED, attr(socket.AF_INET6 | NLA_F_NESTED, mode))
            self._socket.one(netlink.RTM_NEWLINK, 0, f"link-local of {name}", netlink.ifinfo(index), spec)
        parts = attr_u32(_IFLA_MTU, mtu) if mtu else b""
        parts += attr(_IFLA_ADDRESS, mac_bytes(mac)) if mac else b""
        parts += attr_u32(_IFLA_MASTER, self._need(bridge)) if bridge else b""
        body = netlink.ifinfo(index) if up is None else netlink.ifinfo(index, IFF_UP if up else 0, IFF_UP)
        self._socket.one(netlink.RTM_NEWLINK, 0, f"change {name}", body, parts)

    def delete(self, name: str) -> bool:
        """Delete a device; False if there was none."""
        index = self.index(name)
        if index:
            self._socket.one(netlink.RTM_DELLINK, 0, f"delete {name}", netlink.ifinfo(index))
        return bool(index)

    def add_address(self, dev: str, interface: str) -> None:
        """Give ``dev`` an address with prefix length. IPv6 addresses are usable at once (no duplicate detection).
        Idempotent.
        """
        value = ipaddress.ip_interface(interface)
        family, raw = _family(value.ip), value.ip.packed
        flags = _IFA_F_NODAD if family == socket.AF_INET6 else 0
        body = netlink.ifaddr(family, value.network.prefixlen, self._need(dev), flags)
        parts = attr(_IFA_LOCAL, raw) + attr(_IFA_ADDRESS, raw)
        self._tolerant(netlink.RTM_NEWADDR, CREATE, f"address {interface} on {dev}", (_EEXIST,), body, parts)

    def remove_address(self, dev: str, interface: str) -> bool:
        """Take an address away; False if it was not there."""
        value = ipaddress.ip_interface(interface)
        body = netlink.ifaddr(_family(value.ip), value.network.prefixlen, self._need(dev))
        what = f"remove address {interface} from {dev}"
        return self._tolerant(netlink.RTM_DELADDR, 0, what, (_EADDRNOTAVAIL,), body, attr(_IFA_LOCAL, value.ip.packed))

    def set_route(
        self, prefix: str, *, dev: str = "", via: str = "", source: str = "", mtu: int = 0, onlink: bool = False
    ) -> None:
        """Add or replace the route to ``prefix`` ("default" is of ``via``'s family)."""
        body, parts = self._route(prefix, dev, via, source=source, mtu=mtu, onlink=onlink)
        what = f"route {prefix} dev {dev or '-'} via {via or '-'}"
        self._socket.one(netlink.RTM_NEWROUTE, netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE, what, body, parts)

    def remove_route(self, prefix: str, *, dev: str = "", via: str = "") -> bool:
        """Remove a route; False if it was not there."""
        body, parts = self._route(prefix, dev, via)
        return self._tolerant(netlink.RTM_DELROUTE, 0, f"remove route {prefix}", (_ESRCH, _ENOENT), body, parts)

    def set_neighbour(self, dev: str, address: str, mac: str) -> None:
        """Fix the MAC behind an address for good."""
        value = ipaddress.ip_address(address)
        body = netlink.ndmsg(_family(value), self._need(dev), _NUD_PERMANENT)
        parts = attr(_NDA_DST, value.packed) + attr(_NDA_LLADDR, mac_bytes(mac))
        flags = netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE
        self._socket.one(netlink.RTM_NEWNEIGH, flags, f"neighbour {address} on {dev}", body, parts)

    def _create(self, name: str, kind: str, data: bytes = b"", *, index: int, mtu: int, mac: str) -> None:
        info = attr(_IFLA_INFO_KIND, kind.encode()) + (attr(_IFLA_INFO_DATA | NLA_F_NESTED, data) if data else b"")
        parts = attr_text(_IFLA_IFNAME, name) + (attr_u32(_IFLA_MTU, mtu) if mtu else b"")
        parts += attr(_IFLA_ADDRESS, mac_bytes(mac)) if mac else b""
        parts += attr(_IFLA_LINKINFO | NLA_F_NESTED, info)
        self._socket.one(netlink.RTM_NEWLINK, CREATE, f"create {kind} {name}", netlink.ifinfo(index), parts)

    def _need(self, name: str) -> int:
        index = self.index(name)
        if not index:
            raise NetlinkError(f"there is no device {name}", _ENODEV)
        return index

    def _route(
        self, prefix: str, dev: str, via: str, *, source: str = "", mtu: int = 0, onlink: bool = False
    ) -> tuple[bytes, bytes]:
        if prefix == "default":
            prefix = "::/0" if ":" in via else "0.0.0.0/0"
        network = ipaddress.ip_network(prefix)
        family = _family(network.network_address)
        scope = 0 if via or family == socket.AF_INET6 else _RT_SCOPE_LINK
        body = netlink.rtmsg(family, network.prefixlen, scope=scope, flags=_RTNH_F_ONLINK if onlink else 0)
        parts = attr(_RTA_DST, network.network_address.packed) if network.prefixlen else b""
        parts += attr(_RTA_GATEWAY, ipaddress.ip_address(via).packed) if via else b""
        parts += attr_u32(_RTA_OIF, self._need(dev)) if dev else b""
        parts += attr(_RTA_PREFSRC, ipaddress.ip_address(source).packed) if source else b""
        parts += attr(_RTA_METRICS | NLA_F_NESTED, attr_u32(_RTAX_MTU, mtu)) if mtu else b""
        return body, parts

    def _tolerant(self, kind: int, flags: int, what: str, accepted: tuple[int, ...], *parts: bytes) -> bool:
        try:
            self._socket.one(kind, flags, what, *parts)
        except NetlinkError as error:
            if error.errno not in accepted:
                raise
            return False
        return True


def _family(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6

"""The kernel's routes made equal to the desired ones: dump, compare, one batch that adds before it removes.

Only routes that carry our protocol number are ever touched, whatever else lives in the namespace.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping

from glasshive.model.address import V4_MAPPED, V4_OFFSET, Address, Prefix, is_ipv4
from glasshive.net import netlink
from glasshive.net.netlink import NLA_F_NESTED, attr, attr_u32
from glasshive.routing.desired import Route

PROTOCOL = 0x67
"""Routing protocol number of our routes ("g"); ``ip route`` shows it as ``proto 103``."""

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_METRICS, _RTAX_MTU = 1, 4, 5, 7, 8, 2
_MAIN_TABLE = 254
_SCOPE_LINK = 253
_REPLACE = netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE


class RouteSync:
    """Keeps the routes of the network namespace in which it was made."""

    def __init__(self, wire: netlink.Socket) -> None:
        self._wire = wire

    def add(self, wanted: Mapping[Prefix, Route]) -> int:
        """See to it that these routes are there; others stay. How many were changed."""
        return self._change(wanted, remove=False)

    def apply(self, wanted: Mapping[Prefix, Route]) -> int:
        """Make the kernel's routes equal to ``wanted``; how many were changed."""
        return self._change(wanted, remove=True)

    def _change(self, wanted: Mapping[Prefix, Route], *, remove: bool) -> int:
        present = self.present()
        batch = netlink.Batch()
        for prefix, route in wanted.items():
            if present.get(prefix) != route:
                batch.add(netlink.RTM_NEWROUTE, _REPLACE, f"route {prefix}", *_message(prefix, route))
        for prefix, route in present.items():
            if remove and prefix not in wanted:
                batch.add(netlink.RTM_DELROUTE, 0, f"remove route {prefix}", *_message(prefix, route))
        self._wire.run(batch)
        return len(batch)

    def present(self) -> dict[Prefix, Route]:
        """Our routes as the kernel has them."""
        found: dict[Prefix, Route] = {}
        for family in (socket.AF_INET, socket.AF_INET6):
            for body in self._wire.dump(netlink.RTM_GETROUTE, "dump routes", netlink.rtmsg(family, 0, protocol=0)):
                length, table, protocol = body[1], body[4], body[5]
                if body[0] == family and protocol == PROTOCOL and table == _MAIN_TABLE:
                    attributes = netlink.attributes(body, 12)
                    raw = attributes.get(_RTA_DST, bytes(4 if family == socket.AF_INET else 16))
                    offset = V4_OFFSET if family == socket.AF_INET else 0
                    found[Prefix(offset + length, _wide(raw))] = _route(attributes)
        return found


def _route(attributes: Mapping[int, bytes]) -> Route:
    metrics = netlink.attributes(attributes.get(_RTA_METRICS, b""))
    return Route(
        ifindex=_u32(attributes.get(_RTA_OIF)),
        gateway=_wide(attributes[_RTA_GATEWAY]) if _RTA_GATEWAY in attributes else None,
        source=_wide(attributes[_RTA_PREFSRC]) if _RTA_PREFSRC in attributes else None,
        mtu=_u32(metrics.get(_RTAX_MTU)),
    )


def _message(prefix: Prefix, route: Route) -> tuple[bytes, bytes]:
    ipv4 = prefix.is_ipv4
    family = socket.AF_INET if ipv4 else socket.AF_INET6
    length = prefix.length - (V4_OFFSET if ipv4 else 0)
    scope = _SCOPE_LINK if ipv4 and route.gateway is None else 0
    parts = attr(_RTA_DST, _narrow(prefix.address, ipv4=ipv4)) + attr_u32(_RTA_OIF, route.ifindex)
    if route.gateway is not None:
        parts += attr(_RTA_GATEWAY, _narrow(route.gateway, ipv4=ipv4))
    if route.source is not None:
        parts += attr(_RTA_PREFSRC, _narrow(route.source, ipv4=ipv4))
    if route.mtu:
        parts += attr(_RTA_METRICS | NLA_F_NESTED, attr_u32(_RTAX_MTU, route.mtu))
    return netlink.rtmsg(family, length, protocol=PROTOCOL, scope=scope), parts


def _wide(raw: bytes) -> Address:
    return Address(V4_MAPPED + raw if len(raw) == 4 else raw)


def _narrow(address: Address, *, ipv4: bool) -> bytes:
    assert is_ipv4(address) == ipv4, "families of a route do not mix"
    return address[12:] if ipv4 else address


def _u32(raw: bytes | None) -> int:
    return int(struct.unpack("=I", raw)[0]) if raw else 0

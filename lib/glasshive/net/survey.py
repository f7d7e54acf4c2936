"""What stands in a network namespace, for people: devices, routes, neighbours, as plain rows.

Decoding dumps is pyroute2's trade, so here it is used (imported on first use: it takes half a second). What makes and
changes devices, in the path of every pod, is ``netlink`` and ``links``.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, TypeAlias

from glasshive.net.netns import Target, in_netns

Row: TypeAlias = dict[str, Any]

_NEIGHBOUR_STATES = {1: "incomplete", 2: "reachable", 4: "stale", 8: "delay", 16: "probe", 32: "failed", 64: "noarp",
                     128: "permanent"}  # fmt: skip
_MAIN_TABLE = 254


def devices(target: Target) -> list[Row]:
    """Every device by index: ``index name kind state mtu_bytes mac addresses`` (addresses with their prefix length)."""

    def read(ipr: Any) -> list[Row]:
        addresses: dict[int, list[str]] = {}
        for one in ipr.get_addr():
            addresses.setdefault(one["index"], []).append(f"{one.get_attr('IFA_ADDRESS')}/{one['prefixlen']}")
        rows = []
        for one in ipr.get_links():
            info = one.get_attr("IFLA_LINKINFO")
            rows.append(
                {
                    "index": one["index"],
                    "name": one.get_attr("IFLA_IFNAME"),
                    "kind": (info.get_attr("IFLA_INFO_KIND") if info else None) or "device",
                    "state": (one.get_attr("IFLA_OPERSTATE") or "unknown").lower(),
                    "mtu_bytes": one.get_attr("IFLA_MTU"),
                    "mac": one.get_attr("IFLA_ADDRESS") or "",
                    "addresses": sorted(addresses.get(one["index"], [])),
                }
            )
        return sorted(rows, key=lambda row: row["index"])

    return _ask(target, read)


def routes(target: Target) -> list[Row]:
    """The main table of both families: ``destination gateway device source metric``."""

    def read(ipr: Any) -> list[Row]:
        names = _names(ipr)
        rows = []
        for family in (socket.AF_INET, socket.AF_INET6):
            for one in ipr.get_routes(family=family, table=_MAIN_TABLE):
                destination = one.get_attr("RTA_DST")
                rows.append(
                    {
                        "destination": f"{destination}/{one['dst_len']}" if destination else "default",
                        "gateway": one.get_attr("RTA_GATEWAY") or "",
                        "device": names.get(one.get_attr("RTA_OIF"), ""),
                        "source": one.get_attr("RTA_PREFSRC") or "",
                        "metric": one.get_attr("RTA_PRIORITY") or 0,
                    }
                )
        return rows

    return _ask(target, read)


def neighbours(target: Target) -> list[Row]:
    """Known neighbours of both families: ``address mac device state``."""

    def read(ipr: Any) -> list[Row]:
        names = _names(ipr)
        rows = []
        for family in (socket.AF_INET, socket.AF_INET6):
            for one in ipr.get_neighbours(family=family):
                if one["state"] == 64:  # noarp: multicast and the like, nobody's neighbour
                    continue
                rows.append(
                    {
                        "address": one.get_attr("NDA_DST"),
                        "mac": one.get_attr("NDA_LLADDR") or "",
                        "device": names.get(one["ifindex"], ""),
                        "state": _NEIGHBOUR_STATES.get(one["state"], str(one["state"])),
                    }
                )
        return rows

    return _ask(target, read)


def _names(ipr: Any) -> dict[int, str]:
    return {one["index"]: one.get_attr("IFLA_IFNAME") for one in ipr.get_links()}


def _ask(target: Target, read: Callable[[Any], list[Row]]) -> list[Row]:
    def inside() -> list[Row]:
        from pyroute2 import IPRoute

        with IPRoute() as ipr:
            return read(ipr)

    return in_netns(target, inside)

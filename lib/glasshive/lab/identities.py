"""Who shares an identity with whom, and what an ipcache makes of an address. Pure, but for the packet that lies.

Numbers of identities differ between clusters and mean nothing to a reader, so identities are told by their labels; only
the reserved ones have numbers that are the same everywhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glasshive.widgets.policy_view import peer_text

MOST_RESERVED = 255
_FORGED = """
import socket, struct, sys
source, target = sys.argv[1:]
sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
ends = socket.inet_aton(source) + socket.inet_aton(target)
sock.sendto(struct.pack("!BBHHHBBH", 69, 0, 28, 0, 0, 64, 17, 0) + ends + struct.pack("!HHHH", 4000, 9000, 8, 0),
            (target, 0))
"""


def groups(endpoints: Iterable[Mapping[str, Any]], home: str) -> list[dict[str, Any]]:
    """Identities that endpoints of a namespace have: ``{identity labels all pods: [{name node}]}``, by labels.

    ``endpoints``: rows with ``pod namespace node identity labels``.
    """
    found: dict[int, dict[str, Any]] = {}
    for row in endpoints:
        if row["namespace"] == home:
            number, labels = int(row["identity"]), list(row["labels"])
            told = {"identity": number, "labels": peer_text(labels, number, home), "all": labels, "pods": []}
            found.setdefault(number, told)["pods"].append({"name": str(row["pod"]), "node": str(row["node"])})
    for group in found.values():
        group["pods"].sort(key=lambda pod: str(pod["name"]))
    return sorted(found.values(), key=lambda group: (str(group["labels"]), int(group["identity"])))


def known_as(
    who: Mapping[str, str], ipcache: Sequence[Mapping[str, Any]], nodes: Mapping[str, str], home: str
) -> list[dict[str, Any]]:
    """What a node's ipcache says of addresses (name -> address): the longest prefix that holds each decides.

    ``nodes``: addresses of nodes, and their names.
    """
    table = [(ipaddress.ip_network(row["prefix"]), row) for row in ipcache]
    rows = []
    for name, text in who.items():
        address = ipaddress.ip_address(text)
        prefix, row = max(
            ((network, row) for network, row in table if network.version == address.version and address in network),
            key=lambda pair: pair[0].prefixlen,
        )
        number = int(row["identity"])
        rows.append(
            {
                "address of": name,
                "found by": f"/{prefix.prefixlen}",
                "identity of": peer_text(row["labels"], number, home),
                "number": number if number <= MOST_RESERVED else "the cluster's own",
                "behind": nodes.get(row["node"], row["node"]) or "-",
            }
        )
    return rows


def forged(source: str, target: str) -> list[str]:
    """A command that sends one empty IPv4 datagram, from port 4000 to 9000, that claims to be from ``source``."""
    return ["python3", "-I", "-S", "-c", _FORGED, source, target]

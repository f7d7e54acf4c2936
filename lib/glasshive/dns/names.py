"""Names as text: absolute, lower case, without the final dot. The root is the empty string. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_REVERSE_STEP = {4: 8, 6: 4}  # bits per label of in-addr.arpa and ip6.arpa


def plain(name: str) -> str:
    """Any spelling of an absolute name in the form that this package compares."""
    return name.rstrip(".").lower()


def ancestors(name: str) -> Iterator[str]:
    """The name itself, then each name above it, the root last."""
    while name:
        yield name
        name = name.partition(".")[2]
    yield ""


def reverse_of(address: str) -> str:
    """Where the PTR record of an address is: 10.96.0.1 -> 1.0.96.10.in-addr.arpa."""
    return ipaddress.ip_address(address).reverse_pointer


def dashed(address: str) -> str:
    """An address as one label: 10.244.0.7 -> 10-244-0-7; IPv6 in its shortest form, with dashes for colons.

    A label may not begin or end with a dash, so ``::1`` gets zeros: 0--1.
    """
    text = str(ipaddress.ip_address(address)).replace(".", "-").replace(":", "-")
    return ("0" if text.startswith("-") else "") + text + ("0" if text.endswith("-") else "")


def reverse_zones(cidr: str) -> list[str]:
    """The reverse zones that make up exactly this network: 10.96.0.0/12 has 16 of them."""
    network: Network = ipaddress.ip_network(cidr)
    step = _REVERSE_STEP[network.version]
    length = -(-network.prefixlen // step) * step
    labels = length // step
    # A reverse pointer writes every label of the address; a zone has only the first ``labels`` of them.
    zones = []
    for part in network.subnets(new_prefix=length):
        written = part.network_address.reverse_pointer.split(".")
        zones.append(".".join(written[len(written) - 2 - labels :]))
    return zones

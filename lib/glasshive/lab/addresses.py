"""Who has which address of a node's blocks, counted from each block's start. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from glasshive.model.cluster import NodeStatus, PodStatus

MOST_COLUMNS = 16
"""A block is shown as a grid up to this size; a larger one would show nothing but free addresses."""


def grid(nodes: Iterable[NodeStatus], pods: Iterable[PodStatus]) -> list[dict[str, Any]]:
    """One row for each node and block: who has the block's first address (``+0``), its second, and so on."""
    owners = {address: pod.name for pod in pods for address in pod.addresses}
    rows = []
    for node in nodes:
        for block in map(ipaddress.ip_network, node.pod_cidrs):
            row: dict[str, Any] = {"node": node.name, "family": f"IPv{block.version}"}
            for at in range(min(block.num_addresses, MOST_COLUMNS)):
                address = str(block[at])
                row[f"+{at}"] = owners.get(address) or _reserved(block, at)
            rows.append(row)
    return rows


def _reserved(block: ipaddress.IPv4Network | ipaddress.IPv6Network, at: int) -> str:
    """Who has an address that no pod has; a free one is a dash."""
    if at == 0:
        return "network"
    if at == 1:
        return "router"
    return "broadcast" if block.version == 4 and at == block.num_addresses - 1 else "-"


def troubles(nodes: Iterable[NodeStatus], pods: Iterable[PodStatus], families: int) -> list[str]:
    """What is wrong with the addresses of pods that have any; [] if each is one of its own, out of its node's block."""
    blocks = {node.name: [ipaddress.ip_network(one) for one in node.pod_cidrs] for node in nodes}
    taken: dict[str, str] = {}
    found = []
    for pod in pods:
        if pod.addresses and len(pod.addresses) != families:
            found.append(f"{pod.name} has {len(pod.addresses)} addresses")
        for text in pod.addresses:
            address = ipaddress.ip_address(text)
            if not any(address in block and _reserved(block, _at(address, block)) == "-" for block in _of(blocks, pod)):
                found.append(f"{text} of {pod.name} is no pod address of {pod.node}")
            if text in taken:
                found.append(f"{taken[text]} and {pod.name} both have {text}")
            taken[text] = pod.name
    return found


def _of(blocks: dict[str, list[Any]], pod: PodStatus) -> list[Any]:
    return blocks.get(pod.node, [])


def _at(address: Any, block: Any) -> int:
    return int(address) - int(block.network_address)

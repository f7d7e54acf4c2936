"""Reading a cluster for pictures: topology with counters, drops by reason. Nothing is kept between calls."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from glasshive.model.traffic import DropCount, Snapshot, Traffic

if TYPE_CHECKING:
    from glasshive.cluster import Cluster


def snapshot(cluster: Cluster, namespace: str = "") -> Snapshot:
    """Read who is where and what went in and out of each pod; only pods of ``namespace`` if given."""
    topology = cluster.topology()
    if namespace:
        topology = replace(topology, pods=tuple(pod for pod in topology.pods if pod.namespace == namespace))
    busy = sorted({pod.node for pod in topology.pods if pod.node})
    traffic: dict[str, Traffic] = {}
    for node in busy:
        traffic |= node_traffic(cluster, node)
    return Snapshot(topology, traffic, time.monotonic())


def node_traffic(cluster: Cluster, node: str) -> dict[str, Traffic]:
    """Read the counters of a node's pod devices, by pod.

    What the host side of a pod's device sends, the pod receives: directions are turned round.
    """
    devices = parse_devices(cluster.node_exec(node, ["cat", "/proc/net/dev"]).stdout)
    found = {}
    for row in cluster.backend.node_request(node, "GET", "/v1/endpoints"):
        counters = devices.get(row["hostInterface"])
        if counters is not None:
            found[f"{row['namespace']}/{row['pod']}"] = counters
    return found


def parse_devices(text: str) -> dict[str, Traffic]:
    """Read /proc/net/dev as seen from the other end of each device."""
    found = {}
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        fields = rest.split()
        if not colon or len(fields) < 10:
            continue
        received_bytes, received, sent_bytes, sent = (int(fields[at]) for at in (0, 1, 8, 9))
        found[name.strip()] = Traffic(sent, sent_bytes, received, received_bytes)
    return found


def last_drop_record(cluster: Cluster, reason: str) -> tuple[str, dict[str, Any]] | None:
    """Give (node, record) of the last packet that any node dropped for this reason."""
    found: tuple[str, dict[str, Any]] | None = None
    for node in cluster.topology().nodes:
        for record in cluster.backend.node_request(node.name, "GET", "/v1/drop-records")["records"]:
            if record["reason"] == reason and (found is None or record["timeNs"] > found[1]["timeNs"]):
                found = node.name, record
    return found


def drop_counts(cluster: Cluster) -> list[DropCount]:
    """Read the drop counters of all nodes."""
    nodes = [node.name for node in cluster.topology().nodes]
    with ThreadPoolExecutor(max_workers=4) as pool:
        per_node = list(pool.map(cluster.drops, nodes))
    return [
        DropCount(node, str(row["reason"]), str(row["direction"]), int(row["packets"]), int(row["bytes"]))
        for node, rows in zip(nodes, per_node, strict=True)
        for row in rows
    ]

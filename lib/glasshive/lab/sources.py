"""Reading a cluster for pictures: topology with counters, drops by reason. Nothing is kept between calls."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glasshive.errors import NotFoundError
from glasshive.model.traffic import DropCount, Snapshot, Traffic
from glasshive.net import netns

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
    """Read the counters of a node's pods, by pod, inside each pod's own network namespace.

    The node's side of the device would not do: what ``bpf_redirect_peer`` hands to a pod never passes there.
    """
    found = {}
    for row in cluster.backend.node_request(node, "GET", "/v1/endpoints"):
        try:
            text = netns.in_netns(Path(row["netns"]), _read_devices)
        except (NotFoundError, OSError):
            continue  # the pod went away meanwhile
        counters = parse_devices(text).get(row["ifname"])
        if counters is not None:
            found[f"{row['namespace']}/{row['pod']}"] = counters
    return found


def _read_devices() -> str:
    return Path("/proc/thread-self/net/dev").read_text(encoding="ascii")


def parse_devices(text: str) -> dict[str, Traffic]:
    """Read /proc/net/dev, as seen from inside the namespace it belongs to."""
    found = {}
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        fields = rest.split()
        if not colon or len(fields) < 10:
            continue
        received_bytes, received, sent_bytes, sent = (int(fields[at]) for at in (0, 1, 8, 9))
        found[name.strip()] = Traffic(received, received_bytes, sent, sent_bytes)
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

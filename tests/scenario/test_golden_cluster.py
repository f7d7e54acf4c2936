"""What a small cluster shows of itself after a fixed scenario, word by word."""

import os
import subprocess
import sys

import pytest

import goldens
import residue
from glasshive.cluster import Cluster

pytestmark = pytest.mark.root

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: asks, labels: {app: asks}}
spec: {nodeName: node1, containers: [{name: main, image: glasshive/client}]}
---
apiVersion: v1
kind: Pod
metadata: {name: answers, labels: {app: answers}}
spec: {nodeName: node2, containers: [{name: main, image: glasshive/echo}]}
"""
VOLATILE = {
    r"([0-9a-f]{2}:){5}[0-9a-f]{2}": "mac",
    r"\d+\.\d MiB": "size",
    r"\d+\.\d s of CPU": "time",
    r"(?<=127\.0\.0\.1:)\d+": "port",
}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(residue.own(f"t{os.getpid()}-golden"), nodes=2) as one:
        one.wait_applied(one.apply(PODS))
        yield one


@pytest.fixture(scope="module")
def names(cluster):
    """Everything that was chosen for this cluster -> what it stands for."""
    found = {cluster.name: "cluster"}
    for node in cluster.topology().nodes:
        for family, cidr in zip((4, 6), node.pod_cidrs, strict=True):
            prefix = cidr.partition("/")[0]
            router = prefix[:-1] + "1" if family == 4 else prefix + "1"
            found |= {cidr: f"pods of {node.name} v{family}", prefix: f"pods of {node.name} v{family}"}
            found |= {router: f"router of {node.name} v{family}"}
    for pod in cluster.pods():
        found |= {address: f"{pod.name} v{family}" for family, address in zip((4, 6), pod.addresses, strict=True)}
        mine = [row for row in cluster.maps(pod.node, "endpoints") if row["address"] == pod.addresses[0]]
        found[str(mine[0]["identity"])] = f"identity of {pod.name}"
    names = [row for row in cluster.maps("node1", "endpoints") if row["address"] == "10.96.0.10"]
    found[str(names[0]["identity"])] = "identity of the name service"
    return found


def glasshive(cluster, *argv):
    command = [sys.executable, "-m", "glasshive", "--cluster", cluster.name, *argv]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=180).stdout


def lines(rows, names):
    return "\n".join(sorted(goldens.settle(one, names, VOLATILE) for one in rows)) + "\n"


def row(values, *keys):
    return "   ".join(f"{key}={values[key]}" for key in keys)


def test_golden_status(cluster, names):
    pids = {str(process.pid): "pid" for process in cluster.status().processes}
    goldens.check("status", goldens.settle(glasshive(cluster, "status"), names | pids, VOLATILE))


@pytest.mark.parametrize("node", ["node1", "node2"])
def test_golden_tables_of_addresses(cluster, names, node):
    endpoints = [row(one, "address", "ifindex", "identity", "flags") for one in cluster.maps(node, "endpoints")]
    ipcache = [row(one, "addr", "prefixlen", "identity", "flags", "node_addr") for one in cluster.maps(node, "ipcache")]
    text = f"endpoints\n{lines(endpoints, names)}\nipcache\n{lines(ipcache, names)}"
    goldens.check(f"addresses-{node}", text)


def test_golden_connections(cluster, names):
    target = next(pod for pod in cluster.pods() if pod.name == "answers").addresses
    for address in target:
        assert cluster.exec("asks", ["ping", "-c", "1", "-W", "2", address]).returncode == 0
    assert cluster.exec("asks", ["ping", "-c", "1", "-W", "2", "203.0.113.10"]).returncode == 0
    wanted = {"asks v4", "asks v6"}
    rows = []
    for one in cluster.maps("node1", "conntrack"):
        ends = sorted(names.get(one[end], one[end]) for end in ("low", "high"))
        if wanted & set(ends):
            flags = one["flags"] & ~1  # which end is the high one depends on the addresses
            rows.append(f"{' <-> '.join(ends)}   protocol={one['protocol']} state={one['state']} flags={flags}")
    translated = [
        f"{one['src']} -> {one['dst']}   {'becomes' if one['direction'] == 0 else 'goes back to'} {one['addr']}"
        for one in cluster.maps("node1", "nat")
        if "asks v4" in {names.get(one["src"]), names.get(one["addr"])}
    ]
    goldens.check("connections", f"conntrack\n{lines(set(rows), names)}\nnat\n{lines(set(translated), names)}")

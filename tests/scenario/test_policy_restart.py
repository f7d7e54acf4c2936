"""Agents that die and come back, and a control plane that is away: what policy allows goes on, what it refuses stays
refused, at every moment."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from glasshive.cluster.session import Cluster
from policy_cluster import Talk, addresses, becomes, enforcement, http, pod, url

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

PODS = pod("server", image="echo", node="node2") + pod("client", node="node1") + pod("other", node="node1")
POLICIES = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: in}
spec:
  endpointSelector: {matchLabels: {app: server}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: out}
spec:
  endpointSelector: {matchLabels: {app: client}}
  egress:
  - toEndpoints: [{matchLabels: {app: server}}]
  - toCIDR: [203.0.113.0/24]
"""
WORLD = "203.0.113.10"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster("pagent-again", nodes=2) as one:
        one.wait_applied(one.apply(PODS), timeout=90)
        one.apply(POLICIES)
        becomes(lambda: (enforcement(one, "server")[0], enforcement(one, "client")[1]), ("Enabled", "Enabled"))
        yield one


def ready(cluster: Cluster, node: str) -> bool:
    try:
        status = cluster.backend.node_request(node, "GET", "/v1/status")
    except Exception:  # noqa: BLE001 - it is being started: nobody answers, or not yet with all
        return False
    return bool(status.get("ready") and status["features"]["policy"]["ready"])


def identities(cluster: Cluster) -> dict[str, int]:
    rows = cluster.maps("node1", "ipcache")
    return {f"{row['addr']}/{row['prefixlen']}": row["identity"] for row in rows}


def test_killed_agents_open_nothing_and_cut_nothing(cluster: Cluster) -> None:
    server = addresses(cluster, "server")
    known = identities(cluster)
    assert known["203.0.113.0/120"] >> 24 == 1
    space = next(row["netns"] for row in cluster.endpoints() if row["pod"] == "client")
    ping = ["nsenter", f"--net={space}", "ping", "-i", "0.05", "-W", "5", WORLD]
    with ExitStack() as stack:
        talks = [stack.enter_context(Talk(cluster, "client", kind, one, port))
                 for one in server for kind, port in (("tcp", 8080), ("udp", 9000))]  # fmt: skip
        strangers = [stack.enter_context(Talk(cluster, "other", "udp", one, 9000)) for one in server]
        pinger = subprocess.Popen(ping, stdout=subprocess.PIPE, text=True)
        try:
            becomes(lambda: all(one.count() > 2 for one in talks), True, "all talk")
            for node in ("node1", "node2", "node1"):
                process = cluster.backend.process(node)
                process.stop(kill=True)
                time.sleep(0.3)
                process.start()
                becomes(lambda: ready(cluster, node), True, node, 40.0)  # noqa: B023 - called at once
                before = [one.count() for one in talks]
                becomes(lambda: all(n.count() > b + 2 for n, b in zip(talks, before, strict=True)), True, "all go on")  # noqa: B023
        finally:
            pinger.send_signal(2)
            out, _ = pinger.communicate(timeout=20)
        assert [one.count() for one in strangers] == [0, 0], "nobody came in while an agent was away"
    found = re.search(r"(\d+) packets transmitted, (\d+) received", out)
    assert found, out
    assert int(found[1]) - int(found[2]) <= 1, f"a CIDR rule held all the time: {out[-300:]}"
    assert identities(cluster) == known, "the same prefixes have the same numbers as before"
    drops = cluster.backend.node_request("node1", "GET", "/v1/drop-records?limit=1000")["records"]
    assert [one for one in drops if one["reason"].startswith("policy") and one["destination"] == WORLD] == []


def test_policies_stay_while_the_control_plane_is_away(cluster: Cluster) -> None:
    target = url(addresses(cluster, "server")[0])
    control_plane = cluster.backend.process("control-plane")
    control_plane.stop(kill=True)
    try:
        assert reached(cluster, "client", target) == "200"
        assert reached(cluster, "other", target) == "000"
        node = cluster.backend.process("node2")
        node.stop(kill=True)
        assert reached(cluster, "client", target) == "200"
        assert reached(cluster, "other", target) == "000"
    finally:
        control_plane.start()
        cluster.backend.process("node2").start()
    becomes(lambda: ready(cluster, "node2"), True, seconds=40.0)
    assert http(cluster, "client", target) == "200"
    assert http(cluster, "other", target) == "000"


def reached(cluster: Cluster, name: str, target: str) -> str:
    """As ``http``, without the API: straight from the pod's network namespace."""
    space = next(row["netns"] for row in cluster.backend.node_request("node1", "GET", "/v1/endpoints")
                 if row["pod"] == name)  # fmt: skip
    argv = ["nsenter", f"--net={space}", "curl", "-gs", "--connect-timeout", "2", "-m", "10", "-o", "/dev/null",
            "-w", "%{http_code}", target]  # fmt: skip
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30).stdout


def test_new_pods_of_known_identity_write_no_row_and_are_judged_at_once(cluster: Cluster) -> None:
    target = url(addresses(cluster, "server")[0])
    before = (cluster.maps("node2", "policy_peers"), cluster.maps("node2", "policy_ports"))
    cluster.wait_applied(cluster.apply(pod("second", "app: client", node="node1")), timeout=60)
    cluster.wait_applied(cluster.apply(pod("third", "app: other", node="node2")), timeout=60)
    keys = [{(row["policy"], row["identity"]) for row in rows} for rows in before]
    after = [cluster.maps("node2", "policy_peers"), cluster.maps("node2", "policy_ports")]
    assert [{(row["policy"], row["identity"]) for row in rows} for rows in after] == keys
    assert http(cluster, "second", target) == "200"
    assert http(cluster, "third", target) == "000"
    assert enforcement(cluster, "second") == ("Disabled", "Enabled")

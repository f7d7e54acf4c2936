"""Calls over the packet path in a running cluster: from a pod and from the world, over both ways between nodes."""

from __future__ import annotations

import json
import os
import time

import pytest

import glasshive
import residue

pytestmark = pytest.mark.root

NODES = ("node1", "node2")


def pod(name, node):
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "glasshive/echo"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def service(name, target, port, **spec):
    made = {
        "type": "NodePort", "ipFamilyPolicy": "RequireDualStack", "selector": {"app": target},
        "ports": [{"port": 80, "targetPort": 8080, "nodePort": port}], **spec,
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": made}


@pytest.fixture(scope="module", params=["tunnel", "native"])
def cluster(request):
    name = residue.own(f"svck-ways-{os.getpid()}-{request.param}")
    with glasshive.Cluster(name, config={"nodes": 2, "routing": request.param}) as one:
        one.apply([
            pod("web", "node1"), pod("client", "node2"), service("web", "web", 30_080),
            service("local", "web", 30_081, externalTrafficPolicy="Local"), service("nobody", "nobody", 30_082),
        ])  # fmt: skip
        one.wait("pod", condition="Ready", count=2, timeout=90)
        yield one


def answer(done):
    """What the echo server says of a call; None: nobody has answered."""
    return json.loads(done.stdout) if done.returncode == 0 else None


def until(look, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def hosts(cluster, node):
    found = [one["address"] for one in cluster.get("node", node)["status"]["addresses"] if one["type"] == "InternalIP"]
    return [f"[{one}]" if ":" in one else one for one in found]


def curl(host, port):
    return ["curl", "-s", "-m", "3", f"http://{host}:{port}/"]


def from_world(cluster, host, port):
    return answer(cluster.node_exec("world", curl(host, port)))


def test_a_pod_calls_the_service_and_any_node(cluster):
    vips = [f"[{one}]" if ":" in one else one for one in cluster.get("service", "web")["spec"]["clusterIPs"]]
    for who in ("client", "web"):  # another node's pod, and the backend itself
        for host in vips:
            assert until(lambda host=host, who=who: answer(cluster.exec(who, curl(host, 80))))["pod"] == "web"
        for host in (each for node in NODES for each in hosts(cluster, node)):
            assert answer(cluster.exec(who, curl(host, 30_080)))["pod"] == "web"


def test_the_world_calls_either_node(cluster):
    for node in NODES:
        for host in hosts(cluster, node):
            assert until(lambda host=host: from_world(cluster, host, 30_080))["pod"] == "web"


def test_policy_local_answers_where_the_backend_is(cluster):
    for host in hosts(cluster, "node1"):
        assert until(lambda host=host: from_world(cluster, host, 30_081))["pod"] == "web"
    for host in hosts(cluster, "node2"):
        assert from_world(cluster, host, 30_081) is None


def test_without_a_backend_calls_are_refused_at_once(cluster):
    refused = 7  # curl: could not connect; 28 would be silence
    for host in hosts(cluster, "node1"):
        until(lambda host=host: cluster.node_exec("world", curl(host, 30_082)).returncode == refused)
        assert cluster.exec("client", curl(host, 30_082)).returncode == refused

"""CiliumLocalRedirectPolicy with real pods: what is in each node's tables, what kubectl and glasshive say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

import glasshive
import residue

pytestmark = pytest.mark.root

METADATA = "169.254.169.254"


def until(look, seconds=90.0, what="waited in vain"):
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def pod(name, node, **labels):
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "glasshive/echo"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name, **labels}},
        "spec": spec,
    }


def policy(name, front, *back):
    backend = {"localEndpointSelector": {"matchLabels": {"role": "local"}}, "toPorts": list(back)}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumLocalRedirectPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"redirectFrontend": front, "redirectBackend": backend},
    }


HTTP = {"port": "8080", "protocol": "TCP"}
BY_ADDRESS = policy("meta", {"addressMatcher": {"ip": METADATA, "toPorts": [{"port": "80", "protocol": "TCP"}]}}, HTTP)
BY_SERVICE = policy("web", {"serviceMatcher": {"serviceName": "web", "namespace": "default"}}, HTTP)
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "far"}, "ports": [{"port": 80, "targetPort": 8080}]},
}


@pytest.fixture(scope="module")
def cluster():
    with glasshive.Cluster(residue.own(f"lbipam-lrp-{os.getpid()}"), nodes=2) as one:
        one.apply([pod("local", "node1", role="local"), pod("far", "node2"), pod("client", "node1"), SERVICE])
        one.wait("pod", condition="Ready", count=3, timeout=90)
        one.apply([BY_ADDRESS, BY_SERVICE])
        yield one


def address(cluster, name):
    return next(one for one in cluster.pods() if one.name == name).addresses[0]


def frontends(cluster, node):
    """Frontend -> (type, backends), as the node's agent has them."""
    rows = cluster.backend.node_request(node, "GET", "/v1/services/frontends")
    return {
        row["frontend"]: (row["type"], [one["backend"] for one in row["backends"] if one["internal"]]) for row in rows
    }


def test_the_nodes_own_pod_answers_where_there_is_one(cluster):
    local, far = address(cluster, "local"), address(cluster, "far")
    vip = cluster.get("service", "web")["spec"]["clusterIP"]
    until(lambda: f"{METADATA}:80/TCP" in frontends(cluster, "node1"))
    here = until(lambda: frontends(cluster, "node1"))
    assert here[f"{METADATA}:80/TCP"] == ("LocalRedirect", [f"{local}:8080/TCP"])
    until(lambda: frontends(cluster, "node1")[f"{vip}:80/TCP"] == ("LocalRedirect", [f"{local}:8080/TCP"]))
    there = frontends(cluster, "node2")
    assert f"{METADATA}:80/TCP" not in there
    assert there[f"{vip}:80/TCP"] == ("ClusterIP", [f"{far}:8080/TCP"])
    kernel = [row for row in cluster.maps("node1", "frontends") if row["addr"] == METADATA]
    assert [(row["port"], row["type"]) for row in kernel] == [(80, 6)]


def answers(cluster, host, caller="client"):
    """The pod that answers a call, "" if nobody does."""
    done = cluster.exec(caller, ["curl", "-s", "-m", "2", f"http://{host}/"])
    return json.loads(done.stdout)["pod"] if done.returncode == 0 else ""


def test_calls_are_answered_on_the_callers_node(cluster):
    vip = cluster.get("service", "web")["spec"]["clusterIP"]
    until(lambda: answers(cluster, METADATA) == "local")
    until(lambda: answers(cluster, vip) == "local")
    assert answers(cluster, vip, "local") == "local"
    assert answers(cluster, vip, "far") == "far"
    assert answers(cluster, METADATA, "far") == ""


def test_glasshive_lists_policies_by_node(cluster):
    command = [sys.executable, "-m", "glasshive", "lrp", "list", "--cluster", cluster.name]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "LRP NAMESPACE" in shown
    assert f"{METADATA}:80/TCP -> {address(cluster, 'local')}:8080/TCP" in shown
    assert "clusterIP + all svc ports" in shown
    assert "no ready pod of this node is selected" in shown
    rows = json.loads(subprocess.run([*command, "-o", "json"], capture_output=True, check=True).stdout)
    assert {(row["node"], row["name"], bool(row["frontends"])) for row in rows} == {
        ("node1", "meta", True), ("node1", "web", True), ("node2", "meta", False), ("node2", "web", False),
    }  # fmt: skip


def test_a_policy_cannot_be_changed_and_says_what_is_wrong(cluster):
    changed = policy("meta", BY_ADDRESS["spec"]["redirectFrontend"], {"port": "9090", "protocol": "TCP"})
    refused = cluster.kubectl("apply", "-f", "-", stdin=json.dumps(changed), check=False)
    assert refused.returncode != 0
    assert "is immutable" in refused.stderr
    cluster.apply([policy("late", BY_ADDRESS["spec"]["redirectFrontend"], HTTP)])

    def said():
        found = [one for one in cluster.get("clrp") if one["metadata"]["name"] == "late"]
        listed = (found[0].get("status") or {}).get("conditions") or []
        return next((one["message"] for one in listed if one["type"] == "Valid" and one["status"] == "False"), "")

    assert f"{METADATA}:80/TCP is redirected by default/meta already" in until(said)
    cluster.delete("clrp", "late")


def test_a_restarted_agent_keeps_redirecting(cluster):
    """Not even for a moment is the frontend away: nobody would answer at that address."""

    def redirects():
        rows = cluster.backend.node_request("node1", "GET", "/v1/services/frontends")
        return [row for row in rows if row["type"] == "LocalRedirect"]

    keys = {row["frontend"]: row["id"] for row in redirects()}
    assert len(keys) == 2
    dead = next(p.pid for p in cluster.backend.status().processes if p.name == "node1")
    os.kill(dead, 9)
    until(lambda: any(p.name == "node1" and p.ready and p.pid != dead for p in cluster.backend.status().processes))
    assert {row["frontend"]: row["id"] for row in redirects()} == keys  # taken over, not made anew


def test_without_a_ready_pod_the_service_answers_itself(cluster):
    vip, far = cluster.get("service", "web")["spec"]["clusterIP"], address(cluster, "far")
    cluster.delete("pod", "local")
    until(lambda: f"{METADATA}:80/TCP" not in frontends(cluster, "node1"))
    until(lambda: frontends(cluster, "node1").get(f"{vip}:80/TCP") == ("ClusterIP", [f"{far}:8080/TCP"]))
    until(lambda: answers(cluster, vip) == "far")
    assert answers(cluster, METADATA) == ""
    cluster.delete("clrp", "web")
    cluster.delete("clrp", "meta")
    until(lambda: not cluster.redirects())

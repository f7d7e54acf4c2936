"""CIDRs against the world, the host firewall, administrators' tiers, and the kernel's and the objects' reasons."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from glasshive.cluster.session import Cluster
from policy_cluster import addresses, apply, becomes, enforcement, http, ping, pod, url

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

NAMED = "{name: web, containerPort: 8080}"
PODS = (
    pod("server", image="echo", node="node2", ports=NAMED)
    + pod("client", node="node1")
    + pod("other", node="node1")
    + pod("near", node="node2")
)
WORLD = ("203.0.113.10", "2001:db8:ffff::10")


@pytest.fixture(scope="module", params=["native", "tunnel"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with Cluster(f"pagent-reach-{request.param[0]}", nodes=2, routing=request.param) as one:
        one.wait_applied(one.apply(PODS), timeout=90)
        yield one


@pytest.fixture(autouse=True)
def clean(cluster: Cluster) -> Iterator[None]:
    yield
    for kind in ("cnp", "ccnp", "anp", "banp"):
        cluster.kubectl("delete", kind, "--all")
    becomes(lambda: {enforcement(cluster, name) for name in ("server", "client")}, {("Disabled", "Disabled")})
    becomes(lambda: policies_of_host(cluster, "node2"), 0)


def policies_of_host(cluster: Cluster, node: str) -> int:
    """Which policy the node's own address has."""
    address = next(one for one in cluster.topology().nodes if one.name == node).addresses[0]
    return next(int(row["policy"]) for row in cluster.maps(node, "endpoints") if row["address"] == address)


def test_cidrs_mean_the_world_with_excepts_and_never_pods(cluster: Cluster) -> None:
    rule = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: out}
spec:
  endpointSelector: {matchLabels: {app: client}}
  egress:
  - toCIDRSet: [{cidr: 203.0.113.0/24, except: [EXCEPT]}, {cidr: "2001:db8:ffff::/64"}, {cidr: 10.0.0.0/8}]
"""
    apply(cluster, rule.replace("EXCEPT", "203.0.113.128/25"), "client", ("Disabled", "Enabled"))
    for address in WORLD:
        becomes(lambda: ping(cluster, "client", address), True, address)  # noqa: B023 - called at once
    assert not ping(cluster, "client", addresses(cluster, "server")[0]), "10.0.0.0/8 does not mean pods"
    rows = {row["prefix"]: row for row in cluster.backend.node_request("node1", "GET", "/v1/ipcache")}
    assert rows["203.0.113.0/24"]["identity"] >> 24 == 1
    assert rows["203.0.113.0/24"]["source"] == "generated"
    cluster.apply(rule.replace("EXCEPT", "203.0.113.0/28"))
    becomes(lambda: ping(cluster, "client", WORLD[0]), False, "now it is excepted")
    assert ping(cluster, "client", WORLD[1])
    assert http(cluster, "other", url(addresses(cluster, "server")[0])) == "200", "others' way stays what it was"
    assert ping(cluster, "other", WORLD[0]), "with masquerade"
    cluster.kubectl("delete", "cnp", "out")
    becomes(lambda: ping(cluster, "client", WORLD[0]), True)


def test_the_host_firewall_judges_the_node_and_lets_the_cluster_work(cluster: Cluster) -> None:
    node = next(one for one in cluster.topology().nodes if one.name == "node2").addresses[0]
    assert ping(cluster, "client", node)
    cluster.apply("""
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: host}
spec:
  nodeSelector: {matchLabels: {kubernetes.io/hostname: node2}}
  ingress:
  - fromEndpoints: [{matchLabels: {"k8s:app": other, "k8s:io.kubernetes.pod.namespace": default}}]
  - fromEntities: [remote-node]
    toPorts: [{ports: [{port: "4240", protocol: TCP}]}]
""")
    becomes(lambda: policies_of_host(cluster, "node2") > 0, True)
    becomes(lambda: ping(cluster, "client", node), False, "not allowed")
    assert ping(cluster, "other", node)
    assert policies_of_host(cluster, "node1") == 0, "the other node is not selected"
    target = url(addresses(cluster, "server")[0])
    assert http(cluster, "client", target) == "200", "pods' traffic is not the host's"
    assert cluster.node_exec("node2", ["ping", "-c", "1", "-W", "2", WORLD[0]]).returncode == 0, "answers pass"
    assert cluster.exec("near", ["nslookup", "-timeout=2", "kubernetes.default"]).returncode == 0


ADMIN = """
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: admin}
spec:
  priority: 10
  subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: default}}}
  ingress:
  - name: ACTION-it
    action: ACTION
    from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: client}}}}]
"""
ALLOW = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: allow}
spec:
  endpointSelector: {matchLabels: {app: server}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: LABEL}}]
"""


def test_tiers_are_asked_in_their_order(cluster: Cluster) -> None:
    target = url(addresses(cluster, "server")[0])
    apply(cluster, ALLOW.replace("LABEL", "client"), "server", ("Enabled", "Disabled"))
    becomes(lambda: http(cluster, "client", target), "200")
    cluster.apply(ADMIN.replace("ACTION", "Deny"))
    becomes(lambda: http(cluster, "client", target), "000", "Admin denies before the namespace allows")
    cluster.apply(ADMIN.replace("ACTION", "Pass"))
    becomes(lambda: http(cluster, "client", target), "200", "Pass leaves it to the namespace")
    cluster.apply(ALLOW.replace("LABEL", "other"))
    becomes(lambda: http(cluster, "client", target), "000", "which allows others now")
    cluster.apply(ADMIN.replace("ACTION", "Allow"))
    becomes(lambda: http(cluster, "client", target), "200", "Admin allows before the namespace denies")


def test_why_is_answered_by_kernel_and_objects_alike(cluster: Cluster) -> None:
    target = url(addresses(cluster, "server")[0])
    apply(cluster, ALLOW.replace("LABEL", "client"), "server", ("Enabled", "Disabled"))
    becomes(lambda: http(cluster, "other", target), "000")
    becomes(lambda: http(cluster, "client", target), "200")
    for name, allowed in (("client", True), ("other", False)):
        said = json.loads(glasshive(cluster, "policy", "explain", name, "server", "8080/TCP", "-o", "json"))
        ingress = next(one for one in said if one["direction"] == "ingress")
        assert (ingress["flow"]["verdict"] == "allow") == ingress["allowed"] == allowed
        assert not ingress["changed"]
        traced = json.loads(glasshive(cluster, "policy", "trace", name, "server", "8080/TCP", "-o", "json"))
        assert traced["allowed"] == allowed
        assert traced["ingress"]["rule"] == ingress["rule"]
    assert "CiliumNetworkPolicy default/allow" in ingress["isolatedBy"]
    assert "default/allow, ingress[0]" in ingress["change"]
    assert "default deny" in glasshive(cluster, "policy", "explain")


def glasshive(cluster: Cluster, *argv: str) -> str:
    command = [sys.executable, "-m", "glasshive", "--cluster", cluster.name, *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout

"""Policies by kubectl's YAML, judged by what gets through: the well-known demo, default deny, namespaces, entities."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from glasshive.cluster.session import Cluster
from policy_cluster import addresses, apply, becomes, enforcement, http, ping, pod, url

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

NAMESPACES = """
apiVersion: v1
kind: Namespace
metadata: {name: blue, labels: {colour: blue}}
---
apiVersion: v1
kind: Namespace
metadata: {name: red, labels: {colour: red}}
---
"""
PODS = (
    NAMESPACES
    + pod("deathstar", "org: empire, class: deathstar", image="echo", node="node2")
    + pod("tiefighter", "org: empire, class: tiefighter", node="node1")
    + pod("xwing", "org: alliance, class: xwing", node="node1")
    + pod("near", "org: alliance, class: near", node="node2")
    + pod("asks", namespace="blue", node="node1")
    + pod("asks", namespace="red", node="node2")
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster("pagent-basic", nodes=2) as one:
        one.wait_applied(one.apply(PODS), timeout=90)
        yield one


@pytest.fixture(autouse=True)
def clean(cluster: Cluster) -> Iterator[None]:
    """No policy outlives its test."""
    yield
    for kind in ("cnp", "ccnp", "networkpolicy"):
        cluster.kubectl("delete", kind, "--all", *(() if kind == "ccnp" else ("-A",)))
    becomes(lambda: {enforcement(cluster, name) for name in ("deathstar", "tiefighter")}, {("Disabled", "Disabled")})


def test_the_empire_may_land_and_nobody_else(cluster: Cluster) -> None:
    targets = [url(address) for address in addresses(cluster, "deathstar")]
    for name in ("tiefighter", "xwing", "near"):
        assert {http(cluster, name, target) for target in targets} == {"200"}
    rule = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: rule1}
spec:
  description: L3-L4 policy to restrict deathstar access to empire ships only
  endpointSelector: {matchLabels: {org: empire, class: deathstar}}
  ingress:
  - fromEndpoints: [{matchLabels: {org: empire}}]
    toPorts: [{ports: [{port: "8080", protocol: TCP}]}]
"""
    apply(cluster, rule, "deathstar", ("Enabled", "Disabled"))
    for target in targets:
        assert http(cluster, "tiefighter", target) == "200"
        assert http(cluster, "xwing", target) == "000"
        assert http(cluster, "near", target) == "000", "on the same node too"
    assert not ping(cluster, "tiefighter", addresses(cluster, "deathstar")[0]), "only TCP 8080 is allowed"
    assert any(row["reason"] == "policy" for row in cluster.drops("node2"))
    rows = cluster.policy("default/deathstar")
    deciding = [row for row in rows if row["portProtocol"] == "8080/TCP" and "k8s:class=tiefighter" in row["labels"]]
    assert [row["verdict"] for row in deciding] == ["Allow"]
    assert deciding[0]["packets"] >= 2
    assert deciding[0]["rule"] == "CiliumNetworkPolicy default/rule1, ingress[0]"
    assert "<table>" in cluster.policy()._repr_html_()
    assert "rule1" in repr(cluster.policy())


def test_default_deny_in_both_directions_lets_answers_pass(cluster: Cluster) -> None:
    deny = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
"""
    target = url(addresses(cluster, "deathstar")[0])
    apply(cluster, deny, "tiefighter", ("Enabled", "Enabled"))
    assert http(cluster, "tiefighter", target) == "000"
    assert http(cluster, "asks", target, namespace="blue") == "000", "the receiving side refuses"
    assert cluster.exec("tiefighter", ["nslookup", "-timeout=1", "kubernetes.default"]).returncode != 0
    open_dns = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: names}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
      podSelector: {matchLabels: {k8s-app: kube-dns}}
    ports: [{protocol: UDP, port: 53}]
"""
    cluster.apply(open_dns)
    asked = ["nslookup", "-timeout=1", "kubernetes.default.svc.cluster.local"]
    becomes(lambda: cluster.exec("tiefighter", asked).returncode, 0, "the usual rule for DNS opens it")
    assert http(cluster, "tiefighter", target) == "000"


KNOCK = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.5)
s.connect((sys.argv[1], int(sys.argv[2])))
for _ in range(20):
    try:
        s.send(b"x")
        s.recv(1)
    except ConnectionRefusedError:
        print("refused")
        break
    except TimeoutError:
        continue
"""


def knock(cluster: Cluster, name: str, address: str, port: int) -> str:
    """Send datagrams to a closed port until the receiver's ICMP error comes."""
    space = next(row["netns"] for row in cluster.endpoints() if row["pod"] == name)
    argv = ["nsenter", f"--net={space}", sys.executable, "-c", KNOCK, address, str(port)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_errors_about_an_allowed_datagram_come_back(cluster: Cluster) -> None:
    both = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-5555}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress: [{ports: [{protocol: UDP, port: 5555}]}]
  egress: [{ports: [{protocol: UDP, port: 5555}]}]
"""
    apply(cluster, both, "tiefighter", ("Enabled", "Enabled"))
    for address in addresses(cluster, "deathstar"):
        assert knock(cluster, "tiefighter", address, 5555) == "refused", "no rule allows ICMP, but it is about this"


def test_namespaces_are_told_apart_by_their_labels(cluster: Cluster) -> None:
    rule = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: blue-only}
spec:
  podSelector: {matchLabels: {class: deathstar}}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {colour: blue}}}]
"""
    apply(cluster, rule, "deathstar", ("Enabled", "Disabled"))
    target = url(addresses(cluster, "deathstar")[0])
    assert http(cluster, "asks", target, namespace="blue") == "200"
    assert http(cluster, "asks", target, namespace="red") == "000"
    assert http(cluster, "tiefighter", target) == "000"
    cluster.kubectl("label", "namespace", "red", "colour=blue", "--overwrite")
    becomes(lambda: http(cluster, "asks", target, namespace="red"), "200", "a label of the namespace opens the way")
    cluster.kubectl("label", "namespace", "red", "colour=red", "--overwrite")
    becomes(lambda: http(cluster, "asks", target, namespace="red"), "000", "and closes it")


def test_entities_mean_the_world_the_host_and_the_cluster(cluster: Cluster) -> None:
    rule = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: out}
spec:
  endpointSelector: {matchLabels: {class: tiefighter}}
  egress:
  - toEntities: [ENTITY]
"""
    pod_target, world = addresses(cluster, "deathstar")[0], "203.0.113.10"
    node = next(one for one in cluster.topology().nodes if one.name == "node2").addresses[0]
    reached = {}
    for entity in ("world", "cluster", "remote-node", "all"):
        apply(cluster, rule.replace("ENTITY", entity), "tiefighter", ("Disabled", "Enabled"))
        becomes(lambda: _may(cluster, entity), True, f"rows for {entity}")  # noqa: B023 - called at once
        reached[entity] = [ping(cluster, "tiefighter", address) for address in (pod_target, world, node)]
    assert reached == {
        "world": [False, True, False],
        "cluster": [True, False, True],
        "remote-node": [False, False, True],
        "all": [True, True, True],
    }


def _may(cluster: Cluster, entity: str) -> bool:
    """Whether the rows in force are those of this entity: the object's generation is the one that was applied."""
    objects = cluster.backend.node_request("node1", "GET", "/v1/policy")["objects"]
    return any(entity in str(one["object"].get("spec")) for one in objects)


def test_a_rule_that_denies_wins_over_all_that_allow(cluster: Cluster) -> None:
    rules = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: allow}
spec:
  endpointSelector: {matchLabels: {class: deathstar}}
  ingress:
  - fromEndpoints: [{matchLabels: {org: empire}}, {matchLabels: {org: alliance}}]
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: deny}
spec:
  endpointSelector: {matchLabels: {class: deathstar}}
  ingressDeny:
  - fromEndpoints: [{matchLabels: {org: alliance}}]
    toPorts: [{ports: [{port: "8080", protocol: TCP}]}]
"""
    apply(cluster, rules, "deathstar", ("Enabled", "Disabled"))
    address = addresses(cluster, "deathstar")[0]
    becomes(lambda: http(cluster, "xwing", url(address)), "000")
    assert http(cluster, "tiefighter", url(address)) == "200"
    assert ping(cluster, "xwing", address), "only the port is denied"
    cluster.kubectl("delete", "ccnp", "deny")
    becomes(lambda: http(cluster, "xwing", url(address)), "200")

"""What policies refer to moves while they hold: labels of pods and namespaces, groups of blocks, services, names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from glasshive.cluster.session import Cluster
from policy_cluster import Talk, addresses, apply, becomes, enforcement, http, pod, url

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

PODS = (
    pod("server", image="echo", node="node2")
    + pod("client", "app: client", node="node1")
    + "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: red}}\n---\n"
    + pod("buyer", "app: client", node="node1", namespace="shop")
)
INGRESS = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: in}
spec:
  endpointSelector: {matchLabels: {app: server}}
  ingress:
  - fromEndpoints: [{matchLabels: {PEER}}]
"""
EGRESS = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: out}
spec:
  endpointSelector: {matchLabels: {app: client}}
  egress:
  - PEERS
"""
GROUP = """
apiVersion: cilium.io/v2
kind: CiliumCIDRGroup
metadata: {name: partners}
spec: {externalCIDRs: [BLOCK]}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: partner}
spec: {ports: [{port: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: partner-1, labels: {kubernetes.io/service-name: partner}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [ADDRESS]}]
"""
WORLD = "203.0.113.10"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster("walk5-moves", nodes=2) as one:
        one.wait_applied(one.apply(PODS), timeout=90)
        yield one


@pytest.fixture(autouse=True)
def clean(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.kubectl("delete", "cnp", "--all")
    cluster.kubectl("label", "pod", "client", "app=client", "--overwrite")
    for name in ("server", "client"):
        becomes(lambda name=name: enforcement(cluster, name), ("Disabled", "Disabled"))


@pytest.mark.parametrize("family", [0, 1])
def test_a_connection_ends_with_the_label_that_allowed_it(cluster: Cluster, family: int) -> None:
    apply(cluster, INGRESS.replace("PEER", "app: client"), "server", ("Enabled", "Disabled"))
    with Talk(cluster, "client", "tcp", addresses(cluster, "server")[family], 8080) as talk:
        becomes(lambda: talk.count() > 3, True, "the connection works")
        cluster.kubectl("label", "pod", "client", "app=stranger", "--overwrite")
        becomes(talk.rests, True, "the connection is cut")
        at = talk.count()
        cluster.kubectl("label", "pod", "client", "app=client", "--overwrite")
        becomes(lambda: talk.count() > at, True, "it goes on with the label", 30.0)


def test_labels_of_a_namespace_decide_for_its_pods(cluster: Cluster) -> None:
    target = url(addresses(cluster, "server")[0])
    peer = "'k8s:io.cilium.k8s.namespace.labels.team': green"
    apply(cluster, INGRESS.replace("PEER", peer), "server", ("Enabled", "Disabled"))
    assert http(cluster, "buyer", target, namespace="shop") == "000"
    cluster.kubectl("label", "namespace", "shop", "team=green", "--overwrite")
    becomes(lambda: http(cluster, "buyer", target, namespace="shop"), "200")
    cluster.kubectl("label", "namespace", "shop", "team=red", "--overwrite")
    becomes(lambda: http(cluster, "buyer", target, namespace="shop"), "000")


def test_a_group_of_blocks_changes_and_goes(cluster: Cluster) -> None:
    cluster.apply(GROUP.replace("BLOCK", "203.0.113.0/28"))
    peers = "toCIDRSet: [{cidrGroupRef: partners}]"
    apply(cluster, EGRESS.replace("PEERS", peers), "client", ("Disabled", "Enabled"))
    becomes(lambda: http(cluster, "client", url(WORLD)), "200")
    cluster.apply(GROUP.replace("BLOCK", "203.0.113.128/25"))
    becomes(lambda: http(cluster, "client", url(WORLD)), "000")
    cluster.apply(GROUP.replace("BLOCK", "203.0.113.10/32"))
    becomes(lambda: http(cluster, "client", url(WORLD)), "200")
    cluster.kubectl("delete", "ciliumcidrgroup", "partners")
    becomes(lambda: http(cluster, "client", url(WORLD)), "000")


def test_a_service_without_selector_means_where_it_leads_now(cluster: Cluster) -> None:
    cluster.apply(SERVICE.replace("ADDRESS", WORLD))
    peers = "toServices: [{k8sService: {serviceName: partner, namespace: default}}]"
    apply(cluster, EGRESS.replace("PEERS", peers), "client", ("Disabled", "Enabled"))
    becomes(lambda: http(cluster, "client", url(WORLD)), "200")
    cluster.apply(SERVICE.replace("ADDRESS", "203.0.113.99"))
    becomes(lambda: http(cluster, "client", url(WORLD)), "000")


def test_who_is_meant_and_does_not_exist_is_told(cluster: Cluster) -> None:
    def findings() -> str:
        found = [row["findings"] for row in cluster.policy() if row["name"] == "in"]
        return "; ".join(found[0]) if found else ""

    apply(cluster, INGRESS.replace("PEER", "app: ghost"), "server", ("Enabled", "Disabled"))
    assert "spec.ingress[0]: the peer app=ghost" in findings()
    assert "is nobody that exists now" in findings()
    cluster.kubectl("label", "pod", "client", "app=ghost", "--overwrite")
    becomes(findings, "", "nothing is to be told of a peer that exists")
    cluster.apply(INGRESS.replace("PEER", "app: ghost").replace("app: server", "app: nobody"))
    becomes(lambda: "spec: selects no endpoint that exists now" in findings(), True)

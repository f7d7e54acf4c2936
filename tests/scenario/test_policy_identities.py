"""Who is who: CiliumEndpoints of pods, the identities of well-known services, labels that are told to count."""

from __future__ import annotations

import pytest

from glasshive.cluster.session import Cluster
from glasshive.model.cluster import PodStatus

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: NAME, version: "VERSION"}}
spec:
  containers: [{name: main, image: glasshive/client}]
"""


def pod(name: str, version: str) -> str:
    return PODS.replace("NAME", name).replace("VERSION", version)


def identity_of(cluster: Cluster, node: str, address: str) -> int:
    rows = {row["addr"]: row["identity"] for row in cluster.maps(node, "ipcache") if row["prefixlen"] == 128}
    return int(rows[address])


def ready(cluster: Cluster) -> dict[str, PodStatus]:
    return {one.name: one for one in cluster.pods()}


def test_endpoints_and_services_have_their_identities_on_every_node() -> None:
    with Cluster("pagent-ids", nodes=2, config={"nodes": 2, "labels": ["k8s:app$"]}) as cluster:
        for name, version in (("one", "1"), ("two", "2")):
            cluster.apply(pod(name, version))
        for name in ("one", "two"):
            cluster.wait("Pod", name)
            seen, *_ = cluster.wait("CiliumEndpoint", name, lambda obj: obj["status"]["state"] == "ready")
            pods = ready(cluster)
            assert set(seen["status"]["networking"]["addressing"][0].values()) == set(pods[name].addresses)
            labels = seen["status"]["identity"]["labels"]
            assert f"k8s:app={name}" in labels
            assert not any("version" in label for label in labels), "only these labels were asked for"
            for node in ("node1", "node2"):
                for address in pods[name].addresses:
                    assert identity_of(cluster, node, address) == seen["status"]["identity"]["id"]
        header, *lines = cluster.kubectl("get", "cep").stdout.splitlines()
        assert header.split()[:3] == ["NAME", "SECURITY", "IDENTITY"]
        assert [line.split()[0] for line in lines] == ["one", "two"]

        objects = {one["metadata"]["name"]: one["security-labels"] for one in cluster.get("CiliumIdentity")}
        for node in ("node1", "node2"):
            assert identity_of(cluster, node, "10.96.0.1") == 7
            dns = {identity_of(cluster, node, address) for address in ("10.96.0.10", "fd00:10:96::a")}
            assert len(dns) == 1
            assert objects[str(dns.pop())]["k8s:io.kubernetes.pod.namespace"] == "kube-system"
        assert cluster.exec("one", ["nslookup", "kubernetes.default"]).returncode == 0

        cluster.kubectl("delete", "pod", "one", "--wait=true")
        cluster.wait("CiliumEndpoint", "one", "deleted")
        assert [one["metadata"]["name"] for one in cluster.get("CiliumEndpoint")] == ["two"]

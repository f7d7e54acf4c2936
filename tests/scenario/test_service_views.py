"""What people see of services in a running cluster: lists, one service, the kernel's tables, and why."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from glasshive.cluster.session import Cluster
from policy_cluster import becomes, pod

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]
NAME = "svcc-views"
PODS = pod("here", image="echo", node="node1") + pod("there", image="echo", node="node2")
SERVICES = """
apiVersion: v1
kind: Service
metadata:
  name: web
  annotations: {service.cilium.io/lb-algorithm: maglev, service.glasshive.io/weights: "there=3"}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  clusterIP: 10.96.7.1
  ipFamilies: [IPv4]
  healthCheckNodePort: 31999
  loadBalancerSourceRanges: [203.0.113.0/24, everybody]
  selector: {kind: echo}
  ports: [{port: 80, targetPort: 8080, nodePort: 30807}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {clusterIP: 10.96.7.2, selector: {app: nothing}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: second}
spec: {clusterIP: 10.96.7.3, externalIPs: [192.0.2.9], selector: {kind: echo}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: third}
spec: {clusterIP: 10.96.7.4, externalIPs: [192.0.2.9], selector: {kind: echo}, ports: [{port: 80, targetPort: 8080}]}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(NAME, nodes=2) as one:
        one.wait_applied(one.apply(PODS), timeout=90)
        for name in ("here", "there"):
            one.kubectl("label", "pod", name, "kind=echo")
        one.apply(SERVICES)
        status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}
        one.kubectl("patch", "service", "web", "--subresource=status", "--type=merge", "-p", json.dumps(status))
        becomes(lambda: len(frontend(one, "192.0.2.7:80/TCP").get("backends", [])), 2)
        becomes(lambda: len(frontend(one, "10.96.7.4:80/TCP").get("backends", [])), 2)
        yield one


def frontend(cluster: Cluster, text: str) -> dict[str, Any]:
    return next((row for row in cluster.services("node1") if row["frontend"] == text), {})


def glasshive(*argv: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "glasshive", "--cluster", NAME, *argv], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_the_list_has_the_columns_that_people_know(cluster: Cluster) -> None:
    lines = glasshive("service", "list").splitlines()
    assert lines[0].split() == ["ID", "Frontend", "Service", "Type", "Backend"]
    one = next(line for line in lines if "10.96.7.1:80/TCP" in line)
    assert one.split()[2] == "ClusterIP"
    assert "1 => 10.244." in one
    assert one.endswith(":8080/TCP (active)")
    assert "its selector matches no pod" in glasshive("service", "list")
    found = json.loads(glasshive("service", "list", "-o", "json"))
    assert {row["type"] for row in found["frontends"] if row["owner"] == "default/web"} == {
        "ClusterIP", "NodePort", "LoadBalancer",
    }  # fmt: skip


def test_what_is_wrong_is_said(cluster: Cluster) -> None:
    remarks = {row["service"]: row["remarks"] for row in cluster.service_remarks()}
    assert remarks["default/nobody"] == ["no endpoints: its selector matches no pod"]
    assert remarks["default/third"] == ["192.0.2.9:80/TCP belongs to default/second, which is older"]
    assert remarks["default/web"] == [
        "spec.loadBalancerSourceRanges: 'everybody' is not a CIDR such as 203.0.113.0/24; it is left out"
    ]
    assert remarks["kube-system/kube-dns"] == ["every node answers itself: nothing to translate"]
    assert "192.0.2.7:80/TCP: source_ranges, external_local, routable, maglev" in glasshive("service", "get", "web")
    assert "there is no service nowhere" in glasshive("service", "get", "nowhere")


def test_why(cluster: Cluster) -> None:
    outside = cluster.service_why("192.0.2.7:80", source="203.0.113.5", node="node1")
    assert [(row["pod"], row["why"]) for row in outside["frontend"]["backends"]] in (
        [("here", ""), ("there", "not on this node")], [("there", "not on this node"), ("here", "")],
    )  # fmt: skip
    assert not outside["refused"]
    refused = cluster.service_why("192.0.2.7:80", source="198.51.100.1", node="node1")
    assert "admits only 203.0.113.0/24" in refused["refused"]
    node = next(one for one in cluster.topology().nodes if one.name == "node1").addresses[0]
    by_node = cluster.service_why(f"{node}:30807/TCP", source="198.51.100.1", node="node1")
    assert by_node["frontend"]["frontend"] == "0.0.0.0:30807/TCP"
    inside = cluster.service_why("192.0.2.7:80", pod="there")
    assert {row["why"] for row in inside["frontend"]["backends"]} == {""}, "externalTrafficPolicy is not for pods"
    assert "cannot be called from outside" in cluster.service_why("10.96.7.1:80")["refused"]
    assert "the call is refused" in cluster.service_why("10.96.7.2:80", pod="here")["refused"]
    assert "there are 10.96.7.1:80/TCP" in glasshive("service", "why", "here", "10.96.7.1:81")
    assert "the node itself answers" in glasshive("service", "why", "here", "10.96.0.10:53/UDP")
    assert "is not ADDRESS:PORT/PROTOCOL" in glasshive("service", "why", "here", "10.96.0.10")


def test_the_kernels_tables(cluster: Cluster) -> None:
    lines = glasshive("bpf", "lb", "list", "node1").splitlines()
    assert lines[0].split("   ")[0] == "SERVICE ADDRESS"
    number = frontend(cluster, "10.96.7.1:80/TCP")["id"]
    assert any(line.endswith(f"0.0.0.0:0 ({number}) (0) [ClusterIP, non-routable]") for line in lines)
    assert sum(line.startswith("10.96.7.1:80/TCP (") for line in lines) == 1 + 4, "weights 1 and 3 make four slots"
    tables = {name: cluster.load_balancer("node1", name) for name in ("backends", "revnat", "source-ranges", "maglev")}
    assert {(row["state"], row["weight"]) for row in tables["backends"]} == {("active", 1), ("active", 3)}
    assert {row["id"]: row["address"] for row in tables["revnat"]}[number] == "10.96.7.1:80/TCP"
    assert "backends" in glasshive("maps", "node1", "backends") or tables["backends"]
    assert len(cluster.maps("node1", "backend_slots")) >= 4


def test_health_check_node_port(cluster: Cluster) -> None:
    answer = cluster.node_exec("node1", ["curl", "-s", "http://localhost:31999/healthz"]).stdout
    assert json.loads(answer) == {
        "service": {"namespace": "default", "name": "web"}, "localEndpoints": 1, "serviceProxyHealthy": True,
    }  # fmt: skip
    code = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://localhost:31999/"]
    assert cluster.node_exec("node1", code).stdout == "200"
    cluster.kubectl("label", "pod", "here", "kind-")
    becomes(lambda: cluster.node_exec("node1", code).stdout, "503")
    cluster.kubectl("label", "pod", "here", "kind=echo")
    becomes(lambda: cluster.node_exec("node1", code).stdout, "200")

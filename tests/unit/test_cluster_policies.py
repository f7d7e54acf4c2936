"""Tables of policy for people, flows by name, and traces from files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from glasshive.cluster import manifests
from glasshive.cluster.policy_flows import Wanted, addresses_of, flow_line, packet_of, port_of
from glasshive.cluster.policy_trace import Scene, applied, kinds, of_files, traced
from glasshive.cluster.rows import Rows
from glasshive.errors import NotFoundError, UsageError

POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: front}}}, {ipBlock: {cidr: 198.51.100.0/24}}]
    ports: [{port: 80}]
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: x}]}}
"""


def test_a_table_shows_itself_as_text_and_html() -> None:
    rows = Rows("things", {"a": "A\nunit", "b": "B"}, [{"a": 1, "b": ["x<", "y"], "c": "hidden"}, {"a": 22}])
    assert repr(rows) == "things: 2\nA      B\nunit\n1      x<\n       y\n22"
    assert "x&lt;<br>y" in rows._repr_html_()
    assert 'scope="col"' in rows._repr_html_()
    assert rows[0]["c"] == "hidden"
    assert repr(Rows("none", {"a": "A"}, [])) == "none: 0\nA"


@pytest.mark.parametrize(
    ("text", "found"),
    [("8080/TCP", ("TCP", 8080)), ("53/udp", ("UDP", 53)), ("80", ("TCP", 80)), ("ICMP", ("ICMP", None))],
)
def test_packets_by_name(text: str, found: tuple[str, int | None]) -> None:
    assert packet_of(text) == found


@pytest.mark.parametrize("text", ["", "x/TCP", "80/XYZ", "70000/TCP", "-1"])
def test_what_is_no_packet_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no port"):
        packet_of(text)


def test_records_are_found_by_what_is_asked() -> None:
    row = {"source": "10.0.0.1", "destination": "10.0.0.2", "protocol": "TCP", "destinationPort": 80, "sourcePort": 5}
    row |= {"icmpType": 0, "verdict": "allow", "audited": False, "policyDirection": "ingress"}
    row |= {"node": "n", "timeNs": 0}
    assert Wanted().fits(row)
    assert Wanted(frozenset({"10.0.0.1"}), frozenset({"10.0.0.2"}), "TCP", 80).fits(row)
    assert not Wanted(port=81).fits(row)
    assert not Wanted(refused=True).fits(row)
    assert port_of(row | {"protocol": "ICMPv6", "icmpType": 128}) == 128
    assert flow_line(row).startswith("10.0.0.1:5 -> 10.0.0.2:80 TCP ingress at n: allow (")


@pytest.mark.parametrize(("name", "hint"), [("webb", "did you mean default/web?"), ("q", "name a pod, an address")])
def test_a_trace_of_nobody_names_those_who_look_alike(name: str, hint: str) -> None:
    with pytest.raises(NotFoundError, match=f"{name} is no pod and no workload here") as caught:
        traced(scene(), "default:app=front", name, "80/TCP")
    assert hint in str(caught.value.hint)


def test_a_trace_names_the_file_of_a_rule(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(POLICY.replace("app: front", "app: new"))
    old = [*manifests.load(POLICY), *manifests.load(DEPLOYMENT)]
    scene = Scene(old, files=of_files([str(tmp_path / "rules.yaml")]))
    told = traced(scene, "default:app=new", "web", "80/TCP").text()
    assert f"because      NetworkPolicy default/web of {tmp_path}/rules.yaml, ingress[0] allows it" in told
    (tmp_path / "rules.yaml").write_text(POLICY.replace("port: 80", "port: 0"))
    wrong = Scene(old, files=of_files([str(tmp_path / "rules.yaml")]))
    with pytest.raises(UsageError, match=r"NetworkPolicy default/web of .*rules.yaml: spec.ingress\[0\].ports\[0\]"):
        wrong.policies()


def _pod(name: str, address: str, owner: str = "", template: str = "", namespace: str = "default") -> dict:
    meta: dict = {"name": name, "namespace": namespace, "labels": {"pod-template-hash": template}}
    meta["ownerReferences"] = [{"kind": "ReplicaSet", "name": owner, "controller": True}] if owner else []
    return {"metadata": meta, "status": {"podIPs": [{"ip": address}]}}


PEOPLE = [
    _pod("web-5d-a", "10.0.0.1", "web-5d", "5d"), _pod("web-5d-b", "10.0.0.2", "web-5d", "5d"),
    _pod("xwing", "10.0.0.3"), _pod("xwing", "10.0.0.4", namespace="shop"), _pod("probe", "10.0.0.5", namespace="shop"),
]  # fmt: skip
NODES = [{"metadata": {"name": "node1"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("", set()), ("10.9.9.9", {"10.9.9.9"}), ("FD00::1", {"fd00::1"}), ("xwing", {"10.0.0.3"}),
        ("shop/xwing", {"10.0.0.4"}), ("web", {"10.0.0.1", "10.0.0.2"}), ("web-5d", {"10.0.0.1", "10.0.0.2"}),
        ("default/web-5d-b", {"10.0.0.2"}), ("node1", {"192.0.2.1"}), ("node/node1", {"192.0.2.1"}),
    ],
)  # fmt: skip
def test_who_is_meant_by_a_name(name: str, found: set[str]) -> None:
    assert addresses_of(name, PEOPLE, NODES) == found


@pytest.mark.parametrize(
    ("name", "hint"),
    [("xwin", "did you mean xwing"), ("probe", "did you mean shop/probe"), ("nope", "name a pod")],
)
def test_a_name_that_nobody_has_is_refused_with_near_ones(name: str, hint: str) -> None:
    with pytest.raises(NotFoundError, match=f"there is no pod, workload or node {name}") as caught:
        addresses_of(name, PEOPLE, NODES)
    assert hint in str(caught.value.hint)


def scene() -> Scene:
    from glasshive.cluster import manifests

    return Scene([*manifests.load(POLICY), *manifests.load(DEPLOYMENT)])


def test_a_trace_names_pods_workloads_labels_and_addresses() -> None:
    assert traced(scene(), "default:app=front", "web", "80/TCP").allowed
    assert not traced(scene(), "default:app=front", "default/web", "81/TCP").allowed
    assert not traced(scene(), "other:app=front", "web", "80/TCP").allowed, "another namespace"
    assert traced(scene(), "198.51.100.7", "web", "80/TCP").allowed
    assert not traced(scene(), "203.0.113.1", "web", "80/TCP").allowed
    with pytest.raises(NotFoundError, match="nope is no pod"):
        traced(scene(), "nope", "web", "80/TCP")


SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIPs: [10.96.0.10, "fd00:10:96::a"]}
---
apiVersion: v1
kind: Service
metadata: {name: kubernetes}
spec: {clusterIP: 10.96.0.1}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {clusterIP: 10.96.0.7}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: out}
spec:
  endpointSelector: {matchLabels: {app: front}}
  egress:
  - toEndpoints: [{matchLabels: {k8s-app: kube-dns, "k8s:io.kubernetes.pod.namespace": kube-system}}]
    toPorts: [{ports: [{port: "53", protocol: UDP}]}]
  - toEntities: [kube-apiserver]
"""


def test_a_trace_knows_the_services_that_have_an_identity() -> None:
    from glasshive.cluster import manifests

    found = Scene(manifests.load(SERVICES))
    for address in ("10.96.0.10", "fd00:10:96::a"):
        asked = traced(found, "default:app=front", address, "53/UDP")
        assert asked.allowed
        assert f"ingress of {address} (kube-system/kube-dns): no policy is enforced there" in asked.text()
        refused = traced(found, "default:app=front", address, "53/TCP")
        assert not refused.allowed
        assert address not in refused.text().split("to allow it")[1].splitlines()[0], "a block never means it"
    assert traced(found, "default:app=front", "10.96.0.1", "6443/TCP").allowed
    assert not traced(found, "default:app=front", "10.96.0.7", "6443/TCP").allowed
    assert "ingress of 10.96.0.7: outside" in traced(found, "default:app=front", "10.96.0.7", "6443/TCP").text()


def test_the_command_traces_files_without_a_cluster(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY + "---" + DEPLOYMENT)
    argv = [sys.executable, "-m", "glasshive", "policy", "trace", "--offline", "-f", str(file)]
    done = subprocess.run([*argv, "default:app=other", "web", "80/TCP"], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Verdict: DENIED" in done.stdout
    assert f"NetworkPolicy default/web of {file}, ingress[0]" in done.stdout
    done = subprocess.run([*argv, "default:app=front", "web", "80/TCP"], capture_output=True, text=True, check=False)
    assert done.returncode == 0


def test_a_trace_in_a_cluster_reads_the_workloads_that_it_can_name() -> None:
    read = {one.kind for one in kinds()}
    assert {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"} <= read


def test_an_object_of_a_file_takes_the_place_of_the_one_in_the_cluster() -> None:
    other = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}}
    old = [*manifests.load(POLICY), *manifests.load(DEPLOYMENT), other]
    new = manifests.load(POLICY.replace("app: front", "app: back").replace(", namespace: default}", "}", 1))
    found = applied(old, new)
    assert [one["kind"] for one in found] == ["NetworkPolicy", "Deployment", "Pod"]
    front, back = "default:app=front", "default:app=back"
    assert traced(Scene(old), front, "web", "80/TCP").allowed
    assert not traced(Scene(found), front, "web", "80/TCP").allowed
    assert traced(Scene(found), back, "web", "80/TCP").allowed


def test_a_stored_policy_that_makes_no_sense_is_left_out_and_one_of_a_file_is_told() -> None:
    wrong = manifests.load(POLICY.replace("port: 80", "port: 80, endPort: 70", 1).replace("name: web", "name: odd", 1))
    with pytest.raises(UsageError, match="odd"):
        traced(
            Scene([*manifests.load(POLICY), *manifests.load(DEPLOYMENT), *wrong]), "default:app=front", "web", "80/TCP"
        )
    for one in wrong:
        one["metadata"]["uid"] = "stored"
    stored = Scene([*manifests.load(POLICY), *manifests.load(DEPLOYMENT), *wrong])
    assert traced(stored, "default:app=front", "web", "80/TCP").allowed
    assert not traced(stored, "default:app=front", "web", "81/TCP").allowed

"""``Cluster`` against the real API server without nodes, so without root."""

import pytest

from glasshive.cluster import Cluster
from glasshive.cluster.fake import FakeBackend
from glasshive.errors import (
    ApiError,
    ClusterError,
    DeadlineError,
    GlasshiveError,
    ManifestError,
    NotFoundError,
    UsageError,
)
from glasshive.model.cluster import Completed

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: nginx}]}
"""
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "lonely"},
    "spec": {"nodeName": "node1", "containers": [{"name": "main", "image": "nginx"}]},
}
ANSWERS = {
    ("GET", "/v1/maps"): [{"name": "ipcache", "id": 1}],
    ("GET", "/v1/maps/ipcache"): {"rows": [{"addr": "10.244.0.1"}]},
    ("GET", "/v1/drops"): [],
    ("POST", "/v1/exec"): {"returncode": 3, "stdout": "out", "stderr": "err"},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    backend = FakeBackend(
        tmp_path_factory.mktemp("fake"),
        answers=ANSWERS,
        commands={"/bin/sh": Completed(0, "sh"), "ip": Completed(0, "ip")},
    )
    with Cluster("fake", backend=backend) as one:
        yield one


def test_apply_get_wait_delete(cluster):
    applied = cluster.apply(DEPLOYMENT)
    assert applied[0]["metadata"]["namespace"] == "default"
    cluster.wait("replicaset", condition="exists", timeout=10)
    pods = cluster.wait("po", condition="exists", selector="app=web", count=2, timeout=10)
    assert {pod["metadata"]["labels"]["app"] for pod in pods} == {"web"}
    assert [p.state for p in cluster.pods(selector="app=web")] == ["Pending", "Pending"]
    assert cluster.get("deploy", "web")["spec"]["replicas"] == 2
    with pytest.raises(DeadlineError, match=r"after 0\.2 s deployment web"):
        cluster.wait_applied(applied, timeout=0.2)
    cluster.delete(DEPLOYMENT)
    cluster.wait("pod", condition="deleted", selector="app=web", timeout=10)
    cluster.delete("deploy", "web")  # gone already: fine


def test_refusals(cluster):
    with pytest.raises(NotFoundError, match="knows no kind 'nonsense'"):
        cluster.get("nonsense")
    with pytest.raises(NotFoundError, match="knows no kind 'example/v1 Foo'"):
        cluster.apply({"apiVersion": "example/v1", "kind": "Foo", "metadata": {"name": "x"}})
    with pytest.raises(ManifestError):
        cluster.apply("a: [")
    with pytest.raises(ApiError) as error:
        cluster.get("pod", "none")
    assert error.value.code == 404
    with pytest.raises(ApiError, match=r"spec\.containers"):
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {}})
    with pytest.raises(UsageError, match="backend: 'vms' is not allowed; allowed: embedded"):
        Cluster(backend="vms")


def test_custom_resources_are_found(cluster):
    assert cluster.api.resource("ciliumnode").plural == "ciliumnodes"
    assert cluster.api.resource("ciliumidentities.cilium.io").kind == "CiliumIdentity"


def test_exec_goes_to_the_pods_node(cluster):
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"}})  # pods of no node are collected
    cluster.apply(POD)
    done = cluster.exec("lonely", "echo $HOME", stdin="in", timeout=5)
    assert (done.returncode, str(done), done.stderr) == (3, "out", "err")
    node, method, path, body = cluster.backend.asked[-1]
    assert (node, method, path) == ("node1", "POST", "/v1/exec")
    assert body["argv"] == ["/bin/sh", "-c", "echo $HOME"]
    assert (body["pod"], body["container"], body["stdin"]) == ("lonely", "main", "in")
    with pytest.raises(ApiError):
        cluster.exec("none", ["true"])


def test_nodes_and_maps(cluster):
    assert cluster.maps("node1") == [{"name": "ipcache", "id": 1}]
    assert cluster.maps("node1", "ipcache") == [{"addr": "10.244.0.1"}]
    assert cluster.drops("node1") == []
    assert cluster.node_exec("node1", "ip a").stdout == "sh"
    assert cluster.node_exec("node1", ["ip"]).stdout == "ip"
    with pytest.raises(NotFoundError, match="there is no command tc"):
        cluster.node_exec("node1", ["tc"])


def test_status_topology_and_repr(cluster):
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"}}
    cluster.apply(node)
    status = cluster.status()
    assert [n.name for n in status.nodes] == ["node1"]
    assert cluster.topology().world == ("203.0.113.10", "2001:db8:ffff::10")
    assert repr(cluster) == "<Cluster fake: 3 nodes, native routing>"


def test_kubectl_failure_is_an_error(cluster):
    with pytest.raises(GlasshiveError, match="kubectl get pods:"):
        cluster.kubectl("get", "pods", timeout=20)


def test_exec_in_pods_that_do_not_run_says_why(cluster, monkeypatch):
    def silent(*_, **__):
        raise ClusterError("the pod has not been started, or is gone")

    monkeypatch.setattr(cluster.backend, "node_request", silent)
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"}})
    cluster.apply(POD)
    with pytest.raises(ClusterError, match=r"pod lonely is not running: .*\(the pod has not been started"):
        cluster.exec("lonely", ["true"])
    path = "/api/v1/namespaces/default/pods/lonely/status"
    ended = {"status": {"phase": "Succeeded"}}
    cluster.api.request("PATCH", path, body=ended, content_type="application/merge-patch+json")
    with pytest.raises(ClusterError, match=r"pod lonely has ended: Succeeded \(its logs"):
        cluster.exec("lonely", ["true"])


def test_fields_that_a_kind_does_not_have_are_refused(cluster):
    with pytest.raises(ApiError, match=r'unknown field "spec\.containerz"'):
        cluster.apply({**POD, "spec": {**POD["spec"], "containerz": []}})

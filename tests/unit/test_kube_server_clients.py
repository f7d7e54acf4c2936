"""The real clients: current kubectl, and the official Python client with its watches."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import kubectl_server

pytestmark = pytest.mark.skipif(not kubectl_server.PROGRAM.exists(), reason="kubectl is not installed beside Python")

MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: demo}
data: {a: "1"}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http, name: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: demo}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: echo:1
        env: [{name: A, value: b}]
        ports: [{containerPort: 80, name: http}]
---
apiVersion: v1
kind: Pod
metadata: {name: lone, namespace: demo, labels: {app: lone}}
spec:
  containers: [{name: c, image: client}]
---
apiVersion: v1
kind: Node
metadata: {name: node1}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a running server's kubeconfig."""
    with kubectl_server.serving(tmp_path_factory.mktemp("clients")) as found:
        yield found.folder


def kubectl(folder: Path, *argv: str, given: str = "", code: int = 0) -> str:
    """Run kubectl; its output, or its complaint if ``code`` is not 0."""
    return kubectl_server.Kubectl(folder)(*argv, given=given, code=code)


@pytest.fixture(scope="module")
def applied(cluster: Path) -> Path:
    """The demo objects, applied."""
    told = kubectl(cluster, "apply", "-f", "-", given=MANIFEST)
    assert told.count("created") == 6, told
    return cluster


def test_apply_again_changes_nothing_and_edits_change_one_thing(applied: Path) -> None:
    assert kubectl(applied, "apply", "-f", "-", given=MANIFEST).count("unchanged") == 6
    told = kubectl(applied, "apply", "-f", "-", given=MANIFEST.replace("name: A, value: b", "name: B, value: c"))
    assert "deployment.apps/web configured" in told
    shown = kubectl(
        applied, "-n", "demo", "get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].env}"
    )
    assert shown == '[{"name":"B","value":"c"}]'


def test_server_side_apply(applied: Path) -> None:
    body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa, namespace: demo}\ndata: {a: '1'}\n"
    assert "serverside-applied" in kubectl(applied, "apply", "--server-side", "-f", "-", given=body)
    other = body.replace("'1'", "'2'")
    said = kubectl(applied, "apply", "--server-side", "--field-manager=other", "-f", "-", given=other, code=1)
    assert 'conflict with "kubectl" using v1: .data.a' in said
    kubectl(applied, "apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", given=other)


def test_unknown_field_is_named(applied: Path) -> None:
    body = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: b, comand: []}]}\n"
    said = kubectl(applied, "apply", "-f", "-", given=body, code=1)
    assert 'unknown field "spec.containers[0].comand"' in said


def test_unknown_kind_is_named(applied: Path) -> None:
    body = "apiVersion: v1\nkind: Podd\nmetadata: {name: x}\n"
    assert 'no matches for kind "Podd" in version "v1"' in kubectl(applied, "apply", "-f", "-", given=body, code=1)


@pytest.mark.parametrize(("argv", "words"), [
    (["get", "ns"], ["NAME", "STATUS", "AGE", "demo", "Active"]),
    (["get", "nodes", "-o", "wide"], ["ROLES", "KERNEL-VERSION", "node1"]),
    (["-n", "demo", "get", "pods", "-o", "wide"], ["READY", "RESTARTS", "NOMINATED NODE", "lone", "Pending"]),
    (["-n", "demo", "get", "svc"], ["CLUSTER-IP", "PORT(S)", "80/TCP"]),
    (["-n", "demo", "get", "deploy", "web"], ["UP-TO-DATE", "0/2"]),
    (["-n", "demo", "get", "cm"], ["DATA", "settings"]),
    (["get", "pods", "-A", "-l", "app=lone", "--field-selector", "status.phase=Pending"], ["demo", "lone"]),
    (["-n", "demo", "get", "all"], ["pod/lone", "service/web", "deployment.apps/web"]),
    (["describe", "ns", "demo"], ["Status:", "Active"]),
    (["describe", "node", "node1"], ["Non-terminated Pods"]),
    (["-n", "demo", "describe", "pod", "lone"], ["QoS Class:", "BestEffort"]),
    (["-n", "demo", "describe", "svc", "web"], ["TargetPort:", "http/TCP"]),
    (["-n", "demo", "describe", "cm", "settings"], ["Data"]),
    (["-n", "demo", "describe", "deploy", "web"], ["StrategyType:", "RollingUpdate"]),
    (["explain", "deployment.spec.strategy"], ["rollingUpdate", "<RollingUpdateDeployment>", "step by step"]),
    (["explain", "pod.spec.containers"], ["readinessProbe", "Image to run", "One process tree of a pod"]),
    (["api-resources"], ["deployments", "leases"]),
    (["api-versions"], ["apps/v1", "networking.k8s.io/v1"]),
    (["version"], ["Server Version: v1."]),
])  # fmt: skip
def test_reading_commands(applied: Path, argv: list[str], words: list[str]) -> None:
    told = kubectl(applied, *argv)
    for word in words:
        assert word in told


def test_changing_commands(applied: Path) -> None:
    def at(*argv: str, **more: int) -> str:
        return kubectl(applied, "-n", "demo", *argv, **more)

    assert "scaled" in at("scale", "deploy", "web", "--replicas=5")
    assert "image updated" in at("set", "image", "deploy/web", "web=echo:2")
    assert "restarted" in at("rollout", "restart", "deploy", "web")
    assert "labeled" in at("label", "pod", "lone", "x=y")
    assert "annotated" in at("annotate", "pod", "lone", "x=y")
    assert "patched" in at(
        "patch", "deploy", "web", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"two","image":"i"}]}}}}'
    )
    assert (
        at("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[*].name} {.spec.replicas}")
        == "web two 5"
    )
    assert "exposed" in at("expose", "deploy", "web", "--name=again", "--port=81")
    assert "created" in at("run", "quick", "--image=echo")
    assert "deleted" in at("delete", "pod", "quick")
    assert 'pods "quick" not found' in at("delete", "pod", "quick", code=1)
    at("wait", "--for=jsonpath={.status.phase}=Pending", "pod/lone", "--timeout=60s")


@pytest.mark.parametrize(
    "argv",
    [
        ["cm", "made", "--from-literal=a=b"],
        ["secret", "generic", "made", "--from-literal=a=b"],
        ["deploy", "made", "--image=echo", "--replicas=0", "--port=80"],
        ["job", "made", "--image=echo"],
        ["cronjob", "made", "--image=echo", "--schedule=* * * * *"],
        ["svc", "clusterip", "made", "--tcp=80:8080"],
        ["ingress", "made", "--rule=a.b/=web:80"],
        ["role", "made", "--verb=get", "--resource=pods"],
        ["rolebinding", "made", "--role=made", "--user=u"],
        ["sa", "made"],
        ["quota", "made", "--hard=pods=3"],
        ["pdb", "made", "--selector=a=b", "--min-available=1"],
    ],
    ids=lambda argv: argv[0],
)
def test_create_sends_protobuf(applied: Path, argv: list[str]) -> None:
    assert "created" in kubectl(applied, "-n", "demo", "create", *argv)


def test_questions_about_access(applied: Path) -> None:
    assert "glasshive-admin" in kubectl(applied, "auth", "whoami")
    assert kubectl(applied, "auth", "can-i", "delete", "pods").strip() == "yes"


def test_official_python_client_and_its_watch(applied: Path) -> None:
    import kubernetes as k8s

    k8s.config.load_kube_config(str(applied / "kubeconfig"))
    core, apps = k8s.client.CoreV1Api(), k8s.client.AppsV1Api()
    assert "demo" in {ns.metadata.name for ns in core.list_namespace().items}
    assert core.read_namespaced_pod("lone", "demo").spec.containers[0].image == "client"
    assert apps.read_namespaced_deployment("web", "demo").spec.selector.match_labels == {"app": "web"}
    seen: list[tuple[str, str]] = []
    ready = threading.Event()

    def follow() -> None:
        start = core.list_namespaced_config_map("demo").metadata.resource_version
        ready.set()
        stream = k8s.watch.Watch().stream(
            core.list_namespaced_config_map, "demo", resource_version=start, timeout_seconds=10
        )
        for event in stream:
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                return

    follower = threading.Thread(target=follow)
    follower.start()
    assert ready.wait(10)
    body = k8s.client.V1ConfigMap(metadata=k8s.client.V1ObjectMeta(name="py"), data={"a": "b"})
    core.create_namespaced_config_map("demo", body)
    core.patch_namespaced_config_map("py", "demo", {"data": {"a": "c"}})
    core.delete_namespaced_config_map("py", "demo")
    follower.join(15)
    assert seen == [("ADDED", "py"), ("MODIFIED", "py"), ("DELETED", "py")]
    with pytest.raises(k8s.client.ApiException) as caught:
        core.read_namespaced_pod("none", "demo")
    assert caught.value.status == 404
    service = k8s.client.V1Service(metadata=k8s.client.V1ObjectMeta(name="py"),
                                   spec=k8s.client.V1ServiceSpec(ports=[k8s.client.V1ServicePort(port=1)]))  # fmt: skip
    assert core.create_namespaced_service("demo", service).spec.cluster_ip.startswith("10.96.")
    core.delete_namespaced_service("py", "demo")
    core.delete_namespaced_pod("lone", "demo")


def test_delete_what_was_applied(applied: Path) -> None:
    kubectl(applied, "-n", "demo", "delete", "deploy,svc,cm", "--all")
    kubectl(applied, "delete", "node", "node1")
    kubectl(applied, "delete", "ns", "demo", "--wait=false")
    assert kubectl(applied, "get", "ns", "demo", "-o", "jsonpath={.status.phase}") == "Terminating"

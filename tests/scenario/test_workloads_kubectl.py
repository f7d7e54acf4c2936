"""Workloads on a real embedded cluster, by kubectl: names in DNS that last, rollouts and their undoing, CronJobs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

import glasshive
import residue

pytestmark = pytest.mark.root

MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 9000}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: glasshive/echo}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: d}
spec:
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: glasshive/echo}]
---
apiVersion: v1
kind: Service
metadata: {name: out}
spec: {type: LoadBalancer, selector: {app: d}, ports: [{port: 80, targetPort: 8080}]}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[glasshive.Cluster]:
    name = residue.own(f"j-{os.getpid()}-kubectl")
    with glasshive.Cluster(name, nodes=2) as one:
        one.wait_applied(one.apply(MANIFEST), timeout=120)
        yield one


def until(check: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def said(cluster: glasshive.Cluster, *argv: str) -> str:
    return cluster.kubectl(*argv, timeout=60).stdout


def test_stateful_pods_have_names_in_dns_that_last(cluster: glasshive.Cluster) -> None:
    pods = {pod.name: pod for pod in cluster.pods(selector="app=db")}
    assert set(pods) == {"db-0", "db-1"}
    assert cluster.exec("db-0", ["hostname"]).stdout.strip() == "db-0"

    def resolves(name: str) -> bool:
        pod = next((p for p in cluster.pods(selector="app=db") if p.name == name), None)
        answer = cluster.exec("db-0", ["dig", "+short", f"{name}.db.default.svc.cluster.local"]).stdout.split()
        return pod is not None and pod.ready and answer == [pod.addresses[0]]

    until(lambda: resolves("db-1"))
    cluster.delete("pod", "db-1")
    until(lambda: resolves("db-1"))


def test_rollouts_and_their_undoing(cluster: glasshive.Cluster) -> None:
    for kind, name in (("daemonset", "d"), ("statefulset", "db")):
        said(cluster, "set", "image", f"{kind}/{name}", "c=nginx")
        said(cluster, "rollout", "status", f"{kind}/{name}", "--timeout=40s")
        assert len(said(cluster, "rollout", "history", f"{kind}/{name}").strip().splitlines()) == 4
        assert "rolled back" in said(cluster, "rollout", "undo", f"{kind}/{name}")
        said(cluster, "rollout", "status", f"{kind}/{name}", "--timeout=40s")
        image = said(cluster, "get", kind, name, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
        assert image == "glasshive/echo"


def test_scaling_a_stateful_set_by_kubectl(cluster: glasshive.Cluster) -> None:
    said(cluster, "scale", "statefulset/db", "--replicas=3")
    said(cluster, "rollout", "status", "statefulset/db", "--timeout=40s")
    assert {p.name for p in cluster.pods(selector="app=db")} == {"db-0", "db-1", "db-2"}
    said(cluster, "scale", "statefulset/db", "--replicas=1")
    until(lambda: {p.name for p in cluster.pods(selector="app=db")} == {"db-0"})


def test_jobs_by_the_clock(cluster: glasshive.Cluster) -> None:
    refused = cluster.kubectl("create", "cronjob", "bad", "--image=busybox", "--schedule=61 * * * *", check=False)
    assert refused.returncode == 1
    assert "expected 0 to 59" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    said(cluster, "create", "cronjob", "tick", "--image=busybox", "--schedule=@every 1s", "--", "date")
    until(lambda: said(cluster, "get", "cronjob", "tick", "-o", "jsonpath={.status.lastSuccessfulTime}"))
    until(lambda: len(cluster.get("job")) >= 3)
    said(cluster, "delete", "cronjob", "tick")
    until(lambda: not cluster.get("job") and not cluster.pods(selector="job-name"))


def test_a_load_balancer_waits_and_says_for_what(cluster: glasshive.Cluster) -> None:
    until(lambda: "CiliumLoadBalancerIPPool" in said(cluster, "describe", "service", "out"))
    assert "<pending>" in said(cluster, "get", "service", "out")
    number = int(said(cluster, "get", "service", "out", "-o", "jsonpath={.spec.ports[0].nodePort}"))
    assert 30000 <= number <= 32767
    endpoints = said(cluster, "get", "endpoints", "out", "-o", "jsonpath={.subsets[0].addresses[*].ip}").split()
    assert set(endpoints) == {p.addresses[0] for p in cluster.pods(selector="app=d") if p.ready}


def test_no_execute_taints_clear_a_node(cluster: glasshive.Cluster) -> None:
    said(cluster, "taint", "node", "node2", "key=value:NoExecute")
    until(lambda: {p.node for p in cluster.pods()} == {"node1"})
    said(cluster, "taint", "node", "node2", "key-")
    until(lambda: any(p.node == "node2" and p.ready for p in cluster.pods(selector="app=d")))

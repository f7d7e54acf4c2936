"""Components stopped on purpose: they stay stopped, the rest goes on, and everything comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import glasshive
import residue
from glasshive.cluster.embedded import control_socket
from glasshive.errors import ApiError, ClusterError, NotFoundError

pytestmark = pytest.mark.root

NAME = f"l-stop{os.getpid()}"


def pod(name, image, node):
    spec = {"nodeName": node, "containers": [{"name": "main", "image": image}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


@pytest.fixture(scope="module")
def cluster():
    residue.own(NAME)
    with glasshive.Cluster(NAME, nodes=2) as one:
        headless = {"clusterIP": "None", "selector": {"app": "echo"}, "ports": [{"port": 8080}]}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo"}, "spec": headless}
        one.apply([pod("echo", "glasshive/echo", "node2"), pod("client", "glasshive/client", "node1"), service])
        one.wait("pod", condition="Ready", count=2, timeout=90)
        yield one


def process(cluster, name):
    return next(p for p in cluster.backend.status().processes if p.name == name)


def ask(cluster, host):
    """Ask the echo server from the client's node, without the control plane; the HTTP status or curl's error."""
    argv = ["curl", "-s", "-m", "3", "-o", "/dev/null", "-w", "%{http_code} %{exitcode}", f"http://{host}:8080/"]
    body = {"namespace": "default", "pod": "client", "argv": argv, "timeout": 5}
    return cluster.backend.node_request("node1", "POST", "/v1/exec", body)["stdout"]


def until(holds, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_control_plane_stopped_pods_talk_and_names_are_known(cluster):
    address = next(p for p in cluster.pods() if p.name == "echo").addresses[0]
    until(lambda: ask(cluster, "echo") == "200 0")
    cluster.stop("control-plane")
    stopped = process(cluster, "control-plane")
    assert (stopped.condition, stopped.restarts, stopped.last_exit) == ("stopped", 0, "status 0")
    assert ask(cluster, address) == ask(cluster, "echo") == "200 0"
    with pytest.raises(ApiError, match="does not answer"):
        cluster.pods()
    assert "does not answer" in cluster.status().problem
    time.sleep(0.3)  # longer than a restart takes
    assert process(cluster, "control-plane").condition == "stopped"
    cluster.stop("control-plane")  # what is stopped stays stopped
    cluster.start("control-plane")
    assert {p.name for p in cluster.pods()} == {"client", "echo"}
    assert process(cluster, "control-plane").restarts == 0
    cluster.start("control-plane")  # what runs stays as it is


def test_agent_killed_on_purpose_then_its_new_pod_starts(cluster):
    address = next(p for p in cluster.pods() if p.name == "echo").addresses[0]
    cluster.stop("node2", kill=True)
    assert process(cluster, "node2").last_exit == "signal 9"
    assert ask(cluster, address) == "200 0"
    cluster.apply(pod("late", "glasshive/pause", "node2"))
    time.sleep(0.5)
    assert not next(p for p in cluster.pods() if p.name == "late").ready
    cluster.start("node2")
    cluster.wait("pod", "late", timeout=90)
    cluster.delete("pod", "late")
    cluster.wait("pod", "late", "deleted", timeout=90)


def test_resolver_stopped_addresses_still_work(cluster):
    address = next(p for p in cluster.pods() if p.name == "echo").addresses[0]
    cluster.stop("node1-dns")
    assert ask(cluster, address) == "200 0"
    assert ask(cluster, "echo") == "000 6"  # curl's 6: could not resolve host
    cluster.start("node1-dns")
    assert ask(cluster, "echo") == "200 0"


def test_what_dies_by_itself_is_still_restarted(cluster):
    before = process(cluster, "node1-dns")
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: (now := process(cluster, "node1-dns")).ready and now.pid != before.pid)
    assert process(cluster, "node1-dns").restarts == before.restarts + 1


def test_a_process_that_does_not_end_is_killed(cluster):
    pid = process(cluster, "world-dns").pid
    os.kill(pid, signal.SIGSTOP)
    cluster.stop("world-dns")
    assert process(cluster, "world-dns").last_exit == "signal 9"
    cluster.start("world-dns")


def test_refusals(cluster):
    with pytest.raises(NotFoundError, match=r"no process node9 .*there are: control-plane, node1"):
        cluster.stop("node9")
    with pytest.raises(ClusterError, match="no process is called supervisor"):
        cluster.stop("supervisor")
    assert control_socket.ask(cluster.backend.paths.supervisor_socket, "stop-process") == {
        "ok": False,
        "error": "no process is called None",
    }


def test_from_the_command_line_and_taken_over_by_up(cluster):
    """A new supervisor starts what its predecessor had stopped: ``up`` means all of it."""
    argv = [sys.executable, "-m", "glasshive", "stop", "--cluster", NAME, "-o", "json", "node1-dns", "control-plane"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"node1-dns": "stopped", "control-plane": "stopped"}
    restarts = process(cluster, "node1-dns").restarts
    os.kill(cluster.backend.status().supervisor_pid, signal.SIGKILL)
    until(lambda: cluster.backend.status().phase == "unsupervised")
    with pytest.raises(ClusterError, match=r"supervisor .* does not answer"):
        cluster.start("node1-dns")
    cluster.up()
    assert all(p.condition == "ready" for p in cluster.backend.status().processes)
    assert process(cluster, "node1-dns").restarts == restarts
    until(lambda: ask(cluster, "echo") == "200 0")


def test_down_with_stopped_components_leaves_nothing():
    name = residue.own(f"l-down{os.getpid()}")
    before = residue.snapshot()
    one = glasshive.Cluster(name, nodes=1).up()
    one.stop("node1", kill=True)
    one.stop("control-plane")
    assert one.down()
    assert residue.diff(before, residue.snapshot()) == []

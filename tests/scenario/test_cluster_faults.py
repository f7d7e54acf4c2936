"""Pods talk on while agents, control plane and supervisor are killed; wrong input is refused in one line."""

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
from glasshive.errors import ApiError, DeadlineError, ManifestError

pytestmark = pytest.mark.root

CONNECTIONS = 200
LOAD_SECONDS = 6


def pod(name, image, node, *args, **spec):
    container = {"name": "main", "image": image, "args": list(args)} if args else {"name": "main", "image": image}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"nodeSelector": {"kubernetes.io/hostname": node}, "containers": [container], **spec},
    }


@pytest.fixture(scope="module", params=["native", "tunnel"])
def cluster(request):
    name = residue.own(f"tf{os.getpid()}-{request.param}")
    with glasshive.Cluster(name, nodes=2, routing=request.param) as one:
        one.apply([pod("echo", "glasshive/echo", "node2"), pod("client", "glasshive/client", "node1")])
        one.wait("pod", condition="Ready", count=2, timeout=90)
        yield one


def address(cluster, name, family=0):
    return next(p for p in cluster.pods() if p.name == name).addresses[family]


def process(cluster, name):
    """The process by name, without asking the API, which may be away."""
    return next(p for p in cluster.backend.status().processes if p.name == name)


def kill_process(cluster, name):
    """Kill one of the cluster's processes and wait until its successor is ready."""
    before = process(cluster, name)
    assert before.pid
    os.kill(before.pid, signal.SIGKILL)

    def successor():  # one look: in two, the old one's readiness and the new one's pid could be seen together
        now = process(cluster, name)
        return now.ready and now.pid != before.pid

    until(successor)
    after = process(cluster, name)
    assert after.restarts == before.restarts + 1
    assert after.last_exit == "signal 9"
    return after


def drops(cluster):
    """Packets dropped so far, but for multicast, which pods send on their own when they start (IPv6 group reports)."""
    rows = [(node, row) for node in ("node1", "node2") for row in cluster.drops(node)]
    return {(n, row["reason"], row["direction"]): row["packets"] for n, row in rows if row["reason"] != "multicast"}


def but_late_answers(counts):
    """Without what was meant for nobody: when a load's pod has ended, answers to its last words are on their way."""
    return {key: packets for key, packets in counts.items() if key[1] != "no-endpoint"}


def until(holds, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def start_load(cluster, name):
    target = f"tcp://{address(cluster, 'echo')}:9000"
    arguments = (target, f"--connections={CONNECTIONS}", f"--duration={LOAD_SECONDS}", "--rate=2000")
    cluster.apply(pod(name, "glasshive/load", "node1", *arguments, restartPolicy="Never"))
    cluster.wait("pod", name, "phase=Running", timeout=90)
    until(lambda: '"connects": 200' in cluster.logs(name) or '"seconds"' in cluster.logs(name))


def finish_load(cluster, name):
    cluster.wait("pod", name, lambda obj: obj["status"]["phase"] in {"Succeeded", "Failed"}, timeout=LOAD_SECONDS + 90)
    final = json.loads(cluster.logs(name).splitlines()[-1])
    cluster.delete("pod", name)
    assert final["final"]
    return final


def test_pods_of_two_nodes_talk_in_both_families(cluster):
    for family in (0, 1):
        target = address(cluster, "echo", family)
        done = cluster.exec("client", ["ping", "-c", "2", "-i", "0.2", "-W", "2", target])
        assert "2 received" in done.stdout, done
        host = f"[{target}]" if ":" in target else target
        answer = json.loads(cluster.exec("client", ["curl", "-s", "-m", "5", f"http://{host}:8080/"]).stdout)
        assert answer["pod"] == "echo"
        assert answer["source"].removeprefix("::ffff:") == address(cluster, "client", family)


def test_world_sees_the_node_and_answers(cluster):
    node = next(n for n in cluster.topology().nodes if n.name == "node1")
    for url, own in (("http://203.0.113.10/", node.addresses[0]), ("http://[2001:db8:ffff::10]/", node.addresses[1])):
        answer = json.loads(cluster.exec("client", ["curl", "-s", "-m", "5", url]).stdout)
        assert answer["source"].removeprefix("::ffff:") == own


@pytest.mark.slow
def test_killed_agents_lose_no_connection(cluster):
    start_load(cluster, "load-agents")
    before = drops(cluster)
    for node in ("node1", "node2"):
        kill_process(cluster, node)
    if '"final"' not in cluster.logs("load-agents"):
        assert drops(cluster) == before
    final = finish_load(cluster, "load-agents")
    assert (final["errors"], final["connects"]) == (0, CONNECTIONS), final
    assert but_late_answers(drops(cluster)) == but_late_answers(before)
    assert any("agent node2 ended with signal 9" in event for event in cluster.status().events)


@pytest.mark.slow
def test_killed_control_plane_disturbs_no_traffic_and_comes_back(cluster):
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"a": "b"}})
    start_load(cluster, "load-control")
    before = drops(cluster)
    kill_process(cluster, "control-plane")
    if '"final"' not in cluster.logs("load-control"):
        assert drops(cluster) == before
    final = finish_load(cluster, "load-control")
    assert (final["errors"], final["connects"]) == (0, CONNECTIONS), final
    assert but_late_answers(drops(cluster)) == but_late_answers(before)
    assert cluster.get("configmap", "kept")["data"] == {"a": "b"}
    assert cluster.kubectl("get", "nodes").stdout.count(" Ready ") == 2
    cluster.apply(pod("later", "glasshive/client", "node2"))
    cluster.wait("pod", "later", timeout=90)
    cluster.delete("pod", "later")
    cluster.wait("pod", "later", "deleted", timeout=90)


@pytest.mark.slow
def test_everything_killed_at_once_then_taken_over(cluster):
    """Agents, control plane and supervisor die; pods do not; the next ``up`` has it all."""
    start_load(cluster, "load-all")
    victims = [process(cluster, name).pid for name in ("control-plane", "node1", "node2")]
    for pid in (cluster.backend.status().supervisor_pid, *victims):
        assert pid
        os.kill(pid, signal.SIGKILL)
    until(lambda: cluster.backend.status().phase == "unsupervised")
    cluster.up()
    final = finish_load(cluster, "load-all")
    assert (final["errors"], final["connects"]) == (0, CONNECTIONS), final
    assert {p.name for p in cluster.pods()} >= {"echo", "client"}
    test_pods_of_two_nodes_talk_in_both_families(cluster)


def test_new_pods_after_restarted_agents(cluster):
    """Addresses handed out before an agent's death stay taken, and deleted pods give theirs back."""
    kill_process(cluster, "node2")
    cluster.apply(pod("fresh", "glasshive/echo", "node2"))
    cluster.wait("pod", "fresh", timeout=90)
    assert address(cluster, "fresh") != address(cluster, "echo")
    done = cluster.exec("client", ["curl", "-s", "-m", "5", f"http://{address(cluster, 'fresh')}:8080/hostname"])
    assert done.stdout == "fresh\n"
    cluster.delete("pod", "fresh")
    cluster.wait("pod", "fresh", "deleted", timeout=90)


def test_unknown_image_is_explained(cluster):
    cluster.apply(pod("wrong", "nosuch/image:1", "node1"))
    with pytest.raises(DeadlineError) as error:
        cluster.wait("pod", "wrong", timeout=6)
    assert "nosuch/image:1" in str(error.value)
    assert "\n" not in str(error.value)
    status = next(p for p in cluster.pods() if p.name == "wrong")
    assert status.state in {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
    cluster.delete("pod", "wrong")
    cluster.wait("pod", "wrong", "deleted", timeout=90)


def test_invalid_manifests_are_refused(cluster):
    with pytest.raises(ApiError, match=r"(?s)Pod .*bad.*spec.containers") as error:
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"}, "spec": {}})
    assert error.value.reason == "Invalid"
    with pytest.raises(ManifestError, match=r"metadata\.name: missing"):
        cluster.apply("apiVersion: v1\nkind: Pod\n")
    with pytest.raises(glasshive.GlasshiveError, match=r"knows no kind"):
        cluster.apply({"apiVersion": "v1", "kind": "Nonsense", "metadata": {"name": "x"}})


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        (pod("bad", "nosuch/image", "node1"), "nosuch/image"),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"}, "spec": {}}, "spec.containers"),
    ],
)
def test_up_with_a_manifest_that_cannot_work_leaves_nothing(tmp_path, manifest, text):
    name = residue.own(f"tb{os.getpid()}")
    before = residue.snapshot()
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(manifest))
    argv = [sys.executable, "-m", "glasshive", "up", name, "--nodes", "1", "--apply", str(file), "--timeout", "20"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 1
    assert text in done.stderr
    assert done.stderr.startswith("glasshive: error: ")
    assert done.stderr.count("\n") == 1
    assert residue.diff(before, residue.snapshot()) == []


def test_exhausted_pool_is_a_clear_pod_event():
    """A /29 has room for five pods (network, router and broadcast are not given out); the sixth is told why."""
    name = residue.own(f"tx{os.getpid()}")
    config = {"name": name, "nodes": 1, "ip_families": ("ipv4",), "pod_cidrs": ("10.9.0.0/29",),
              "node_prefix_lengths": {"ipv4": 29}}  # fmt: skip
    with glasshive.Cluster(config=config) as cluster:
        cluster.apply([pod(f"p{n}", "glasshive/pause", "node1") for n in range(7)])
        until(lambda: sum(p.ready for p in cluster.pods()) >= 5)
        until(lambda: any("FailedCreatePodSandBox" in e.get("reason", "") for e in cluster.get("events")))
        starved = next(p.name for p in cluster.pods() if not p.ready)
        events = [e for e in cluster.get("events") if e["involvedObject"]["name"] == starved]
        text = " ".join(e["message"] for e in events)
        assert "10.9.0.0/29" in text
        freed = next(p.name for p in cluster.pods() if p.ready)
        cluster.delete("pod", freed)
        cluster.wait("pod", starved, timeout=120)

"""Up and down, busy names, crashes at any moment: whatever happens, ``down`` leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import residue
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.inventory import process_alive

pytestmark = pytest.mark.root

GLASSHIVE = [sys.executable, "-m", "glasshive"]


def glasshive(*argv, check=True, **options):
    done = subprocess.run([*GLASSHIVE, *argv], capture_output=True, text=True, timeout=120, check=False, **options)
    if check and done.returncode:
        pytest.fail(f"glasshive {' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


@pytest.fixture
def name(request):
    """A cluster name of this session's; whatever it stands for is gone at the end."""
    made = residue.own(f"t{os.getpid()}-{request.node.name[5:16].strip('_[').replace('_', '-').rstrip('-')}".lower())
    yield made
    glasshive("down", made, check=False)


def remains(before):
    return residue.diff(before, residue.snapshot())


def supervisor_pid(name):
    state = json.loads(ClusterPaths(name).state_file.read_text())
    pid = process_alive(state["supervisor"])
    assert pid
    return pid


def test_up_and_down_leave_nothing(name):
    before = residue.snapshot()
    up = glasshive("up", name, "--nodes", "2")
    assert f"cluster {name} is up" in up.stdout
    status = json.loads(glasshive("status", name, "-o", "json").stdout)
    assert status["phase"] == "ready"
    assert [node["name"] for node in status["nodes"]] == ["node1", "node2"]
    assert all(node["ready"] for node in status["nodes"])
    cidrs = {cidr for node in status["nodes"] for cidr in node["pod_cidrs"]}
    assert cidrs == {"10.244.0.0/24", "10.244.1.0/24", "fd00:10:244::/64", "fd00:10:244:1::/64"}
    ping = glasshive("--cluster", name, "node", "exec", "node1", "ping", "-c", "1", "-W", "2", "172.30.0.12")
    assert "1 received" in ping.stdout
    assert name in [row["name"] for row in json.loads(glasshive("ls", "-o", "json").stdout)]
    assert glasshive("down", name).stdout == f"cluster {name} is gone\n"
    assert remains(before) == []


def test_files_are_private(name):
    glasshive("up", name, "--nodes", "1")
    paths = ClusterPaths(name)
    assert paths.run.stat().st_mode & 0o777 == 0o700
    for file in (paths.kubeconfig, paths.token, paths.server_key, paths.api_socket, paths.supervisor_socket):
        assert file.stat().st_mode & 0o077 == 0, file
    assert paths.node_socket("node1").stat().st_mode & 0o077 == 0


def test_busy_name(name):
    glasshive("up", name, "--nodes", "1")
    again = glasshive("up", name, "--nodes", "1", check=False)
    assert again.returncode == 2
    assert (
        again.stderr
        == f"glasshive: error: cluster {name} is up already (glasshive down {name}, or choose another name)\n"
    )
    assert glasshive("status", name).returncode == 0


def test_two_clusters_at_once(name):
    other = residue.own(name + "-b")
    before = residue.snapshot()
    try:
        first, second = (subprocess.Popen([*GLASSHIVE, "up", one, "--nodes", "2"]) for one in (name, other))
        assert (first.wait(60), second.wait(60)) == (0, 0)
        needs_choice = glasshive("status", check=False)
        assert needs_choice.returncode == 2
        assert "choose one with --cluster NAME" in needs_choice.stderr
        glasshive("down", other)
        ping = ("node", "exec", "node2", "ping", "-c", "1", "-W", "2", "172.30.0.11")
        assert glasshive("--cluster", name, *ping).returncode == 0
    finally:
        glasshive("down", other, check=False)
    glasshive("down", name)
    assert remains(before) == []


DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 6,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "glasshive/echo"}]},
        },
    },
}


@pytest.fixture
def manifest(tmp_path):
    file = tmp_path / "web.json"
    file.write_text(json.dumps(DEPLOYMENT))
    return str(file)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["command", "supervisor", "both"])
def test_crash_during_up_then_down(name, manifest, victim):
    """Kill what brings the cluster up at moments spread over the whole of ``up``, pods included."""
    before = residue.snapshot()
    dice = random.Random(victim)  # the moments are arbitrary but the same in every run
    moments = [dice.uniform(0.0, 0.3) for _ in range(2)] + [dice.uniform(0.3, 2.0) for _ in range(4)]
    up = [*GLASSHIVE, "up", name, "--apply", manifest]
    for moment in moments:
        command = subprocess.Popen(up, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moment)
        if victim != "command":
            for pid in _supervisors(name):
                os.kill(pid, signal.SIGKILL)
        if victim != "supervisor":
            command.kill()
        command.wait(60)
        down = glasshive("down", name, check=False)
        assert down.returncode == 0 or "there is no cluster" in down.stderr, down.stderr
        assert remains(before) == [], f"after a kill at {moment:.3f} s"


def test_everything_killed_then_down(name, manifest):
    """Every process of the cluster dies at once: supervisor, control plane, agents, zygotes, pods."""
    before = residue.snapshot()
    glasshive("up", name, "--nodes", "2", "--apply", manifest)
    groups = [folder for folder, _, _ in os.walk(ClusterPaths(name).cgroup)]
    pids = [pid for folder in groups for pid in Path(folder, "cgroup.procs").read_text().split()]
    assert len(pids) > 12
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    assert glasshive("status", name, check=False).returncode == 0
    glasshive("down", name)
    assert remains(before) == []


def _supervisors(name):
    """Processes in the control group of the cluster that run the supervisor's module."""
    try:
        pids = (ClusterPaths(name).control_cgroup / "cgroup.procs").read_text().split()
    except FileNotFoundError:
        return []
    return [int(pid) for pid in pids[:1]]


def test_interrupt_rolls_back(name):
    before = residue.snapshot()
    command = subprocess.Popen([*GLASSHIVE, "up", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "fabric" in command.stdout.readline()
    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=60)
    # CPython ends by the signal itself when it came inside exec() of an import; to a shell both are status 130.
    assert command.returncode in (130, -signal.SIGINT)
    assert errors.strip() == "glasshive: error: interrupted"
    assert not ClusterPaths(name).run.exists()
    assert remains(before) == []


def test_dead_supervisor_is_taken_over(name):
    glasshive("up", name, "--nodes", "2")
    kubeconfig = ClusterPaths(name).kubeconfig.read_text()
    kept = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\n"
    glasshive("--cluster", name, "kubectl", "apply", "-f", "-", input=kept)
    os.kill(supervisor_pid(name), signal.SIGKILL)
    _until(lambda: json.loads(glasshive("status", name, "-o", "json").stdout)["phase"] == "unsupervised")
    status = json.loads(glasshive("status", name, "-o", "json").stdout)
    assert "its supervisor is dead" in status["problem"]
    assert all(process["alive"] for process in status["processes"])
    glasshive("up", name, "--nodes", "2")
    status = json.loads(glasshive("status", name, "-o", "json").stdout)
    assert status["phase"] == "ready"
    assert any("took over" in event for event in status["events"])
    assert ClusterPaths(name).kubeconfig.read_text() == kubeconfig
    assert "kept" in glasshive("--cluster", name, "kubectl", "get", "configmap").stdout


def test_stale_directory_is_replaced_and_removed(name):
    """As after a reboot: the files are there, what they name is not."""
    before = residue.snapshot()
    glasshive("up", name, "--nodes", "1")
    run = ClusterPaths(name).run
    copy = run.with_name(run.name + ".copy")
    shutil.copytree(run, copy, ignore=lambda folder, names: [n for n in names if n.endswith(".sock") or n == "pods"])
    glasshive("down", name)
    copy.rename(run)
    glasshive("up", name, "--nodes", "1")
    glasshive("down", name)
    assert remains(before) == []


def test_no_root():
    for argv in (("up", "nobody"), ("down", "--all")):
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *GLASSHIVE, *argv],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.startswith("glasshive: error: clusters need root")
        assert done.stderr.count("\n") == 1


def test_down_of_nothing():
    done = glasshive("down", "no-such-cluster", check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "glasshive: error: there is no cluster no-such-cluster (glasshive ls shows those there are)\n"
    )


def _until(holds, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)

"""The command line without a cluster: errors in one line, exit statuses, JSON, nothing imported in vain."""

import json
import os
import signal
import subprocess
import sys

import pytest

from glasshive import cli
from glasshive.cli import clusters
from glasshive.cluster import session
from glasshive.cluster.embedded import paths
from glasshive.errors import DeadlineError, NotFoundError
from glasshive.model.cluster import ClusterStatus, Completed, NodeStatus, PodStatus, ProcessStatus, Topology

STATUS = ClusterStatus(
    name="demo",
    phase="ready",
    routing="native",
    ip_families=("ipv4", "ipv6"),
    api_server="https://127.0.0.1:1",
    kubeconfig="/run/glasshive/demo/kubeconfig",
    processes=(
        ProcessStatus(
            "node2", "agent", 42, alive=True, ready=True, restarts=1, last_exit="signal 9", last_exit_at="12:00"
        ),
    ),
    nodes=(NodeStatus("node1", ready=True, addresses=("172.30.0.11",), pods=1),),
    pods=(PodStatus("web", "default", "node1", "Running", ready=True, addresses=("10.244.0.2",)),),
)


class FakeCluster:
    name = "demo"
    kubeconfig = "/run/glasshive/demo/kubeconfig"

    def status(self):
        return STATUS

    def topology(self):
        return Topology("demo", "native", STATUS.nodes, STATUS.pods)

    def exec(self, pod, argv, namespace, **_):
        return Completed(3, f"{pod} {namespace} {' '.join(argv)}\n", "oh\n")

    def maps(self, node, name=""):
        return [{"name": "ipcache", "id": 7}] if not name else []

    def drops(self, node):
        return [{"reason": "no_route", "direction": "egress", "packets": 2, "bytes": 128}]

    def logs(self, pod, namespace, **_):
        return "one\ntwo\n"

    def stop(self, component, *, kill):
        self.switched = [*getattr(self, "switched", []), ("kill" if kill else "stop", component)]

    def start(self, component):
        raise DeadlineError(f"{component} is not ready after 30 s")


@pytest.fixture
def demo(monkeypatch):
    seen = []
    monkeypatch.setattr(session, "connect", lambda name=None: seen.append(name) or FakeCluster())
    return seen


def run(capsys, *argv):
    status = cli.main(argv)
    out = capsys.readouterr()
    return status, out.out, out.err


def test_status_as_text_and_json(demo, capsys):
    status, text, _ = run(capsys, "status", "demo")
    assert status == 0
    assert "node2     agent   42    ready   0.0 MiB    restarted 1x, last exit signal 9 at 12:00" in text
    assert "default     web   yes     Running   0          node1   10.244.0.2" in text
    _, text, _ = run(capsys, "status", "-o", "json")
    assert json.loads(text)["processes"][0]["restarts"] == 1
    assert demo == ["demo", None]


def test_cluster_may_be_named_before_or_after_the_command(demo, capsys):
    run(capsys, "--cluster", "one", "drops")
    run(capsys, "drops", "--cluster", "two")
    assert demo == ["one", "two"]


def test_exec_passes_output_and_status_on(demo, capsys):
    assert run(capsys, "exec", "-n", "ns1", "web", "--", "ls", "-l") == (3, "web ns1 ls -l\n", "oh\n")
    assert json.loads(run(capsys, "exec", "-o", "json", "web", "true")[1])["returncode"] == 3


def test_components_are_stopped_and_started(demo, capsys):
    assert run(capsys, "stop", "node1", "node1-dns") == (0, "node1 is stopped\nnode1-dns is stopped\n", "")
    assert json.loads(run(capsys, "stop", "--kill", "-o", "json", "node1")[1]) == {"node1": "stopped"}
    assert run(capsys, "start", "node1") == (1, "", "glasshive: error: node1 is not ready after 30 s\n")


def test_tables_of_nodes(demo, capsys):
    assert run(capsys, "maps", "node1")[1] == "NAME      ID\nipcache   7\n"
    assert run(capsys, "maps", "node1", "ct")[1] == "(empty)\n"
    assert json.loads(run(capsys, "drops", "-o", "json")[1])[0]["node"] == "node1"
    assert run(capsys, "logs", "web")[1] == "one\ntwo\n"


@pytest.mark.parametrize(
    ("argv", "status", "text"),
    [
        (["nope"], 2, "No such command 'nope'. (glasshive --help)"),
        (["exec", "pod"], 2, "Missing argument 'ARGV...'. (glasshive exec --help)"),
        (["up", "--nodes", "x"], 2, "'x' is not a valid integer"),
        (["up", "--nodes", "0"], 2, "nodes: 0 is not allowed; allowed: a whole number from 1 to 1000"),
        (["up", "--routing", "bgp"], 2, "routing: 'bgp' is not allowed; allowed: native, tunnel"),
        (["up", "--ip-families", "ipv4,ipx"], 2, "ip_families: ['ipv4', 'ipx'] is not allowed"),
        (["up", "Bad"], 2, "name: 'Bad' is not allowed"),
        (["up", "--config", "/nowhere.yaml"], 2, "/nowhere.yaml: cannot be read"),
        (["up", "--apply", "/nowhere.yaml"], 2, "/nowhere.yaml: cannot be read"),
    ],
)
def test_errors_are_one_line_with_exit_status(capsys, argv, status, text):
    code, out, err = run(capsys, *argv)
    assert code == status
    assert out == ""
    assert err.startswith("glasshive: error: ")
    assert text in err
    assert err.count("\n") == 1


def test_unknown_cluster(monkeypatch, capsys):
    def refuse(name=None):
        raise NotFoundError("there is no cluster zz", hint="glasshive ls shows those there are")

    monkeypatch.setattr(session, "connect", refuse)
    assert run(capsys, "status", "zz") == (
        1, "", "glasshive: error: there is no cluster zz (glasshive ls shows those there are)\n"
    )  # fmt: skip
    with pytest.raises(NotFoundError):
        cli.main(["--verbose", "status", "zz"])


def test_ls_without_clusters(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(paths, "RUN_ROOT", tmp_path)
    assert run(capsys, "ls") == (0, "no cluster is up\n", "")
    assert json.loads(run(capsys, "ls", "-o", "json")[1]) == []


def test_every_command_of_the_table_has_a_summary():
    assert cli.COMMANDS.keys() == cli.SUMMARIES.keys()


def test_up_imports_nothing_heavy_before_the_supervisor_starts():
    code = (
        "import sys, glasshive.cli.clusters, glasshive.cluster.session, glasshive.cluster.embedded.launch\n"
        "heavy = {'numpy','aiohttp','kubernetes','pyroute2','cryptography','rich','pandas','yaml','asyncio'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_interrupt_while_modules_are_imported_comes_after():
    """Inside an import it may be raised in a callback whose exceptions nobody hears of: Ctrl-C would do nothing."""
    imported = False
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - where it comes is the point
        with clusters._uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            imported = True
        pytest.fail("the interrupt was lost")
    assert imported

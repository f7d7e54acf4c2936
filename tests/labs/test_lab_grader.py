"""The grader as a process, on a real cluster: what it may do, that it comes back, that it ends with its lab."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from glasshive.bpf import Map
from glasshive.cluster import Cluster
from glasshive.errors import BpfError, NotFoundError, UsageError
from glasshive.inventory import process_alive, process_ident
from glasshive.lab import status
from glasshive.lab.checks import probe, state
from glasshive.lab.checks.probe import Probe
from glasshive.lab.grading.client import GraderClient
from glasshive.lab.grading.reader import ClusterReader
from glasshive.lab.kit import Lab
from glasshive.lab.manifest import find_lab
from glasshive.model.check_result import Verdict

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: labs run on a cluster of network namespaces"),
]
ENTRY = find_lab("01")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(f"grader-{os.getpid()}", nodes=3) as made:
        yield made


@pytest.fixture
def lab(cluster: Cluster) -> Iterator[Lab]:
    made = Lab.on(cluster, ENTRY, 5)
    yield made
    made.reset()


@pytest.fixture
def reader(lab: Lab) -> ClusterReader:
    return ClusterReader(lab.cluster, lab.namespace)


def await_true(holds: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def capabilities(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("CapEff:")), 16)


def test_it_is_a_process_of_its_own_with_few_rights_and_a_private_door(lab: Lab) -> None:
    client = GraderClient(lab.cluster, ENTRY)
    pid = client.warm()
    assert pid != os.getpid()
    assert capabilities(pid) == 1 << 21 | 1 << 13 | 1 << 39
    assert str(Path(f"/proc/{pid}/cwd").readlink()) == "/"
    assert stat.S_IMODE(client.path.stat().st_mode) == 0o600
    assert client.warm() == pid, "one for a session, kept warm"


def test_a_grader_that_was_killed_is_replaced_and_finds_everything(lab: Lab) -> None:
    task = lab.task("plug-in")
    lab.pod(task["pod"], node=task["node"])
    assert lab.check("plug-in").score == 100
    client = GraderClient(lab.cluster, ENTRY)
    first = client.warm()
    os.kill(first, signal.SIGKILL)
    again = lab.check("plug-in")
    assert again.score == 100
    assert client.warm() != first


def test_a_notebook_whose_kernel_died_goes_on_with_its_seed_and_task(lab: Lab) -> None:
    given = dict(lab.task("plug-in"))
    second = Lab.on(lab.cluster, ENTRY)
    assert second.seed == 5
    assert dict(second.task("plug-in")) == given
    with pytest.raises(UsageError, match="begun with the seed 5"):
        Lab.on(lab.cluster, ENTRY, 6)


def test_it_ends_with_the_lab_and_with_the_cluster() -> None:
    with Cluster(f"grader-down-{os.getpid()}", nodes=1) as small:
        client = GraderClient(small, ENTRY)
        ident = process_ident(client.warm())
        assert ident is not None
        client.end()
        assert process_alive(ident) is None
        assert not client.path.exists()
        ident = process_ident(GraderClient(small, ENTRY).warm())
        assert ident is not None
    assert process_alive(ident) is None


def test_an_unknown_task_lists_near_ones_across_the_process(lab: Lab) -> None:
    with pytest.raises(NotFoundError, match="near it: plug-in"):
        lab.check("plug-inn")


def test_a_reader_cannot_write(lab: Lab, reader: ClusterReader) -> None:
    with Map.open(reader.pins("node1") / "maps" / "endpoints", read_only=True) as kernel:
        keys, values = kernel.items()
        with pytest.raises(BpfError, match="not permitted"):
            kernel.update(keys[:1], values[:1])
    with pytest.raises(UsageError, match="checks only read"):
        reader._api.request("DELETE", "/api/v1/namespaces/default")


def test_probes_tell_an_answer_a_refusal_and_silence_apart(lab: Lab, reader: ClusterReader) -> None:
    lab.pod("web", node="node1")
    lab.pod("client", node="node2", image="glasshive/client")
    free = lab.free_address("node1")
    sent = [
        Probe("client", "web"), Probe("client", "web", protocol="tcp", port=9000), Probe("client", "web", port=81),
        Probe("client", "web", protocol="udp", port=9000), Probe("client", free),
        Probe("client", "web", protocol="ping"),
        Probe("client", "web", protocol="ping", family="ipv6", size=1400, whole=True), Probe("nobody", "web"),
    ]  # fmt: skip
    http, tcp, refused, udp, silent, ping, large, nobody = probe.send(reader, sent, wait_s=1.0)
    assert http.answer.startswith("HTTP/1.1 200")
    assert (tcp.answer, udp.answer, ping.answer, large.answer) == ("echoed", "echoed", "echo", "echo")
    assert refused.refused
    assert (silent.error, silent.refused) == ("no answer", False)
    assert "nobody" in nobody.error


def test_a_denied_probe_must_show_that_the_way_works_and_that_nothing_arrived(lab: Lab, reader: ClusterReader) -> None:
    lab.pod("web", node="node1")
    lab.pod("client", node="node2", image="glasshive/client")
    works, other = Probe("client", "web"), Probe("client", "web", protocol="tcp", port=9000)
    result = probe.denied(reader, [works], otherwise=[other])
    assert (result.verdict, result.state) == (Verdict.FAIL, "answered")
    silent = Probe("client", "web", protocol="udp", port=9999)
    arrived = probe.denied(reader, [silent], otherwise=[works])
    assert arrived.verdict is Verdict.FAIL, "a refusal or a datagram that nobody reads has arrived all the same"
    nowhere = Probe("client", lab.free_address("node1"))
    assert probe.denied(reader, [nowhere], otherwise=[works])
    broken = probe.denied(reader, [nowhere], otherwise=[Probe("client", "web", port=81)])
    assert broken.state == "way-broken"


def test_status_turns_green_and_red_again(lab: Lab) -> None:
    task = lab.task("plug-in")

    def light() -> str:
        return status.look(lab.cluster, [ENTRY])[0].light

    assert light() == "red"
    lab.pod(task["pod"], node=task["node"])
    await_true(lambda: light() == "green")
    lab.cluster.delete("pod", task["pod"], lab.namespace)
    await_true(lambda: light() == "red")


def test_a_set_up_that_did_not_work_is_said(lab: Lab, reader: ClusterReader) -> None:
    assert state.pod_ready(reader, "nobody").state == "absent"
    result = lab.check("plug-in")
    assert {one.result.verdict for one in result.tasks[0].checks} == {Verdict.SKIPPED}
    assert "was not begun" in repr(result)

"""The connectivity test on real clusters: all is well, and when one thing is broken on purpose exactly that is said."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

import glasshive
import residue
from glasshive.bpf import Map
from glasshive.cluster.embedded import record
from glasshive.connectivity import Row, Stage, examine
from glasshive.connectivity.run import play
from glasshive.maps.ipcache import IpcacheMap
from glasshive.model.address import parse
from glasshive.model.check_result import Verdict
from glasshive.net import netns

pytestmark = pytest.mark.root

GLASSHIVE = [sys.executable, "-m", "glasshive"]
FAMILIES = {"dual": ("ipv4", "ipv6"), "ipv4": ("ipv4",), "ipv6": ("ipv6",)}


@pytest.fixture(scope="module", params=["native-dual", "tunnel-dual", "native-ipv6", "tunnel-ipv4"])
def cluster(request: pytest.FixtureRequest) -> Iterator[glasshive.Cluster]:
    routing, stack = request.param.split("-")
    name = residue.own(f"j-{os.getpid()}-{request.param}")
    with glasshive.Cluster(name, nodes=2, routing=routing, ip_families=FAMILIES[stack]) as one:
        yield one


def namespaces(cluster: glasshive.Cluster) -> list[str]:
    return [n["metadata"]["name"] for n in cluster.get("namespace") if "glasshive-test" in n["metadata"]["name"]]


def responders(cluster: glasshive.Cluster) -> list[str]:
    """Responders that run outside pods, by the command lines of processes that live in the nodes' namespaces."""
    paths = cluster.backend.paths
    spaces = [paths.world_netns, *record.read(paths).netns.values()]
    inodes = {netns.path_of(name).stat().st_ino for name in spaces}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            outside = (process / "ns/net").stat().st_ino in inodes
            if outside and b"Answers connectivity" in (process / "cmdline").read_bytes():
                found.append(process.name)
    return found


def without_policy(bad: dict[str, set[tuple[str, str]]]) -> dict[str, set[tuple[str, str]]]:
    """The rows that are played without policies; those under policies break along where they use the same ways."""
    return {name: paths for name, paths in bad.items() if not name.startswith("policy/")}


def failing(rows: list[Row]) -> dict[str, set[tuple[str, str]]]:
    """Test name -> (source, target) of the paths that failed."""
    bad = {row.test: {(p.source, p.target) for p in row.paths if p.problem} for row in rows}
    return {name: paths for name, paths in bad.items() if paths}


def test_a_healthy_cluster_passes_and_nothing_is_left(cluster: glasshive.Cluster) -> None:
    report = examine(cluster)
    assert report.failing == (), [row.detail for row in report.rows if row.verdict is Verdict.FAIL]
    assert report.passed
    names = {row.test for row in report.rows if row.verdict is Verdict.PASS}
    for family in cluster.config.ip_families:
        for scenario in ("pod-to-pod/same-node", "pod-to-pod/other-node", "pod-to-world", "world-to-node"):
            kinds = {f"{scenario}/{kind}/{family}" for kind in ("tcp", "tcp-bulk", "udp", "icmp", "icmp-fragmented")}
            assert kinds <= names
        assert f"mtu-discovery/pod-to-world/{family}" in names
    assert not any(name.endswith("/ipv6") for name in names) or "ipv6" in cluster.config.ip_families
    assert namespaces(cluster) == []
    features = cluster.backend.node_request("node1", "GET", "/v1/status")["features"]
    skipped = {row.test for row in report.rows if row.verdict is Verdict.SKIPPED}
    assert ({"pod-to-service", "hairpin"} <= skipped) == ("service" not in features)


def test_what_is_broken_is_named_and_nothing_else(cluster: glasshive.Cluster) -> None:
    """Node1 forgets where node2's echo pod is: only what node1 sends there fails, of the family that it forgot."""
    if cluster.config.routing != "tunnel":
        pytest.skip("with native routing packets find the way without the ipcache")
    if len(cluster.config.ip_families) < 2:
        pytest.skip("both families at once are enough")
    family = cluster.config.ip_families[0]
    with Stage(cluster) as stage:
        target = stage.places.of("echo", "node2")
        ipcache = IpcacheMap(Map.open(Path(f"/sys/fs/bpf/glasshive/{cluster.name}/node1/maps/ipcache")))
        address = parse(target.addresses[family])
        lost = {p: v for p, v in ipcache.entries().items() if p.length > 100 and covers(p, address)}
        assert len(lost) == 2  # the pod's own entry, and its node's prefix
        ipcache.delete(list(lost))
        try:
            rows = play(stage)
        finally:
            ipcache.update(lost)
        bad = without_policy(failing(rows))
        assert set().union(*bad.values()) == {("client-node1", "echo-node2"), ("node1", "echo-node2")}
        assert {name.rpartition("/")[2] for name in bad} == {family}
        scenarios = {"/".join(name.split("/")[:-2]) for name in bad}
        assert {"pod-to-pod/other-node", "node-to-other-pod"} <= scenarios
        assert scenarios <= {"pod-to-pod/other-node", "node-to-other-pod", "mtu-discovery", "nobody-answers"}
        assert f"pod-to-pod/other-node/tcp/{family}" in bad
        # Healed. (The MTU rows are not asked again: the hosts still remember the narrow link that they were told of.)
        assert failing(play(stage, only=["pod-to-pod/*/tcp", "pod-to-pod/*/icmp-fragmented"])) == {}


def covers(prefix: object, address: bytes) -> bool:
    length, base = prefix.length, int.from_bytes(prefix.address, "big")  # type: ignore[attr-defined]
    return base >> (128 - length) == int.from_bytes(address, "big") >> (128 - length)


def test_a_lost_way_back_from_the_world_is_named(cluster: glasshive.Cluster) -> None:
    """The world cannot send to node1 any more: pods there, behind the node's address, and nobody else are cut off."""
    if len(cluster.config.ip_families) < 2:
        pytest.skip("both families at once are enough")
    family = cluster.config.ip_families[0]
    route = ["ip", "-6" if family == "ipv6" else "-4", "route"]
    with Stage(cluster) as stage:
        node = stage.places.of("node", "node1").addresses[family]
        assert not cluster.node_exec("world", [*route, "add", "blackhole", node]).returncode
        try:
            rows = play(stage)
        finally:
            assert not cluster.node_exec("world", [*route, "del", "blackhole", node]).returncode
        bad = without_policy(failing(rows))
        assert set().union(*bad.values()) == {("client-node1", "world"), ("world", "node1")}
        kinds = {"tcp", "tcp-bulk", "udp", "icmp", "udp-fragmented", "icmp-fragmented"}
        wanted = {f"{scenario}/{kind}/{family}" for scenario in ("pod-to-world", "world-to-node") for kind in kinds}
        assert set(bad) == wanted | {f"mtu-discovery/pod-to-world/{family}"}


def test_a_strangers_answer_is_no_pass(cluster: glasshive.Cluster) -> None:
    with Stage(cluster) as stage:
        places = stage.places
        impostor = dataclasses.replace(places.echoes[0], secret="what only the true one knows")
        stage.places = dataclasses.replace(places, echoes=(impostor, *places.echoes[1:]))
        rows = play(stage, only=["pod-to-pod"])
        bad = failing(rows)
        assert {target for paths in bad.values() for _, target in paths} == {impostor.name}
        assert {name.split("/")[2] for name in bad} == {"tcp", "tcp-bulk", "udp", "udp-fragmented"}
        assert all("stranger" in row.detail for row in rows if row.test in bad)
        # A node that hides pods' addresses behind its own is found out as well.
        honest = places.clients[0]
        liar = dataclasses.replace(honest, addresses=dict.fromkeys(honest.addresses, "192.0.2.9"))
        stage.places = dataclasses.replace(places, clients=(liar, *places.clients[1:]))
        rows = play(stage, only=["pod-to-pod/same-node/tcp"])
        assert failing(rows)
        assert all("seen as" in row.detail for row in rows)


def test_the_stage_is_removed_after_an_error(cluster: glasshive.Cluster) -> None:
    def fail() -> None:
        with Stage(cluster) as stage:
            assert namespaces(cluster) == [stage.namespace]
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert namespaces(cluster) == []


def test_command_line(cluster: glasshive.Cluster, tmp_path: Path) -> None:
    if cluster.config.routing != "native":
        pytest.skip("one routing is enough")
    junit = tmp_path / "report.xml"
    command = [*GLASSHIVE, "connectivity", "test", "--cluster", cluster.name, "-o", "json", "--junit", str(junit)]
    done = subprocess.run([*command, "pod-to-pod/same-node"], capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {row["verdict"] for row in rows} == {"pass"}
    assert "from client-node1" in done.stderr
    root = Xml.parse(junit).getroot()
    assert root.get("failures") == "0"
    assert len(root.findall(".//testcase")) == len(rows)
    wrong = subprocess.run([*command, "no-such"], capture_output=True, text=True, check=False, timeout=180)
    assert wrong.returncode == 2
    assert "no test is called no-such" in wrong.stderr
    assert namespaces(cluster) == []


def test_sigterm_cleans_up(cluster: glasshive.Cluster) -> None:
    if cluster.config.routing != "native":
        pytest.skip("one routing is enough")
    command = [*GLASSHIVE, "connectivity", "test", "--cluster", cluster.name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not namespaces(cluster):  # responders have been started, and nobody knows yet where all the pods are
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 130
    finally:
        process.kill()
        process.communicate()
    assert namespaces(cluster) == []
    assert responders(cluster) == []

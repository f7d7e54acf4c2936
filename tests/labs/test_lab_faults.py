"""Every fault of the library on a real cluster: the symptom shows, the ground truth is right, healing restores all.

Injecting twice changes nothing, healing twice neither, and a fault that the agent would mend is kept.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from glasshive.bpf import probe as machine
from glasshive.cluster import Cluster
from glasshive.errors import ApiError, ClusterError, NotFoundError, UsageError
from glasshive.inventory import Inventory, Kind, process_alive
from glasshive.lab import faults, pristine
from glasshive.lab.checks import flow, probe, state
from glasshive.lab.checks.probe import Probe
from glasshive.lab.faults import Truth
from glasshive.lab.grading.reader import ClusterReader

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: labs run on a cluster of network namespaces"),
]
SPACE = "lab-faults"
# A UDP datagram without content from a documentation address (RFC 5737), its IP header written by hand.
SPOOF = """
import socket, struct, sys
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
ends = socket.inet_aton("203.0.113.7") + socket.inet_aton(sys.argv[1])
header = struct.pack("!BBHHHBBH", 0x45, 0, 28, 1, 0, 64, 17, 0) + ends
raw.sendto(header + struct.pack("!HHHH", 9, 9, 8, 0), (sys.argv[1], 0))
"""
PODS = {"web": "node1", "near": "node1", "client": "node2", "far": "node3"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(f"faults-{os.getpid()}", nodes=3) as made:
        made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        for name, node in PODS.items():
            spec = {"nodeName": node, "containers": [{"name": "main", "image": "glasshive/echo"}]}
            metadata = {"name": name, "labels": {"app": name}}
            made.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, SPACE)
        for name in PODS:
            made.wait("pod", name, namespace=SPACE)
        yield made


@pytest.fixture
def reader(cluster: Cluster) -> Iterator[ClusterReader]:
    """Reads; and whatever the test did, the cluster is as before afterwards."""
    found = ClusterReader(cluster, SPACE)
    before = settled(found)
    yield found
    faults.heal_all(cluster)
    await_true(lambda: not pristine.differences(before, pristine.inventory(found)), lambda: pristine.differences(
        before, pristine.inventory(found)))  # fmt: skip


def settled(reader: ClusterReader) -> pristine.Inventory:
    """An inventory that stays the same for two looks."""
    looks = [pristine.inventory(reader)]
    await_true(lambda: (looks.append(pristine.inventory(reader)), looks[-1] == looks[-2])[1])
    return looks[-1]


def await_true(holds: Callable[[], object], say: Callable[[], object] = lambda: "it did not happen in time") -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, say()
        time.sleep(0.1)


def answered(reader: ClusterReader, *probes: Probe) -> list[bool]:
    return [not one.error for one in probe.send(reader, probes, wait_s=1.5)]


def inject_twice(cluster: Cluster, fault: str, **params: Any) -> Truth:
    """Inject, again, and see that the ground truth is written down once and survives JSON."""
    truth = faults.inject(cluster, fault, owner=SPACE, **params)
    assert faults.inject(cluster, fault, owner=SPACE, **params) == truth
    assert faults.active(cluster) == [truth]
    assert Truth.from_json(json.loads(json.dumps(truth.to_json()))) == truth
    assert truth.cause
    assert truth.symptom
    return truth


def heal_twice(cluster: Cluster, truth: Truth) -> None:
    assert faults.heal(cluster, truth.id) == truth
    assert faults.heal(cluster, truth.id) is None
    assert faults.active(cluster) == []


def needs(fault: str) -> None:
    missing = machine.machine().missing([one for one in faults.find(fault).needs if ":" in one])
    if missing:
        pytest.skip(f"this machine lacks {', '.join(missing)}: see glasshive doctor")


def test_drop_rule(cluster: Cluster, reader: ClusterReader) -> None:
    needs("drop-rule")
    ways = [Probe("client", "web"), Probe("client", "web", protocol="tcp", port=9000), Probe("near", "web"),
            Probe("client", "web", family="ipv6")]  # fmt: skip
    assert answered(reader, *ways) == [True, True, True, True]
    truth = inject_twice(cluster, "drop-rule", node="node1", port=8080)
    assert answered(reader, *ways) == [False, True, True, False]
    (hook,) = [one for one in reader.links("node1") if one["pin"] == truth.where["pin"]]
    assert (hook["program"], hook["attach_type"].lower()) == ("drop_port", "tcx_ingress")
    heal_twice(cluster, truth)
    assert answered(reader, *ways) == [True, True, True, True]


def test_wrong_identity(cluster: Cluster, reader: ClusterReader) -> None:
    truth = inject_twice(cluster, "wrong-identity", node="node2", namespace=SPACE, pod="web", like="near")
    address, real = reader.address("web"), reader.endpoint("web")["identity"]
    (row,) = reader.rows("node2", "ipcache", addr=address, prefixlen=128)
    assert row["identity"] == truth.where["wanted"][address]["identity"] == reader.endpoint("near")["identity"] != real
    (elsewhere,) = reader.rows("node3", "ipcache", addr=address, prefixlen=128)
    assert elsewhere["identity"] == real
    heal_twice(cluster, truth)
    assert state.map_holds(reader, "node2", "ipcache", {"addr": address, "prefixlen": 128}, {"identity": real})


def test_stale_ipcache(cluster: Cluster, reader: ClusterReader) -> None:
    ways = [Probe("client", "web"), Probe("client", "web", family="ipv6"), Probe("far", "web"), Probe("client", "near")]
    truth = inject_twice(cluster, "stale-ipcache", node="node2", namespace=SPACE, pod="web")
    assert answered(reader, *ways) == [False, False, True, True]
    (row,) = reader.rows("node2", "ipcache", addr=reader.address("web"), prefixlen=128)
    nodes = {address for node in reader.nodes() for address in node.addresses}
    assert row["node_addr"] not in nodes
    heal_twice(cluster, truth)
    assert answered(reader, *ways) == [True] * 4


def test_mtu(cluster: Cluster, reader: ClusterReader) -> None:
    small = Probe("client", "web", protocol="ping")
    large = Probe("client", "web", protocol="ping", size=1400, whole=True)
    assert answered(reader, small, large) == [True, True]
    truth = inject_twice(cluster, "mtu", node="node1", bytes=1300)
    assert answered(reader, small, large) == [True, False]
    heal_twice(cluster, truth)
    assert answered(reader, small, large) == [True, True]


def test_asymmetric_route(cluster: Cluster, reader: ClusterReader) -> None:
    def hops() -> int:
        """The smallest TTL with which a ping arrives."""
        address = reader.address("web")
        for ttl in range(1, 8):
            argv = ["ping", "-n", "-c", "1", "-W", "1", "-t", str(ttl), address]
            if reader.exec("client", argv).returncode == 0:
                return ttl
        return 0

    before = hops()
    truth = inject_twice(cluster, "asymmetric-route", node="node2", namespace=SPACE, pod="web", via="node3")
    assert hops() == before + 1
    assert answered(reader, Probe("client", "web")) == [True]
    heal_twice(cluster, truth)
    assert hops() == before


def test_dns(cluster: Cluster, reader: ClusterReader) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
               "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 8080}]}}  # fmt: skip
    before = pristine.inventory(reader)
    cluster.apply(service, SPACE)
    by_name = Probe("client", f"web.{SPACE}.svc.cluster.local", protocol="dns")
    await_true(lambda: answered(reader, by_name) == [True])
    truth = inject_twice(cluster, "dns", node="node2")
    assert answered(reader, by_name, Probe("client", "web")) == [False, True]
    heal_twice(cluster, truth)
    await_true(lambda: answered(reader, by_name) == [True])
    cluster.delete("service", "web", SPACE)
    await_true(lambda: pristine.inventory(reader)["services"] == before["services"])


def test_dead_backend(cluster: Cluster, reader: ClusterReader) -> None:
    truth = inject_twice(cluster, "dead-backend", namespace=SPACE, pod="web")
    assert answered(reader, Probe("client", "web"), Probe("client", "near")) == [False, True]
    assert state.pod_ready(reader, "web"), "it still counts as ready"
    heal_twice(cluster, truth)
    assert answered(reader, Probe("client", "web")) == [True]


def test_detached_program(cluster: Cluster, reader: ClusterReader) -> None:
    needs("detached-program")

    def spoofs() -> bool:
        """Send from a false address; whether the node's program noticed."""
        since = time.monotonic_ns()
        assert reader.exec("web", ["python3", "-c", SPOOF, reader.address("client")]).returncode == 0
        return any(row["reason"] == "invalid-source-ip" for _, row in flow.records_since(reader, since))

    assert spoofs()
    truth = inject_twice(cluster, "detached-program", namespace=SPACE, pod="web")
    assert not spoofs()
    assert state.pod_plugged(reader, "web").state == "no-links"
    assert state.pod_plugged(reader, "near")
    heal_twice(cluster, truth)
    assert spoofs()
    assert state.pod_plugged(reader, "web")


def test_full_map_and_that_it_is_kept(cluster: Cluster, reader: ClusterReader) -> None:
    truth = inject_twice(cluster, "full-map", node="node3")
    facts = reader.map_facts("node3", "endpoints")
    assert facts["entries"] == facts["max_entries"] == truth.where["max_entries"]
    faults.CATALOGUE["full-map"].undo(faults.Hands(cluster), truth)  # as the agent's comparison would
    await_true(lambda: reader.map_facts("node3", "endpoints")["entries"] == facts["entries"])
    spec = {"nodeName": "node3", "containers": [{"name": "main", "image": "glasshive/echo"}]}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "late"}, "spec": spec}, SPACE)
    await_true(lambda: "full" in str(reader.objects("event")) or "full" in str(reader.get("pod", "late")))
    late = reader.pod("late")
    assert late is not None
    assert not late.ready
    assert answered(reader, Probe("client", "far")) == [True]
    heal_twice(cluster, truth)
    cluster.wait("pod", "late", namespace=SPACE)
    cluster.delete("pod", "late", SPACE)
    cluster.wait("pod", "late", "deleted", namespace=SPACE)


def test_policy_typo(cluster: Cluster, reader: ClusterReader) -> None:
    ways = [Probe("client", "web"), Probe("client", "near")]
    assert answered(reader, *ways) == [True, True]
    truth = inject_twice(cluster, "policy-typo", namespace=SPACE, to="web", allow="client")
    held = reader.get("networkpolicy", "allow-client")
    assert state.at_path(held, "spec.ingress.0.from.0.podSelector.matchLabels.app") == "lcient"
    assert truth.where["selector"] == "app=lcient"
    await_true(lambda: answered(reader, *ways) == [False, True])
    assert flow.judged_as(reader, [ways[0]], "deny-default", match="none")
    assert flow.judged_as(reader, [ways[0]], "allow").state == "other-verdict"
    heal_twice(cluster, truth)
    assert reader.get("networkpolicy", "allow-client") is None
    await_true(lambda: answered(reader, *ways) == [True, True])


def test_several_at_once_are_healed_by_owner_and_the_keeper_ends(cluster: Cluster, reader: ClusterReader) -> None:
    stale = faults.inject(cluster, "stale-ipcache", owner="a", node="node2", namespace=SPACE, pod="web")
    mtu = faults.inject(cluster, "mtu", owner="b", node="node1")
    assert faults.heal_all(cluster, owner="a") == [stale]
    assert faults.active(cluster) == [mtu]
    assert faults.heal_all(cluster) == [mtu]
    inventory = Inventory(faults.Hands(cluster).paths.inventory_file)

    def keepers() -> list[str]:
        alive = [one.ident for one in inventory.entries() if one.kind is Kind.PROCESS and process_alive(one.ident)]
        return [one for one in alive if "keeper" in command_line(int(one.partition(":")[0]))]

    await_true(lambda: not keepers())


def command_line(pid: int) -> str:
    from pathlib import Path

    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def test_an_injector_that_is_killed_half_way_can_be_healed(cluster: Cluster, reader: ClusterReader) -> None:
    """Written down first: a process that dies right after the change leaves a fault that the list knows."""
    pid = os.fork()
    if pid == 0:
        try:
            kind = faults.CATALOGUE["mtu"]
            kind.present = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
            faults.inject(cluster, "mtu", node="node3")
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    (truth,) = faults.active(cluster)
    assert truth.fault == "mtu"
    heal_twice(cluster, truth)


@pytest.mark.parametrize(
    ("fault", "params", "kind", "complaint"),
    [
        ("mtuu", {}, NotFoundError, "near it: mtu"),
        ("mtu", {"node": "node9"}, NotFoundError, "no node 'node9'"),
        ("mtu", {"node": "node1; reboot"}, NotFoundError, "no node"),
        ("mtu", {"node": "node1", "bytes": 900}, UsageError, "1280 to 1499"),
        ("mtu", {"nod": "node1"}, UsageError, "no parameter 'nod'"),
        ("dns", {}, UsageError, "wants node"),
        ("drop-rule", {"node": "node1", "port": "80"}, UsageError, "1 to 65535"),
        ("dead-backend", {"namespace": SPACE, "pod": "../web"}, NotFoundError, "has no pod"),
        ("stale-ipcache", {"node": "node1", "namespace": SPACE, "pod": "web"}, UsageError, "name another node"),
        ("asymmetric-route", {"node": "node2", "namespace": SPACE, "pod": "web", "via": "node1"}, UsageError, "third"),
        ("full-map", {"node": "node1", "map": "conntrack"}, UsageError, "cannot be filled"),
        ("policy-typo", {"namespace": SPACE, "to": "web", "allow": "nobody"}, NotFoundError, "label app=nobody"),
    ],
)
def test_what_cannot_be_injected_changes_nothing(
    cluster: Cluster, fault: str, params: dict[str, Any], kind: type[Exception], complaint: str
) -> None:
    with pytest.raises(kind, match=complaint):
        faults.inject(cluster, fault, **params)
    assert faults.active(cluster) == []


def test_a_cluster_that_is_gone_is_said(cluster: Cluster) -> None:
    gone = Cluster(f"faults-gone-{os.getpid()}")
    with pytest.raises((NotFoundError, ClusterError, ApiError)):
        faults.inject(gone, "dns", node="node1")

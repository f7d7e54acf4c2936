"""The programs that solve labs 17 to 19: they load with few capabilities, and are right about packets.

Two of them count or carry the same in two ways; what is asked of both stands once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from glasshive.cluster.embedded.paths import BPFFS_ROOT, ClusterPaths
from glasshive.lab.balancer import Balancer
from glasshive.lab.checks import program
from glasshive.lab.checks.balanced import Trial, trial
from glasshive.lab.checks.program import Table
from glasshive.lab.packets import ETH_ARP, ethernet, ping, read, tcp, udp
from glasshive.lab.pinned import Pinned
from glasshive.lab.workshop import LabProgram, Workshop
from glasshive.model.check_result import Verdict

LABS = Path(__file__).resolve().parents[2] / "bpf" / "labs"
CLUSTER = f"track-programs-{os.getpid()}"
ARP = ethernet(ETH_ARP, bytes(46))
VIP = ("192.0.2.10", 80)
BEES = [("10.244.1.5", 8080), ("10.244.2.5", 8080), ("10.244.3.5", 8080)]

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    made = Workshop(CLUSTER, "lab-19", lambda _: (Path("/nowhere"), "eth0"))
    yield made
    made.clear()
    for folder in (BPFFS_ROOT / CLUSTER, ClusterPaths(CLUSTER).run):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def shipped(workshop: Workshop, name: str, program: str) -> LabProgram:
    return workshop.write(program, (LABS / f"{name}.bpf.c").read_text(encoding="utf-8"))


@pytest.fixture
def balance(workshop: Workshop) -> LabProgram:
    return shipped(workshop, "balance_weights", "balance")


def test_ttl_copied(workshop: Workshop) -> None:
    ttl = shipped(workshop, "ttl_copied", "ttl")
    verdicts = [ttl.run(frame).verdict for frame in (udp(ttl=9), udp(ttl=10), tcp(ttl=1), ARP)]
    assert verdicts == ["TC_ACT_SHOT", "TC_ACT_OK", "TC_ACT_SHOT", "TC_ACT_OK"]


@pytest.mark.parametrize(
    ("items", "verdict"),
    [
        (b"\x07\x02", "TC_ACT_SHOT"),
        (b"\x01\x02" * 15 + b"\x07\x02", "TC_ACT_SHOT"),
        (b"\x01\x02" * 16 + b"\x07\x02", "TC_ACT_OK"),  # beyond the sixteenth
        (b"\x01\x04\x07\x07", "TC_ACT_OK"),  # a value
        (b"\x01\x00" * 4, "TC_ACT_OK"),  # a length that leads nowhere
        (b"", "TC_ACT_OK"),
    ],
)
def test_smoke_called_back(workshop: Workshop, items: bytes, verdict: str) -> None:
    assert shipped(workshop, "smoke_called_back", "smoke").run(udp(items)).verdict == verdict


def test_visits_packed(workshop: Workshop) -> None:
    visits = shipped(workshop, "visits_packed", "visits")
    visits.run_all([udp(target_port=53), udp(b"x" * 99, target_port=53), tcp(target_port=53), ping(), ARP])
    assert visits.rows("seen") == [
        {"protocol": 17, "port": 53, "value": 2},
        {"protocol": 6, "port": 53, "value": 1},
    ]


def test_count_per_cpu(workshop: Workshop) -> None:
    count = shipped(workshop, "count_per_cpu", "count")
    count.run_all([udp(), tcp(), udp(), ping(), ARP])
    assert {row["key"]: row["value"] for row in count.rows("hits") if row["value"]} == {1: 1, 6: 1, 17: 2}


def test_gate_array(workshop: Workshop) -> None:
    gate = shipped(workshop, "gate_array", "gate")
    gate.put("closed", 7000, 1)
    frames = [udp(target_port=7000), udp(target_port=7001), tcp(target_port=7000), udp(source_port=7000), ARP]
    assert [ran.verdict for ran in gate.run_all(frames)] == ["XDP_DROP", *["XDP_PASS"] * 4]
    assert {row["key"]: row["value"] for row in gate.rows("verdicts") if row["value"]} == {1: 1, 2: 4}


def test_cable_mapped(workshop: Workshop) -> None:
    cable = shipped(workshop, "cable_mapped", "cable")
    assert cable.run(udp()).verdict == "TC_ACT_SHOT"  # it knows no pair yet
    cable.put("peers", 1, 1)  # a test run's device is the loopback
    assert cable.run(ARP).verdict == "TC_ACT_REDIRECT"


@pytest.mark.parametrize("payload", [b"", b"x", b"xy", b"GET / HTTP/1.1\r\n\r\n"], ids=len)
def test_there_and_back_is_the_same_packet(balance: LabProgram, payload: bytes) -> None:
    Balancer(balance).serve(*VIP, BEES)
    sent = tcp(payload, target=VIP[0], target_port=VIP[1])
    there = balance.run(sent, "forward").packet
    assert there is not None
    assert (there.target, there.target_port) in BEES
    assert there.checksums_hold
    assert there.payload == payload
    answer = tcp(payload, source=there.target, source_port=there.target_port, target=there.source,
                 target_port=there.source_port, flags="SA")  # fmt: skip
    back = balance.run(answer, "backward").packet
    assert back is not None
    assert (back.source, back.source_port) == VIP
    assert back.checksums_hold


def test_a_lost_backend_and_nobody_left(balance: LabProgram) -> None:
    hive = Balancer(balance)
    hive.serve(*VIP, BEES)
    for number in range(3):
        hive.mark(number, alive=False)
    frame = tcp(target=VIP[0], target_port=VIP[1])
    assert balance.run(frame, "forward").verdict == "TC_ACT_SHOT"
    hive.mark(2, alive=True)
    packet = balance.run(frame, "forward").packet
    assert packet is not None
    assert (packet.target, packet.target_port) == BEES[2]
    assert hive.connections(*VIP) == [{"client": "10.77.0.1", "port": 40001, "backend": 2}]
    assert [row["alive"] for row in hive.backends()] == [False, False, True]


def test_the_graders_service_comes_and_goes(balance: LabProgram) -> None:
    """It is spread over its backends, does not touch what the learner serves, and leaves no service behind."""
    hive = Balancer(balance)
    hive.serve(*VIP, BEES)
    before = hive.backends()
    with trial(balance, 3) as service:
        assert set(Counter(service.numbers(range(100)))) == {0, 1, 2}
        frame = service.frame(5, b"hello")
    assert hive.backends() == before
    assert len(balance.rows("services")) == 1
    assert not balance.run(frame, "forward").changed


def test_every_client_of_the_grader_is_another() -> None:
    service = Trial(Pinned(Path("/nowhere")))  # its frames need no program
    packets = [read(service.frame(one)) for one in range(0, 22_000, 7)]
    assert all(one is not None and one.checksums_hold for one in packets)
    assert len({(one.source, one.source_port) for one in packets if one}) == len(packets)


TABLE_TEXT = """#include "labs/lesson.h"
struct key { __u8 protocol; __be16 port; };
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct key);
	__type(value, __u64);
} seen SEC(".maps");

SEC("tc")
int visits(struct __sk_buff *skb)
{
	struct key key = {};

	return bpf_map_lookup_elem(&seen, &key) ? TC_ACT_OK : TC_ACT_SHOT;
}
"""


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (("", ""), ""),
        (("protocol; __be16", "protocol, pad; __be16"), ""),
        (("protocol; __be16", "protocol, more; __be16"), "other-map"),
        (("value, __u64", "value, struct key"), "other-map"),
        (("max_entries, 1024", "max_entries, 2"), "other-map"),
        (("seen", "sene"), "no-map"),
        (('"tc"', '"socket"'), "other-parts"),
    ],
)
def test_a_map_of_another_layout_is_a_fail_and_no_error(
    workshop: Workshop, change: tuple[str, str], state: str
) -> None:
    """An error would be voided, and so cost nothing."""
    workshop.write("visits", TABLE_TEXT.replace(*change))
    reader = SimpleNamespace(cluster_name=CLUSTER, namespace="lab-19")
    table = Table("seen", ("protocol", "port"), (), 16)
    found = program.loaded(reader, "visits", {"visits": "sched_cls"}, maps=[table])  # type: ignore[arg-type]
    assert found.verdict is (Verdict.FAIL if state else Verdict.PASS), found
    assert found.state == state

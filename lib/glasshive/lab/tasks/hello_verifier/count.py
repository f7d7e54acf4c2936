"""Lab 17, task count: packets that really arrive at a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import probe, program, state
from glasshive.lab.checks.outcome import all_of, good
from glasshive.lab.checks.probe import Probe
from glasshive.lab.checks.program import Counts, Row, Table
from glasshive.lab.draw import Draw
from glasshive.lab.packets import ICMP, UDP, udp
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.lab.tasks.hello_verifier.frames import PASS, PROTOCOLS, others
from glasshive.lab.written import attaches, changed, exercise, teaching, writes
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_POD, _CLIENT = "web", "client"
_POD_DEVICE = 2  # eth0 has this number in every pod


def draw_count(seed: Draw) -> dict[str, Any]:
    """How many of each are sent."""
    return {"pings": seed.integer(2, 4), "datagrams": seed.integer(5, 8)}


def setup_count(lab: Lab, _: Given) -> None:
    """A pod that is talked to, and one that talks."""
    lab.pod(_POD, node="node1")
    lab.pod(_CLIENT, node="node2", image="glasshive/client")


def count_ready(reader: ClusterReader, _: Given) -> CheckResult:
    """Both are there."""
    found = state.pod_ready(reader, _POD)
    return state.pod_ready(reader, _CLIENT) if found else found


def count_attached(reader: ClusterReader, _: Given) -> CheckResult:
    """It is in the kernel, and at the pod's device, where packets come in."""
    read = "the section about packets that really arrive"
    wanted = {f"tcx ingress of eth0 in {_POD}": ("tcx_ingress", _POD_DEVICE)}
    return all_of(
        lambda: program.loaded(reader, "count", {"count": "sched_cls"}, maps=[Table("hits", least=18)], read=read),
        lambda: program.attached(reader, "count", wanted, why="a loaded program sees no packet until it is attached"),
    )


def count_live(reader: ClusterReader, given: Given) -> CheckResult:
    """What other pods send is counted, packet by packet."""
    probes = [Probe(_CLIENT, _POD, protocol="ping")] * given["pings"]
    probes += [Probe(_CLIENT, _POD, port=9000, protocol="udp")] * given["datagrams"]
    wanted: Counts = {(ICMP,): given["pings"], (UDP,): given["datagrams"]}
    return program.counted(
        reader, "count", "hits", lambda: probe.send(reader, probes), wanted,
        words=lambda key: PROTOCOLS.get(int(str(key[0])), f"protocol {key[0]}"), why="one more for each packet",
    )  # fmt: skip


def count_passes(reader: ClusterReader, _: Given) -> CheckResult:
    """Nobody notices that it is there."""
    ways = [Probe(_CLIENT, _POD), Probe(_CLIENT, _POD, protocol="ping"), Probe(_POD, _CLIENT, protocol="ping"),
            Probe(_CLIENT, _POD, family="ipv6")]  # fmt: skip
    with program.undisturbed(reader):
        live = probe.allowed(reader, ways, why="who counts lets pass", state="drops")
        if not live:
            return live
        ran = program.ruled(reader, "count", [Row("UDP", udp(), PASS, "drops"), *others()])
        return good(live.observed) if ran else ran


_count = exercise("count")
_HERE = (attaches("count", _POD, "tcx ingress"),)
COUNT = Task(
    id="count",
    title="Packets that really arrive",
    points=25,
    text=f"Complete the program count: for each IPv4 packet one more in its map hits, at the number of the packet's "
    f"protocol. Then attach it to pod {_POD}, where packets come in.",
    draw=draw_count,
    setup=setup_count,
    ready=count_ready,
    checks=(
        Check("attached", f"it is loaded, and where packets come in to {_POD}", 15, "state", count_attached),
        Check("live", "it counts what other pods send, packet by packet", 40, "probe", count_live, needs=("attached",)),
        Check("passes", "nobody notices it", 45, "invariant", count_passes, needs=("live",), negative=True),
    ),
    hints=(
        Hint(
            "attached",
            (
                "A look-up gives a pointer or nothing, and the verifier wants to see that you have asked.",
                "if (count) in front of what is done with *count.",
                "__u64 *count = bpf_map_lookup_elem(&hits, &protocol); if (count) __sync_fetch_and_add(count, 1);",
            ),
            state="absent",
        ),
        Hint(
            "attached",
            (
                "The program is loaded. Loading is not attaching: no packet comes to it yet.",
                "attach(place, hook) takes the pod's name and a hook of these: xdp, tcx ingress, tcx egress.",
                'count.attach("web", "tcx ingress")',
            ),
        ),
        Hint(
            "live",
            (
                "It is attached, and its map does not say what was sent. Does it say less, or another protocol?",
                "The key is the number of the protocol in the IPv4 header, as __u32; one more for each packet.",
                "__u32 protocol = ip->protocol; look it up in hits; add 1 where the pointer points.",
            ),
        ),
        Hint(
            "passes",
            (
                "The counts are right, and something that worked before does not.",
                "What does the program return, and for which packets?",
                "return TC_ACT_OK, in every case.",
            ),
        ),
    ),
    solutions=(
        writes("shared_counters", "One counter for each protocol, added to atomically.", "count", _count, _HERE),
        writes("counters_per_cpu", "Each CPU has its own: no atomic addition is needed.", "count",
               teaching("count_per_cpu"), _HERE),
    ),
    mutants=(
        Mutant(writes("not_attached", "It is loaded, and attached nowhere.", "count", _count), "attached"),
        Mutant(
            writes("on_the_way_out", "It sees what the pod sends, not what it is sent.", "count", _count,
                   (attaches("count", _POD, "tcx egress"),)),
            "attached",
        ),
        Mutant(
            writes("writes_one", "It says 1, however many there were.", "count",
                   changed(_count, ("__sync_fetch_and_add(count, 1)", "*count = 1")), _HERE),
            "live",
        ),
        Mutant(
            writes("drops_tcp", "It counts right, and drops TCP.", "count",
                   changed(_count, ("return TC_ACT_OK; // counted", "return protocol == IPPROTO_TCP ? 2 : TC_ACT_OK;")),
                   _HERE),
            "passes",
        ),
    ),
)  # fmt: skip

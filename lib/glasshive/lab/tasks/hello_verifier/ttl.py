"""Lab 17, task ttl: a pointer into the packet that nobody has checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import program
from glasshive.lab.checks.program import Row
from glasshive.lab.draw import Draw
from glasshive.lab.packets import tcp, udp
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.lab.tasks.hello_verifier.frames import DROP, PASS, others
from glasshive.lab.written import changed, exercise, teaching, writes
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader

LIMIT = 10


def draw_ttl(seed: Draw) -> dict[str, Any]:
    """Two times to live, on either side of the limit."""
    return {"low": seed.integer(1, LIMIT - 2), "high": seed.integer(LIMIT + 1, 250)}


def ttl_loaded(reader: ClusterReader, _: Given) -> CheckResult:
    """It is in the kernel."""
    return program.loaded(reader, "ttl", {"ttl": "sched_cls"}, read="the section about packet pointers")


def ttl_drops(reader: ClusterReader, given: Given) -> CheckResult:
    """Packets that are nearly spent are dropped, up to the limit and no further."""
    rows = [
        *(Row(f"TTL {ttl}", udp(ttl=ttl), DROP, "lets-through") for ttl in (given["low"], LIMIT - 1)),
        *(Row(f"TTL {ttl}", udp(ttl=ttl), PASS, "too-strict") for ttl in (LIMIT, given["high"], 255)),
        Row(f"TCP, TTL {given['low']}", tcp(ttl=given["low"]), DROP, "lets-through"),
    ]
    return program.ruled(reader, "ttl", rows, why=f"below {LIMIT} is dropped, {LIMIT} is not")


def ttl_others(reader: ClusterReader, _: Given) -> CheckResult:
    """What is no IPv4 packet, or too short to be one, passes."""
    why = "a program sees every frame of its device: what it is not about, it lets pass"
    return program.ruled(reader, "ttl", others(), why=why)


_ttl = exercise("ttl")
_PROOF = "if ((void *)(ip + 1) > end)\n\t\treturn TC_ACT_OK;"
TTL = Task(
    id="ttl",
    title="A pointer into the packet",
    points=25,
    text=f"The program ttl is to drop IPv4 packets whose time to live is below {LIMIT}, and to let everything else "
    "pass. The verifier refuses it. Mend it so that it is loaded, and right.",
    draw=draw_ttl,
    checks=(
        Check("loaded", "ttl is in the kernel", 10, "state", ttl_loaded),
        Check("drops", "it drops what is below the limit, and only that", 45, "probe", ttl_drops, needs=("loaded",)),
        Check("others", "it lets other frames pass", 45, "invariant", ttl_others, needs=("drops",), negative=True),
    ),
    hints=(
        Hint(
            "loaded",
            (
                "The verifier says which register points where, and how many bytes behind it are known to exist: r=0.",
                "skb->data_end is where the packet ends. Compare with it before you read.",
                "if ((void *)(ip + 1) > end) return TC_ACT_OK; belongs in front of the first read.",
            ),
        ),
        Hint(
            "drops",
            (
                "The program is loaded, but its limit is not the one that was asked for.",
                f"A packet with TTL {LIMIT} passes, one with TTL {LIMIT - 1} does not.",
                f"ip->ttl < {LIMIT} and nothing else decides.",
            ),
        ),
        Hint(
            "others",
            (
                "The program is right about IPv4. What does it do with a frame that is too short, or no IPv4?",
                "Look at the verdict that is returned when the proof fails, and at eth->h_proto.",
                "Both ways out return TC_ACT_OK: too short, and h_proto other than bpf_htons(ETH_P_IP).",
            ),
        ),
    ),
    solutions=(
        writes("with_a_proof", "One comparison in front of the first read.", "ttl", _ttl),
        writes("with_a_helper", "The helper copies, and says whether it could.", "ttl", teaching("ttl_copied")),
    ),
    mutants=(
        Mutant(
            writes("one_too_many", "Its limit is one too high.", "ttl", changed(_ttl, ("ttl < 10", "ttl <= 10"))),
            "drops",
        ),
        Mutant(
            writes("drops_the_short", "What is too short to be judged is dropped.", "ttl",
                   changed(_ttl, (_PROOF, _PROOF.replace("TC_ACT_OK", "TC_ACT_SHOT")))),
            "others",
        ),
        Mutant(
            writes("any_protocol", "It takes every frame for IPv4.", "ttl",
                   changed(_ttl, ("eth->h_proto == bpf_htons(ETH_P_IP) && ", ""))),
            "others",
        ),
        Mutant(
            writes("lets_all_pass", "It is accepted because it reads nothing.", "ttl",
                   changed(_ttl, ("ip->ttl < 10", "eth->h_proto == 0"))),
            "drops",
        ),
    ),
)  # fmt: skip

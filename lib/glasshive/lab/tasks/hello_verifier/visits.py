"""Lab 17, task visits: bytes on the stack that nobody has written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import program
from glasshive.lab.checks.outcome import bad
from glasshive.lab.checks.program import Counts, Key, Row, Table
from glasshive.lab.draw import Draw
from glasshive.lab.packets import TCP, UDP, ping, tcp, udp
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.lab.tasks.hello_verifier.frames import PASS, PROTOCOLS, others
from glasshive.lab.written import changed, exercise, teaching, writes
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader


_SEEN = Table("seen", ("protocol", "port"), (), 16)


def draw_visits(seed: Draw) -> dict[str, Any]:
    """Two ports."""
    return {"port": seed.port(), "other": seed.integer(1024, 9999)}


def visits_loaded(reader: ClusterReader, _: Given) -> CheckResult:
    """It is in the kernel, with its map."""
    read = "the section about the stack"
    return program.loaded(reader, "visits", {"visits": "sched_cls"}, maps=[_SEEN], read=read)


def visits_counted(reader: ClusterReader, given: Given) -> CheckResult:
    """Each pair of protocol and port is counted as often as it was seen."""
    frames = [
        *[udp(target_port=given["port"])] * 3,
        *[tcp(target_port=given["port"])] * 2,
        udp(target_port=given["other"], payload=b"x" * 200),
        udp(target_port=given["other"]),
    ]
    wanted: Counts = {(UDP, given["port"]): 3, (TCP, given["port"]): 2, (UDP, given["other"]): 2}

    def send() -> None:
        program.pinned(reader, "visits").run_all(frames)

    return program.counted(
        reader, "visits", "seen", send, wanted, words=_pair, why="one entry for each protocol and port"
    )


def _pair(key: Key) -> str:
    return f"{PROTOCOLS.get(int(str(key[0])), key[0])} to port {key[1]}"


def visits_one_each(reader: ClusterReader, given: Given) -> CheckResult:
    """No pair has two entries, and nothing is dropped."""
    rows = program.pinned(reader, "visits").rows("seen")
    pairs = [(row["protocol"], row["port"]) for row in rows]
    twice = sorted({_pair(one) for one in pairs if pairs.count(one) > 1})
    if twice:
        return bad(f"more than one entry for {twice[0]}", "one entry for each protocol and port", state="two-entries")
    passes = [Row("UDP", udp(target_port=given["port"]), PASS), Row("ping", ping(), PASS), *others()]
    with program.undisturbed(reader):
        return program.ruled(reader, "visits", passes, why="who counts lets pass")


_visits = exercise("visits")
VISITS = Task(
    id="visits",
    title="A key without holes",
    points=25,
    text="The program visits is to count TCP and UDP packets by protocol and destination port in its map seen, and to "
    "let all packets pass. The verifier refuses to read its key. Mend it.",
    draw=draw_visits,
    checks=(
        Check("loaded", "visits is in the kernel, with its map", 10, "state", visits_loaded),
        Check("counted", "each pair is counted as often as seen", 45, "probe", visits_counted, needs=("loaded",)),
        Check("one-each", "no pair has two entries, nothing is dropped", 45, "invariant", visits_one_each,
              needs=("counted",), negative=True),
    ),
    hints=(
        Hint(
            "loaded",
            (
                "The key has four bytes, its two fields have three. Which byte does the compiler leave between them?",
                "The message counts from the key's first byte: +1 is the hole behind protocol.",
                "struct key key = {{}}; writes every byte of it, holes included.",
            ),
        ),
        Hint(
            "counted",
            (
                "The program is loaded. Compare what its map says with what was sent.",
                "Both fields of the key, and one more for each packet: is any of the three missing?",
                "key.protocol, key.port, and __sync_fetch_and_add(count, 1) when there is an entry.",
            ),
        ),
        Hint(
            "one-each",
            (
                "A hash map compares keys byte by byte, holes included; and a counting program drops nothing.",
                "What stands in the hole must be the same each time.",
                "Write zeros there: struct key key = {{}}; and return TC_ACT_OK in every case.",
            ),
        ),
    ),
    solutions=(
        writes("all_zero_first", "The whole key is written first.", "visits", _visits),
        writes("no_hole", "A key without a hole needs nothing filled.", "visits", teaching("visits_packed")),
    ),
    mutants=(
        Mutant(
            writes("counts_once", "An entry that is there is left as it is.", "visits",
                   changed(_visits, ("__sync_fetch_and_add(count, 1)", "(void)count"))),
            "counted",
        ),
        Mutant(
            writes("no_port", "It counts by protocol only.", "visits", changed(_visits, ("key.port = udp->dest;", ""))),
            "counted",
        ),
        Mutant(
            writes("drops_what_it_counts", "It counts right, and drops.", "visits",
                   changed(_visits, ("return TC_ACT_OK; // counted", "return TC_ACT_SHOT;"))),
            "one-each",
        ),
        Mutant(
            writes("junk_in_the_hole", "The hole holds the packet's length.", "visits",
                   changed(_visits, ("key.port = udp->dest;", "key.port = udp->dest, ((__u8 *)&key)[1] = skb->len;"))),
            "counted",
        ),
    ),
)  # fmt: skip

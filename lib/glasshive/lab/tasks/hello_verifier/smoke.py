"""Lab 17, task smoke: a loop that nobody can see the end of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import program
from glasshive.lab.checks.program import Row
from glasshive.lab.draw import Draw
from glasshive.lab.packets import udp
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.lab.tasks.hello_verifier.frames import DROP, PASS, others
from glasshive.lab.written import changed, exercise, teaching, writes
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader

SMOKE_TYPE = 7


def draw_smoke(seed: Draw) -> dict[str, Any]:
    """Where the smoke is, and what is harmless."""
    return {"at": seed.choice([3, 5, 7]), "harmless": seed.choice([1, 2, 3, 5, 8, 9])}


def _items(*kinds: int, value: bytes = b"") -> bytes:
    """A datagram of items: type, length of the whole item, value."""
    return udp(b"".join(bytes([kind, 2 + len(value)]) + value for kind in kinds))


def smoke_loaded(reader: ClusterReader, _: Given) -> CheckResult:
    """It is in the kernel."""
    return program.loaded(reader, "smoke", {"smoke": "sched_cls"}, read="the section about loops")


def smoke_found(reader: ClusterReader, given: Given) -> CheckResult:
    """Smoke is found wherever it is among the first sixteen items, and only there."""
    calm = given["harmless"]
    rows = [
        Row("smoke first", _items(SMOKE_TYPE, calm), DROP, "missed"),
        Row("smoke later", _items(*[calm] * given["at"], SMOKE_TYPE, calm, value=b"abc"), DROP, "missed"),
        Row("smoke as item 16", _items(*[calm] * 15, SMOKE_TYPE), DROP, "missed-far"),
        Row("no smoke", _items(calm, calm, calm), PASS, "false-alarm"),
    ]
    return program.ruled(reader, "smoke", rows, why="a loop with a limit still has to go far enough")


def smoke_calm(reader: ClusterReader, given: Given) -> CheckResult:
    """Bytes that only look like smoke raise no alarm; a strange datagram ends the walk, not the program."""
    calm = given["harmless"]
    rows = [
        Row("7 as a value", _items(calm, calm, value=bytes([SMOKE_TYPE, SMOKE_TYPE])), PASS, "reads-values"),
        Row("7 as a length", udp(bytes([calm, 7, 0, 0, 0, 0, 0, calm, 2])), PASS, "reads-values"),
        Row("an item of length 0", udp(bytes([calm, 0] * 4)), PASS, "false-alarm"),
        Row("an empty datagram", udp(b""), PASS, "false-alarm"),
        *others(),
    ]
    return program.ruled(reader, "smoke", rows, why="an item's length says where the next one begins")


_smoke = exercise("smoke")
_BOUND = "i < 16"
SMOKE = Task(
    id="smoke",
    title="A loop with an end",
    points=25,
    text="A datagram holds items: one byte of type, one byte of length (of the whole item), then the value. The "
    "program smoke is to drop datagrams in which one of the first 16 items is of type 7, and to let all others pass. "
    "The verifier sees no end to its loop. Mend it.",
    draw=draw_smoke,
    checks=(
        Check("loaded", "smoke is in the kernel", 10, "state", smoke_loaded),
        Check("found", "it finds smoke among the first 16 items", 45, "probe", smoke_found, needs=("loaded",)),
        Check("calm", "it raises no false alarm", 45, "invariant", smoke_calm, needs=("found",), negative=True),
    ),
    hints=(
        Hint(
            "loaded",
            (
                "An item's length comes from the packet: it may be 0, and then the loop never moves.",
                "Sixteen items are enough. Say so where the compiler, and the verifier, can see it.",
                "for (int i = 0; i < 16; i++), and leave when bpf_skb_load_bytes fails.",
            ),
        ),
        Hint(
            "found",
            (
                "The loop ends, but it does not find all smoke, or finds smoke where there is none.",
                "Are all of the first 16 items looked at, and is it the type that is compared?",
                "item.type == 7 in each of 16 rounds; at += item.length between them.",
            ),
        ),
        Hint(
            "calm",
            (
                "What follows an item's head is its value: any bytes at all.",
                "Only the byte at an item's beginning is a type.",
                "Move on by item.length, never by a fixed number of bytes.",
            ),
        ),
    ),
    solutions=(
        writes("counted_loop", "A loop with a constant limit.", "smoke", _smoke),
        writes("called_back", "bpf_loop calls a function sixteen times.", "smoke", teaching("smoke_called_back")),
    ),
    mutants=(
        Mutant(writes("only_four", "It gives up too soon.", "smoke", changed(_smoke, (_BOUND, "i < 4"))), "found"),
        Mutant(
            writes("byte_by_byte", "It moves on by one byte, whatever the item says.", "smoke",
                   changed(_smoke, ("at += item.length", "at += 1"), (_BOUND, "i < 64"))),
            "calm",
        ),
        Mutant(
            writes("pairs", "It takes every item for an empty one.", "smoke",
                   changed(_smoke, ("at += item.length", "at += sizeof(item)"), (_BOUND, "i < 32"))),
            "found",
        ),
        Mutant(
            writes("drops_what_ends", "It drops a datagram when the items are at their end.", "smoke",
                   changed(_smoke, ("break;", "return TC_ACT_SHOT;"))),
            "found",
        ),
    ),
)  # fmt: skip

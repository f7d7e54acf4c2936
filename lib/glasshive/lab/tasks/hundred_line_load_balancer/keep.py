"""Lab 19, task keep: conntrack. A connection stays with its backend, as long as that one lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import program
from glasshive.lab.checks.balanced import trial
from glasshive.lab.checks.outcome import bad, good
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.lab.tasks.hundred_line_load_balancer.forward import BALANCE, STATELESS
from glasshive.lab.written import changed, teaching, writes
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader

_CLIENTS = 90


def draw(seed: Draw) -> dict[str, Any]:
    """Who the clients are, and which backend is lost."""
    return {"client": seed.integer(0, 20_000), "lost": seed.integer(0, 2)}


def stays(reader: ClusterReader, given: Given) -> CheckResult:
    """A connection stays where it is when a backend is added, and when one that was lost comes back."""
    clients = range(given["client"], given["client"] + _CLIENTS)
    with trial(program.pinned(reader, "balance"), 3) as service:
        first = service.numbers(clients)
        service.serve(4)
        added = service.numbers(clients)
        service.mark(given["lost"], alive=False)
        without = service.numbers(clients)
        service.mark(given["lost"], alive=True)
        again = service.numbers(clients)
    moved = _moved(first, added)
    if moved:
        told, why = (
            f"{moved} of {_CLIENTS} connections moved when a backend was added",
            "the new one knows none of them",
        )
        return bad(told, "none moves", why=why, read="the section about memory", state="moved")
    moved = _moved(without, again)
    if moved:
        told = f"{moved} of {_CLIENTS} connections moved when a lost backend came back"
        return bad(told, "none moves", why="they have been with another one since", state="went-back")
    return good(f"{_CLIENTS} connections stay when a backend is added, and when one comes back")


def _moved(before: list[int], after: list[int]) -> int:
    return sum(one != other for one, other in zip(before, after, strict=True))


def survives(reader: ClusterReader, given: Given) -> CheckResult:
    """A backend that is lost gets no packet; its connections go to others, and only those."""
    clients, lost = range(given["client"], given["client"] + _CLIENTS), given["lost"]
    with trial(program.pinned(reader, "balance"), 3) as service:
        before = service.numbers(clients)
        service.mark(lost, alive=False)
        after = service.numbers(clients)
        fresh = service.numbers(range(given["client"] + 1000, given["client"] + 1000 + _CLIENTS))
    to_lost = after.count(lost) + fresh.count(lost)
    if to_lost:
        told = f"{to_lost} packets went to the backend that is lost"
        return bad(told, "no packet goes there", why="nobody is there to answer", state="to-the-lost")
    if -1 in after + fresh:
        return bad("packets went nowhere, though two backends live", "each goes to a living backend", state="nowhere")
    moved = sum(one != other for one, other in zip(before, after, strict=True) if one != lost)
    if moved:
        return bad(
            f"{moved} connections of living backends moved too", "only those of the lost one move", state="moved"
        )
    return good(f"{before.count(lost)} connections moved to living backends, no other; none goes to the lost one")


KEEP = Task(
    id="keep",
    title="Remember every connection",
    points=30,
    text="Give forward() a memory: the table connections says which backend a connection was given. It stays there as "
    "long as that backend is alive, whatever becomes of others; if it is gone, the connection gets another one, and "
    "stays with that.",
    draw=draw,
    after=("forward",),
    checks=(
        Check("stays", "connections stay when a backend is added, or comes back", 45, "probe", stays),
        Check("survives", "a lost backend gets no packet, and only its connections move", 55, "invariant", survives,
              needs=("stays",), negative=True),
    ),
    hints=(
        Hint(
            "stays",
            (
                "With another number of backends the same hash leads elsewhere. Who remembers where a connection went?",
                "Look flow up in connections first; choose only if there is nothing, or nobody alive.",
                "After each choice: bpf_map_update_elem(&connections, &flow, &number, BPF_ANY);",
            ),
        ),
        Hint(
            "survives",
            (
                "What is remembered may be out of date: the backend may be gone.",
                "Look the remembered backend up, and ask whether it is alive.",
                "if (!backend || !backend->alive), choose anew and remember that.",
            ),
        ),
    ),
    solutions=(
        writes("next_living", "From the hash on, the next that is alive; remembered.", "balance", BALANCE),
        writes("by_weights", "The backend that draws the highest number; remembered.", "balance",
               teaching("balance_weights")),
    ),
    mutants=(
        Mutant(writes("forgets", "It writes connections down and never looks.", "balance", STATELESS), "stays"),
        Mutant(
            writes("trusts_the_dead", "It sends to the remembered backend, alive or not.", "balance",
                   changed(BALANCE, ("if (!backend || !backend->alive) {", "if (!backend) {"))),
            "survives",
        ),
        Mutant(
            writes("remembers_once", "It does not write down that a connection has moved.", "balance",
                   changed(BALANCE, ("&number, BPF_ANY);", "&number, BPF_NOEXIST);"))),
            "stays",
        ),
        Mutant(
            writes("chooses_the_dead", "New connections may go to a backend that is gone.", "balance",
                   changed(BALANCE, ("if (backend && backend->alive)\n", "if (backend)\n"))),
            "survives",
        ),
    ),
)  # fmt: skip

"""Lab 19, task live: HTTP from a pod, through the learner's program, to real pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.asked import Asked, ask
from glasshive.lab.balancer import Balancer
from glasshive.lab.checks import invariant, program, state
from glasshive.lab.checks.outcome import all_of, bad, good
from glasshive.lab.checks.probe import Probe
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.lab.tasks.hundred_line_load_balancer.forward import BALANCE
from glasshive.lab.written import Step, attaches, changed, teaching, writes
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_CLIENT, _BEES = "client", ("bee1", "bee2", "bee3")
_SERVICE, _PORT, _BEE_PORT = "192.0.2.10", 80, 8080
_DEVICE = 2  # eth0 has this number in every pod
_REQUESTS = 60  # a bee with a third of them gets none with a chance of 1 in 10**10
_WAIT_S = 5.0


def draw(seed: Draw) -> dict[str, Any]:
    """On which node the client is."""
    return {"node": seed.choice(["node1", "node2", "node3"])}


def setup(lab: Lab, given: Given) -> None:
    """A client, and three bees on three nodes."""
    lab.pod(_CLIENT, node=given["node"], image="glasshive/client", wait_s=0)
    for number, bee in enumerate(_BEES, 1):
        lab.pod(bee, node=f"node{number}", wait_s=0)
    for name in (_CLIENT, *_BEES):
        lab.cluster.wait("pod", name, timeout=30, namespace=lab.namespace)


def ready(reader: ClusterReader, _: Given) -> CheckResult:
    """All are there."""
    return all_of(*(lambda name=name: state.pod_ready(reader, name) for name in (_CLIENT, *_BEES)))


def attached(reader: ClusterReader, _: Given) -> CheckResult:
    """Both programs are at the client's device."""
    wanted = {
        f"tcx egress of eth0 in {_CLIENT}": ("tcx_egress", _DEVICE),
        f"tcx ingress of eth0 in {_CLIENT}": ("tcx_ingress", _DEVICE),
    }
    return program.attached(reader, "balance", wanted, why="what goes out is rewritten, and what comes back too")


def answered(reader: ClusterReader, _: Given) -> CheckResult:
    """Every request is answered, and every bee that is ready has answered some."""
    bees = sorted(one.name for one in reader.pods() if one.name.startswith("bee") and one.ready)

    def run(argv: Any, most_s: float) -> str:
        return reader.exec(_CLIENT, argv, timeout_s=most_s).stdout

    found: Asked = ask(run, _SERVICE, _PORT, _REQUESTS, _WAIT_S)
    if len(found.answers) < _REQUESTS:
        wanted = f"{_REQUESTS} answered, by {', '.join(bees)}"
        why = "the answer must come from the address that was called, and every backend that is served must be alive"
        return bad(str(found), wanted, why=why, state="some" if found.answers else "none")
    if found.pods != bees:
        return bad(str(found), f"answered by {', '.join(bees)}", why="each bee has a share", state="not-all")
    return good(str(found))


def direct(reader: ClusterReader, _: Given) -> CheckResult:
    """What is not for the service goes as before."""
    bee = next(one.name for one in reader.pods() if one.name.startswith("bee") and one.ready)
    ways = [Probe(_CLIENT, bee), Probe(_CLIENT, bee, protocol="ping"), Probe(_CLIENT, bee, port=9000, protocol="udp"),
            Probe(bee, _CLIENT, protocol="ping"), Probe(_CLIENT, bee, family="ipv6")]  # fmt: skip
    return invariant.still_answered(reader, ways, why="plain routing to a pod's own address is none of its business")


def _serve(lab: Lab, _: Given) -> None:
    """A step: serve the three bees."""
    Balancer(lab.workshop.program("balance")).serve(_SERVICE, _PORT, [(lab.address(bee), _BEE_PORT) for bee in _BEES])


def _serve_a_stranger(lab: Lab, _: Given) -> None:
    """A step: serve a backend that is not there, as if it were alive."""
    ends = [*(lab.address(bee) for bee in _BEES), lab.free_address("node1")]
    Balancer(lab.workshop.program("balance")).serve(_SERVICE, _PORT, [(end, _BEE_PORT) for end in ends])


def _mark_the_stranger(lab: Lab, _: Given) -> None:
    """A step: say that the fourth backend is gone."""
    Balancer(lab.workshop.program("balance")).mark(3, alive=False)


_OUT: Step = attaches("balance", _CLIENT, "tcx egress", "forward")
_IN: Step = attaches("balance", _CLIENT, "tcx ingress", "backward")
LIVE = Task(
    id="live",
    title="Real requests, real pods",
    points=30,
    text=f"Attach forward at tcx egress and backward at tcx ingress of pod {_CLIENT}, and serve {_SERVICE}:{_PORT} "
    f"from the bees ({', '.join(_BEES)}), port {_BEE_PORT}: every request is answered, every bee that is ready has a "
    "share, and none goes to one that is gone.",
    draw=draw,
    setup=setup,
    ready=ready,
    after=("keep",),
    checks=(
        Check("attached", "forward and backward are at the client's device", 10, "state", attached),
        Check("answered", "every request is answered, every ready bee has a share", 45, "probe", answered,
              needs=("attached",)),
        Check("direct", "what is not for the service goes as before", 45, "invariant", direct, needs=("answered",),
              negative=True),
    ),
    hints=(
        Hint(
            "attached",
            (
                "Two programs, two directions, one device: seen from the pod, requests leave and answers arrive.",
                "attach(place, hook, program=...): forward where packets leave the pod, backward where they arrive.",
                'balance.attach("client", "tcx egress", program="forward"), and "tcx ingress" for backward.',
            ),
        ),
        Hint(
            "answered",
            (
                "Requests leave, and no answer is accepted. What does the table answers hold?",
                "Is the service served? hive.backends() says. And forward() must note whom an answer will come from.",
                'hive = Balancer(balance); hive.serve("192.0.2.10", 80, [(lab.address("bee1"), 8080), ...])',
            ),
            state="none",
        ),
        Hint(
            "answered",
            (
                "Some requests are answered and some are not, or not by all. Which backends does the table hold?",
                "hive.backends() lists them. One that nobody answers at must not be alive there.",
                "hive.mark(number, alive=False) for it; or serve again with the bees that are ready.",
            ),
        ),
        Hint(
            "direct",
            (
                "Requests to the service work; plain ones to a pod's own address do not.",
                "What do forward and backward do with packets that no table knows?",
                "They return TC_ACT_OK and change nothing.",
            ),
        ),
    ),
    solutions=(
        writes("three_bees", "The three bees are served.", "balance", BALANCE, (_OUT, _IN, _serve)),
        writes("one_is_gone", "A fourth backend is served, and marked as gone.", "balance", teaching("balance_weights"),
               (_serve_a_stranger, _mark_the_stranger, _OUT, _IN)),
    ),
    mutants=(
        Mutant(
            writes("one_way", "Only requests are rewritten.", "balance", BALANCE, (_OUT, _serve)),
            "attached",
        ),
        Mutant(
            writes("no_answers", "It does not note where answers will come from.", "balance",
                   changed(BALANCE, ("bpf_map_update_elem(&answers, &back, &flow.target, BPF_ANY);", "")),
                   (_OUT, _IN, _serve)),
            "answered",
        ),
        Mutant(
            writes("a_stranger", "One of the backends is an address that nobody has.", "balance", BALANCE,
                   (_OUT, _IN, _serve_a_stranger)),
            "answered",
        ),
        Mutant(
            writes("the_wrong_way_round", "forward is where packets arrive, backward where they leave.", "balance",
                   BALANCE, (attaches("balance", _CLIENT, "tcx ingress", "forward"),
                             attaches("balance", _CLIENT, "tcx egress", "backward"), _serve)),
            "answered",
        ),
    ),
)  # fmt: skip

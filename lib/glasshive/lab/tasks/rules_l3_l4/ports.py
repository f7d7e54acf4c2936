"""Lab 09, second task: a range of ports, to the number, and a ping, which has no port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import invariant, probe
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.doors import cilium_policy, labelled, ports
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_PING = [{"type": "EchoRequest"}, {"family": "IPv6", "type": "EchoRequest"}]


def draw(seed: Draw) -> dict[str, Any]:
    """A server and a client, another pod, and a range of more ports than one list may name."""
    names = [seed.name() for _ in range(3)]
    low = seed.port()
    high = low + seed.integer(60, 200)
    middle = low + seed.integer(10, 50)
    return {
        "server": f"{names[0]}-media", "client": f"{names[1]}-viewer", "other": f"{names[2]}-guest",
        "low": low, "high": high, "middle": middle,
    }  # fmt: skip


def setup(lab: Lab, given: Given) -> None:
    """The server listens inside the range, at its ends, and one beyond each."""
    low, middle, high = given["low"], given["middle"], given["high"]
    listens = [f"--http={port}" for port in (low - 1, low, middle, high, high + 1)]
    lab.pod(given["server"], node="node3", args=[*listens, f"--udp={middle}"])
    lab.pod(given["client"], node="node1")
    lab.pod(given["other"], node="node3")


def _at(given: Given, *at: int) -> list[Probe]:
    return [Probe(given["client"], given["server"], port) for port in at]


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """All of it answers."""
    low, middle, high = given["low"], given["middle"], given["high"]
    udp = Probe(given["client"], given["server"], middle, "udp")
    return probe.allowed(reader, [*_at(given, low - 1, low, middle, high, high + 1), udp])


def edges(reader: ClusterReader, given: Given) -> CheckResult:
    """One below, one above, UDP, and the other pod do not get in; both ends do."""
    low, middle, high = given["low"], given["middle"], given["high"]
    shut = [
        *_at(given, low - 1, high + 1),
        Probe(given["client"], given["server"], middle, "udp"),
        Probe(given["other"], given["server"], middle),
        Probe(given["other"], given["server"], protocol="ping"),
    ]
    why = "port is the first of a range and endPort its last, both included"
    return probe.denied(
        reader, both_families(*shut), otherwise=_at(given, low, middle, high), why=why, read="the section about ports"
    )


def pings(reader: ClusterReader, given: Given) -> CheckResult:
    """The client's ping is answered, in both families."""
    way = Probe(given["client"], given["server"], protocol="ping")
    why = "a ping has no port: no toPorts lets it in, and each family has its own type"
    return probe.allowed(reader, both_families(way), why=why, read="the section about ports", state="no-ping")


def inside(reader: ClusterReader, given: Given) -> CheckResult:
    """The range is open in both families."""
    return probe.allowed(reader, both_families(*_at(given, given["low"], given["middle"], given["high"])))


def others(reader: ClusterReader, given: Given) -> CheckResult:
    """What the server sends, and the pods beside it."""
    ways = [Probe(given["server"], given["client"]), Probe(given["client"], given["other"])]
    return invariant.still_answered(reader, ways, why="only what comes in at the server was to be restricted")


def _policy(given: Given, *more: dict[str, Any], low: int = 0, high: int = 0, protocol: str = "TCP") -> dict[str, Any]:
    """The client may use the range, and what ``more`` says."""
    who = {"fromEndpoints": [labelled(app=given["client"])]}
    span = ports(low or given["low"], protocol=protocol, end=high or given["high"])
    rules = [{**who, "toPorts": span}, *({**who, **one} for one in more)]
    return cilium_policy("media", {"app": given["server"]}, ingress=rules)


def a_range_and_a_ping(lab: Lab, given: Given) -> None:
    """Two rules, as toPorts and icmps cannot stand in one."""
    lab.policy(_policy(given, {"icmps": [{"fields": _PING}]}))


def two_policies(lab: Lab, given: Given) -> None:
    """One policy for the ports, one for the ping: what one allows, another does not take away."""
    rule = {"fromEndpoints": [labelled(app=given["client"])], "icmps": [{"fields": _PING}]}
    lab.policy(_policy(given), cilium_policy("media-ping", {"app": given["server"]}, ingress=[rule]))


def one_short(lab: Lab, given: Given) -> None:
    """endPort was taken for the first port that is no longer meant."""
    lab.policy(_policy(given, {"icmps": [{"fields": _PING}]}, high=given["high"] - 1))


def one_too_many(lab: Lab, given: Given) -> None:
    """The range begins one below."""
    lab.policy(_policy(given, {"icmps": [{"fields": _PING}]}, low=given["low"] - 1))


def any_protocol(lab: Lab, given: Given) -> None:
    """UDP gets in too."""
    lab.policy(_policy(given, {"icmps": [{"fields": _PING}]}, protocol="ANY"))


def no_ping(lab: Lab, given: Given) -> None:
    """The ping was forgotten."""
    lab.policy(_policy(given))


def half_a_ping(lab: Lab, given: Given) -> None:
    """IPv6 was forgotten: its echo request is another type of another protocol."""
    lab.policy(_policy(given, {"icmps": [{"fields": _PING[:1]}]}))


PORTS = Task(
    id="ports",
    title="A range, to the number",
    points=25,
    text="{client} may reach {server} at the TCP ports {low} to {high}, both included, and may ping it, over IPv4 and "
    "IPv6. Nothing else of other pods reaches {server}. What {server} sends stays open.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("edges", "what is beside the range is shut", 40, "probe", edges, negative=True),
        Check("pings", "it can be pinged, over IPv4 and IPv6", 20, "probe", pings, needs=("edges",)),
        Check("inside", "the range is open, in both families", 20, "probe", inside, needs=("pings",)),
        Check("others", "nothing else is restricted", 20, "invariant", others, needs=("pings",), negative=True),
    ),
    hints=(
        Hint(
            "edges",
            (
                "Look at which port was answered and should not have been: one below, one above, or another protocol?",
                'lab.policy_view("{server}") shows the blocks of ports that your range has become.',
                'toPorts: [{{ports: [{{port: "{low}", endPort: {high}, protocol: TCP}}]}}], beside fromEndpoints',
            ),
        ),
        Hint(
            "edges",
            (
                "A port that should be open is not. The first and the last of the range belong to it.",
                'Which one? lab.why("{client}", "{server}", "{high}/TCP") says what nearly matched.',
                'port: "{low}" and endPort: {high}, and the label of the client in fromEndpoints',
            ),
            state="way-broken",
        ),
        Hint(
            "pings",
            (
                "A ping has no port, so nothing under toPorts speaks of it.",
                "A second rule of the same policy: fromEndpoints as before, and icmps in place of toPorts.",
                "icmps: [{{fields: [{{type: EchoRequest}}, {{family: IPv6, type: EchoRequest}}]}}]",
            ),
        ),
    ),
    solutions=(a_range_and_a_ping, two_policies),
    mutants=(
        Mutant(one_short, caught_by="edges"),
        Mutant(one_too_many, caught_by="edges"),
        Mutant(any_protocol, caught_by="edges"),
        Mutant(no_ping, caught_by="pings"),
        Mutant(half_a_ping, caught_by="pings"),
    ),
)

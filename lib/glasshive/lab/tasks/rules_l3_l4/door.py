"""Lab 09, first task: one rule that names both who and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import flow, invariant, probe
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.doors import cilium_policy, labelled, ports
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_OPEN = (8080, 9000)


def draw(seed: Draw) -> dict[str, Any]:
    """A server, two pods of one team and one of another, a port of the two that the server has."""
    server, team, other = seed.name(), seed.name(), seed.name()
    return {
        "server": f"{server}-store", "team": team, "first": f"{team}-buyer", "second": f"{team}-seller",
        "stranger": f"{other}-buyer", "other": other, "port": seed.choice(_OPEN),
    }  # fmt: skip


def setup(lab: Lab, given: Given) -> None:
    """Four pods on three nodes."""
    lab.pod(given["server"], node="node1")
    lab.pod(given["first"], node="node2", labels={"team": given["team"]})
    lab.pod(given["second"], node="node3", labels={"team": given["team"]})
    lab.pod(given["stranger"], node="node2", labels={"team": given["other"]})


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """Everybody reaches the server."""
    sources = (given["first"], given["second"], given["stranger"])
    return probe.allowed(reader, [_to(given, source, port) for source in sources for port in _OPEN])


def _to(given: Given, source: str, port: int = 0) -> Probe:
    port = port or given["port"]
    return Probe(source, given["server"], port, "http" if port == 8080 else "tcp")


def closed(reader: ClusterReader, given: Given) -> CheckResult:
    """The other team, the other port and pings do not get in, while both pods of the team do."""
    elsewhere = next(one for one in _OPEN if one != given["port"])
    shut = [
        _to(given, given["stranger"]),
        _to(given, given["stranger"], elsewhere),
        _to(given, given["first"], elsewhere),
        Probe(given["first"], given["server"], 9000, "udp"),
        Probe(given["first"], given["server"], protocol="ping"),
    ]
    team = [_to(given, given["first"]), _to(given, given["second"])]
    why = "a rule that names peers and ports lets in who is both: such a peer, at such a port"
    return probe.denied(reader, both_families(*shut), otherwise=team, why=why, read="the section about the dash")


def others(reader: ClusterReader, given: Given) -> CheckResult:
    """What the server sends, and what the others do among themselves."""
    ways = [
        Probe(given["server"], given["stranger"]),
        Probe(given["server"], given["first"], protocol="ping"),
        Probe(given["first"], given["stranger"]),
        Probe(given["stranger"], given["second"]),
    ]
    return invariant.still_answered(reader, ways, why="only what comes in at the server was to be restricted")


def team_in(reader: ClusterReader, given: Given) -> CheckResult:
    """Both pods of the team get in, in both families."""
    ways = both_families(_to(given, given["first"]), _to(given, given["second"]))
    return probe.allowed(reader, ways, why="the rule is about a label, whoever has it")


def key(reader: ClusterReader, given: Given) -> CheckResult:
    """The row that decided names an identity and a port."""
    way = [_to(given, given["first"])]
    return flow.judged_as(reader, way, "allow", match="l3-l4", why="peer and port were to be in one rule")


def by_label(lab: Lab, given: Given) -> None:
    """One rule: from the team, at the port."""
    rule = {"fromEndpoints": [labelled(team=given["team"])], "toPorts": ports(given["port"])}
    lab.policy(cilium_policy("store", {"app": given["server"]}, ingress=[rule]))


def by_expression(lab: Lab, given: Given) -> None:
    """The same with matchExpressions, which can also say NotIn, Exists and DoesNotExist."""
    team = {"matchExpressions": [{"key": "team", "operator": "In", "values": [given["team"]]}]}
    rule = {"fromEndpoints": [team], "toPorts": ports(given["port"])}
    lab.policy(cilium_policy("store", {"app": given["server"]}, ingress=[rule]))


def a_dash_too_many(lab: Lab, given: Given) -> None:
    """Two rules: the team at any port, and anybody at this one."""
    rules = [{"fromEndpoints": [labelled(team=given["team"])]}, {"toPorts": ports(given["port"])}]
    lab.policy(cilium_policy("store", {"app": given["server"]}, ingress=rules))


def any_port(lab: Lab, given: Given) -> None:
    """The port was forgotten."""
    rule = {"fromEndpoints": [labelled(team=given["team"])]}
    lab.policy(cilium_policy("store", {"app": given["server"]}, ingress=[rule]))


def one_pod_only(lab: Lab, given: Given) -> None:
    """It names a pod of the team, not the team."""
    rule = {"fromEndpoints": [labelled(app=given["first"])], "toPorts": ports(given["port"])}
    lab.policy(cilium_policy("store", {"app": given["server"]}, ingress=[rule]))


def silenced(lab: Lab, given: Given) -> None:
    """The server may not send any more."""
    rule = {"fromEndpoints": [labelled(team=given["team"])], "toPorts": ports(given["port"])}
    lab.policy(cilium_policy("store", {"app": given["server"]}, ingress=[rule], egress=[{}]))


def everybody_selected(lab: Lab, given: Given) -> None:
    """The policy selects all pods of the lab."""
    rule = {"fromEndpoints": [labelled(team=given["team"])], "toPorts": ports(given["port"])}
    lab.policy(cilium_policy("store", {}, ingress=[rule]))


DOOR = Task(
    id="door",
    title="One door, one team",
    points=25,
    text="Pods with the label team={team}, and those that get it later, may reach {server} at {port}/TCP. Nothing else "
    "of other pods reaches it: not team={other}, not another port, no ping. What {server} sends, and what others do "
    "among themselves, stays open.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("closed", "nothing else reaches it", 40, "probe", closed, negative=True),
        Check("others", "nothing else is restricted", 30, "invariant", others, needs=("closed",), negative=True),
        Check("team", "the team gets in, in both families", 15, "probe", team_in, needs=("others",)),
        Check("key", "what decided names an identity and a port", 15, "flow", key, needs=("others",)),
    ),
    hints=(
        Hint(
            "closed",
            (
                "Who gets in that should not, and at which port? No policy selects {server} as long as all do.",
                'lab.policy_view("{server}") shows rows: is there one that names the team and the port together?',
                '[{{fromEndpoints: [{{matchLabels: {{team: {team}}}}}], toPorts: [{{ports: [{{port: "{port}"}}]}}]}}]',
            ),
        ),
        Hint(
            "closed",
            (
                "Nothing gets in now, or not all of the team. Which of the two pods is not answered?",
                "Compare the labels of the pods, lab.labels(name), with those that your rule names.",
                'lab.why("{second}", "{server}", "{port}/TCP") says what would let it in.',
            ),
            state="way-broken",
        ),
        Hint(
            "others",
            (
                "Your policy restricts more than what comes in at {server}.",
                "Which pods does its endpointSelector select? Has it a section egress?",
                "endpointSelector: {{matchLabels: {{app: {server}}}}}, and ingress alone.",
            ),
        ),
    ),
    solutions=(by_label, by_expression),
    mutants=(
        Mutant(a_dash_too_many, caught_by="closed"),
        Mutant(any_port, caught_by="closed"),
        Mutant(one_pod_only, caught_by="closed"),
        Mutant(silenced, caught_by="others"),
        Mutant(everybody_selected, caught_by="others"),
    ),
)

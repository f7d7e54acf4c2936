"""Lab 10, first task: a deny rule for the whole cluster that hits more than it was meant for, and must not go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import flow, invariant, probe
from glasshive.lab.checks.outcome import all_of
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.doors import cilium_policy, clusterwide, kubernetes, labelled, ports, unchanged
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

Object = dict[str, Any]
_PORT = 8080


def draw(seed: Draw) -> dict[str, Any]:
    """A team of three, one of which has gone wrong; a server, and somebody else."""
    server, team, other = seed.name(), seed.name(), seed.name()
    members = [f"{team}-till", f"{team}-web", f"{team}-mail"]
    rogue = seed.choice(members)
    return {
        "server": f"{server}-pay", "team": team, "rogue": rogue, "mates": [one for one in members if one != rogue],
        "stranger": f"{other}-passer", "ban": f"{team}-ban", "door": f"{server}-pay",
    }  # fmt: skip


def _door(given: Given) -> Object:
    """The developers' policy: the team may ask the server."""
    rule = {"from": [{"podSelector": labelled(team=given["team"])}], "ports": [{"port": _PORT, "protocol": "TCP"}]}
    return kubernetes(given["door"], {"app": given["server"]}, ingress=[rule])


def _ban(given: Given, who: Object, whom: Object | None = None) -> Object:
    spec = {
        "endpointSelector": labelled(app=given["server"]) if whom is None else whom,
        "ingressDeny": [{"fromEndpoints": [who]}],
        "enableDefaultDeny": {"ingress": False},
    }
    return clusterwide(given["ban"], spec)


def setup(lab: Lab, given: Given) -> None:
    """The team and its server; the door, and the ban."""
    lab.pod(given["server"], node="node1")
    for name, node in zip((*given["mates"], given["rogue"]), ("node1", "node2", "node3"), strict=True):
        lab.pod(name, node=node, labels={"team": given["team"]})
    lab.pod(given["stranger"], node="node2")
    lab.policy(_door(given), _ban(given, labelled(team=given["team"])))


def _to(given: Given, source: str, port: int = _PORT) -> Probe:
    return Probe(source, given["server"], port, "http" if port == _PORT else "tcp")


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """The whole team is shut out, by a rule."""
    team = [_to(given, one) for one in (*given["mates"], given["rogue"])]
    return all_of(
        lambda: unchanged(reader, _door(given)),
        lambda: flow.judged_as(reader, team, "deny-rule"),
    )


def closed(reader: ClusterReader, given: Given) -> CheckResult:
    """The rogue and the stranger do not get in, the rest of the team does."""
    shut = [_to(given, given["rogue"]), _to(given, given["stranger"]), _to(given, given["mates"][0], 9000)]
    mates = [_to(given, one) for one in given["mates"]]
    why = "a deny rule wins over every rule that allows, of whatever kind: what it names must be no more than was meant"
    return probe.denied(reader, both_families(*shut), otherwise=mates, why=why, read="the section about deny rules")


def denied(reader: ClusterReader, given: Given) -> CheckResult:
    """The rogue is refused by a rule, not for want of one."""
    why = "a developer who allows the team must not let the rogue in again"
    return flow.judged_as(reader, [_to(given, given["rogue"])], "deny-rule", why=why)


def kept(reader: ClusterReader, given: Given) -> CheckResult:
    """The developers' policy is as it was."""
    return unchanged(reader, _door(given))


def others(reader: ClusterReader, given: Given) -> CheckResult:
    """What the server sends, and the rogue elsewhere."""
    ways = [
        Probe(given["server"], given["rogue"]),
        Probe(given["rogue"], given["mates"][0]),
        Probe(given["stranger"], given["rogue"]),
    ]
    return invariant.still_answered(reader, ways, why="the ban is about what comes in at the server")


def by_name(lab: Lab, given: Given) -> None:
    """The ban names the one pod."""
    lab.policy(_ban(given, labelled(app=given["rogue"])))


def all_but(lab: Lab, given: Given) -> None:
    """The ban is still about the team, without those that are in order."""
    others = {"key": "app", "operator": "NotIn", "values": given["mates"]}
    lab.policy(_ban(given, {**labelled(team=given["team"]), "matchExpressions": [others]}))


def lifted(lab: Lab, given: Given) -> None:
    """Without the ban the rogue is in again."""
    lab.no_policy(given["ban"])


def one_more_allow(lab: Lab, given: Given) -> None:
    """A policy that allows the mates: the deny rule still wins."""
    rule = {"fromEndpoints": [labelled(app=one) for one in given["mates"]], "toPorts": ports(_PORT)}
    lab.policy(cilium_policy("mates", {"app": given["server"]}, ingress=[rule]))


def the_wrong_one(lab: Lab, given: Given) -> None:
    """Another of the team is banned."""
    lab.policy(_ban(given, labelled(app=given["mates"][0])))


def at_the_door(lab: Lab, given: Given) -> None:
    """The ban is gone and the developers' policy was narrowed in its place."""
    lab.no_policy(given["ban"])
    peers = [{"podSelector": labelled(app=one)} for one in given["mates"]]
    rule = {"from": peers, "ports": [{"port": _PORT, "protocol": "TCP"}]}
    lab.policy(kubernetes(given["door"], {"app": given["server"]}, ingress=[rule]))


def everywhere(lab: Lab, given: Given) -> None:
    """The rogue reaches nobody at all any more."""
    lab.policy(_ban(given, labelled(app=given["rogue"]), {}))


BAN = Task(
    id="ban",
    title="A ban too wide",
    points=25,
    text="The NetworkPolicy {door} lets the pods with team={team} in at {server}, 8080/TCP. {rogue} has gone wrong, "
    "and somebody has banned it there for the whole cluster, {ban}: now all the team is out. Let the others in again. "
    "{rogue} must stay refused at {server} by a deny rule, and the developers' {door} is not yours to change.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("closed", "the others get in, the rogue does not", 35, "probe", closed, negative=True),
        Check("others", "nothing else is restricted", 20, "invariant", others, needs=("closed",), negative=True),
        Check("denied", "the rogue is refused by a rule", 25, "flow", denied, needs=("others",)),
        Check("kept", "the developers' policy is as it was", 20, "state", kept, needs=("denied",)),
    ),
    hints=(
        Hint(
            "closed",
            (
                "Which rule refuses the others, and of which object is it?",
                'print(lab.kubectl("get", "ccnp", "{ban}", "-o", "yaml")): whom does ingressDeny name?',
                "In {ban}, ingressDeny: [{{fromEndpoints: [{{matchLabels: {{app: {rogue}}}}}]}}]",
            ),
            state="way-broken",
        ),
        Hint(
            "closed",
            (
                "Somebody gets in who should not. Is the ban still there, and whom does it name?",
                "No policy that allows can refuse the rogue: the ban must name it, and no more.",
                "In {ban}, ingressDeny: [{{fromEndpoints: [{{matchLabels: {{app: {rogue}}}}}]}}]",
            ),
        ),
        Hint(
            "denied",
            (
                "The rogue does not get in, but only because nobody lets it in.",
                "A deny rule must name it: keep {ban}, and make it narrower.",
                "In {ban}, ingressDeny: [{{fromEndpoints: [{{matchLabels: {{app: {rogue}}}}}]}}]",
            ),
        ),
        Hint(
            "others",
            (
                "The ban holds where it should not.",
                "Which pods does its endpointSelector select? And has it a default deny?",
                "endpointSelector: {{matchLabels: {{app: {server}}}}}, enableDefaultDeny: {{ingress: false}}",
            ),
        ),
    ),
    solutions=(by_name, all_but),
    mutants=(
        Mutant(lifted, caught_by="closed"),
        Mutant(one_more_allow, caught_by="closed"),
        Mutant(the_wrong_one, caught_by="closed"),
        Mutant(at_the_door, caught_by="denied"),
        Mutant(everywhere, caught_by="others"),
    ),
)

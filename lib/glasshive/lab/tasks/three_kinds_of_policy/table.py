"""Lab 10, second task: twenty-four pairs of who reaches whom at which port, all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import flow, invariant, probe
from glasshive.lab.checks.probe import Probe
from glasshive.lab.doors import cilium_policy, clusterwide, kubernetes, labelled, ports
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

Object = dict[str, Any]
_PORTS = (8080, 9000)
_NODES = ("node1", "node2", "node3")


def draw(seed: Draw) -> dict[str, Any]:
    """A team of two, one of which is in quarantine; an auditor and a guest; three servers; a port for two of them."""
    team, auditor, guest = seed.name(), seed.name(), seed.name()
    names = [seed.name() for _ in range(3)]
    return {
        "team": team, "mate": f"{team}-ant", "sick": f"{team}-bug", "auditor": f"{auditor}-auditor",
        "guest": f"{guest}-guest", "plaza": f"{names[0]}-plaza", "store": f"{names[1]}-store",
        "vault": f"{names[2]}-vault", "store_port": seed.choice(_PORTS), "vault_port": seed.choice(_PORTS),
    }  # fmt: skip


def intent(given: Given) -> dict[tuple[str, str, int], bool]:
    """(client, server, port) -> whether it is to be answered: the 24 pairs. Pure."""
    return {
        (given[client], given[server], port): client != "sick"
        and (
            server == "plaza"
            or (server == "store" and client == "mate" and port == given["store_port"])
            or (server == "vault" and client == "auditor" and port == given["vault_port"])
        )
        for client in ("mate", "sick", "auditor", "guest")
        for server in ("plaza", "store", "vault")
        for port in _PORTS
    }


def setup(lab: Lab, given: Given) -> None:
    """Seven pods, on all nodes."""
    for name, node in zip(("plaza", "store", "vault"), _NODES, strict=True):
        lab.pod(given[name], node=node)
    lab.pod(given["mate"], node="node1", labels={"team": given["team"]})
    lab.pod(given["sick"], node="node2", labels={"team": given["team"], "quarantine": "yes"})
    lab.pod(given["auditor"], node="node3")
    lab.pod(given["guest"], node="node1")


def _probes(given: Given, wanted: bool) -> list[Probe]:
    pairs = [pair for pair, holds in intent(given).items() if holds is wanted]
    return [Probe(one, other, port, "http" if port == 8080 else "tcp") for one, other, port in pairs]


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """All 24 are answered."""
    return probe.allowed(reader, [*_probes(given, True), *_probes(given, False)])


def all_pairs(reader: ClusterReader, given: Given) -> CheckResult:
    """What should arrive is answered, what should not does not arrive."""
    why = "rules that allow add up, a deny rule takes away, and what nobody selects stays open"
    return probe.denied(
        reader, _probes(given, False), otherwise=_probes(given, True), why=why, read="the section about all three kinds"
    )


def refused(reader: ClusterReader, given: Given) -> CheckResult:
    """The one in quarantine is refused by a rule, also where its team may go."""
    ways = [Probe(given["sick"], given[name], given["store_port"], "tcp") for name in ("plaza", "store", "vault")]
    why = "who is in quarantine must stay there, whatever another policy allows tomorrow"
    return flow.judged_as(reader, ways, "deny-rule", why=why)


def others(reader: ClusterReader, given: Given) -> CheckResult:
    """What the servers send, and the clients among themselves."""
    ways = [
        Probe(given["plaza"], given["guest"]),
        Probe(given["vault"], given["auditor"]),
        Probe(given["guest"], given["mate"]),
        Probe(given["store"], given["plaza"]),
    ]
    return invariant.still_answered(reader, ways, why="only who reaches the three servers was to change")


def _store(given: Given, **more: Any) -> Object:
    rule = {"from": [{"podSelector": labelled(team=given["team"])}], "ports": [{"port": given["store_port"]}], **more}
    return kubernetes("store", {"app": given["store"]}, ingress=[rule])


def _vault(given: Given) -> Object:
    rule = {"fromEndpoints": [labelled(app=given["auditor"])], "toPorts": ports(given["vault_port"])}
    return cilium_policy("vault", {"app": given["vault"]}, ingress=[rule])


def _quarantine(**more: Any) -> Object:
    return clusterwide(
        "quarantine", {"endpointSelector": {}, "ingressDeny": [{"fromEndpoints": [labelled(quarantine="yes")]}], **more}
    )


def three_kinds(lab: Lab, given: Given) -> None:
    """One of each: the store's door, the vault's, and a ban for the whole cluster that brings no default deny."""
    lab.policy(_store(given), _vault(given), _quarantine(enableDefaultDeny={"ingress": False}))


def at_the_source(lab: Lab, given: Given) -> None:
    """The same with the ban at the other end: who is in quarantine may send to no pod."""
    spec = {"endpointSelector": labelled(quarantine="yes"), "egressDeny": [{"toEntities": ["cluster"]}]}
    lab.policy(_store(given), _vault(given), clusterwide("quarantine", spec))


def with_default_deny(lab: Lab, given: Given) -> None:
    """The ban selects every pod, and so nobody reaches the plaza any more."""
    lab.policy(_store(given), _vault(given), _quarantine())


def no_quarantine(lab: Lab, given: Given) -> None:
    """The one in quarantine goes wherever its team may."""
    lab.policy(_store(given), _vault(given))


def left_out(lab: Lab, given: Given) -> None:
    """The store leaves the one in quarantine out, and the plaza lets everybody in."""
    well = {"key": "quarantine", "operator": "DoesNotExist"}
    peer = {"podSelector": {**labelled(team=given["team"]), "matchExpressions": [well]}}
    lab.policy(_store(given, **{"from": [peer]}), _vault(given))


def two_rules(lab: Lab, given: Given) -> None:
    """The store's port for everybody, and every port for the team."""
    rules = [{"from": [{"podSelector": labelled(team=given["team"])}]}, {"ports": [{"port": given["store_port"]}]}]
    store = kubernetes("store", {"app": given["store"]}, ingress=rules)
    lab.policy(store, _vault(given), _quarantine(enableDefaultDeny={"ingress": False}))


def guarded_by_default(lab: Lab, given: Given) -> None:
    """Right for the servers, but every pod of the lab has a default deny now."""
    everybody = cilium_policy("all", {}, ingress=[{}])
    plaza = cilium_policy("plaza", {"app": given["plaza"]}, ingress=[{"fromEndpoints": [{}]}])
    ban = _quarantine(enableDefaultDeny={"ingress": False})
    lab.policy(_store(given), _vault(given), plaza, everybody, ban)


TABLE = Task(
    id="table",
    title="Twenty-four pairs",
    points=25,
    text="Four pods ask three servers at the TCP ports 8080 and 9000. {store} is for team={team} at {store_port} "
    "alone. {vault} is for {auditor} at {vault_port} alone. {plaza} is open to everybody. And whoever has the label "
    "quarantine=yes, as {sick} has, reaches none of them, refused by a deny rule. Pods send to clients as before. The "
    "kinds of policy are yours to choose.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("pairs", "all 24 pairs are as they should be", 40, "probe", all_pairs, negative=True, within_s=15),
        Check("others", "nothing else is restricted", 30, "invariant", others, needs=("pairs",), negative=True),
        Check("refused", "quarantine is a deny rule", 30, "flow", refused, needs=("others",)),
    ),
    hints=(
        Hint(
            "pairs",
            (
                "Look at which of the pairs got through. Is it a door that is open, or the quarantine?",
                "A door each for {store} and {vault}, with peer and port in one rule; a deny rule from quarantine=yes.",
                'ingressDeny: [{{fromEndpoints: [{{matchLabels: {{quarantine: "yes"}}}}]}}], endpointSelector: {{}}',
            ),
        ),
        Hint(
            "pairs",
            (
                "Something that should be answered is not. Which server is it, and does a policy select it?",
                "Whom a policy selects has a default deny, also if all its rules deny: is that meant for {plaza}?",
                "enableDefaultDeny: {{ingress: false}} in the ban keeps {plaza} open to the others.",
            ),
            state="way-broken",
        ),
        Hint(
            "refused",
            (
                "{sick} reaches none, but not because a rule says so.",
                "ingressDeny at the servers or egressDeny at those in quarantine, by the label.",
                'ingressDeny: [{{fromEndpoints: [{{matchLabels: {{quarantine: "yes"}}}}]}}]',
            ),
        ),
        Hint(
            "others",
            (
                "A pod that is no server is restricted now.",
                "Which pods do your policies select? lab.policy_view(pod) says what is enforced.",
                "Doors select one server each, and the ban has enableDefaultDeny: {{ingress: false}}.",
            ),
        ),
    ),
    solutions=(three_kinds, at_the_source),
    mutants=(
        Mutant(with_default_deny, caught_by="pairs"),
        Mutant(no_quarantine, caught_by="pairs"),
        Mutant(left_out, caught_by="pairs"),
        Mutant(two_rules, caught_by="pairs"),
        Mutant(guarded_by_default, caught_by="others"),
    ),
)

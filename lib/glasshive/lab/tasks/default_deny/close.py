"""Default deny for what comes to a team's pods, and one door; what they send stays free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab import doors
from glasshive.lab.checks import flow, probe
from glasshive.lab.checks.outcome import all_of, judged
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_OPEN = "Disabled"


def draw(seed: Draw) -> dict[str, Any]:
    """The team, who of it serves, who may ask, and who may not."""
    nodes = seed.sample(["node1", "node2", "node3"], 3)
    return {
        "team": seed.choice(["comb", "hive", "meadow", "orchard"]), "server": f"pantry-{seed.name()}",
        "side": seed.name(), "friend": seed.name(), "other": seed.name(), "nodes": nodes,
    }  # fmt: skip


def team(given: Given) -> dict[str, str]:
    """The label that its pods have."""
    return {"team": given["team"]}


def setup(lab: Lab, given: Given) -> None:
    """Two pods of the team, two others; nothing is enforced for any of them."""
    first, second, third = given["nodes"]
    lab.pod(given["server"], node=first, labels=team(given))
    lab.pod(given["side"], node=second, labels=team(given))
    lab.pod(given["friend"], node=second)
    lab.pod(given["other"], node=third)


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """Everybody reaches the team."""
    ways = [Probe(given[who], given[whom]) for who in ("friend", "other") for whom in ("server", "side")]
    return probe.allowed(reader, ways)


def closed(reader: ClusterReader, given: Given) -> CheckResult:
    """Nothing comes to the team's pods but what the door is for."""
    server, side, friend, other = (given[who] for who in ("server", "side", "friend", "other"))
    out = both_families(Probe(other, server), Probe(other, side), Probe(friend, side))
    out += [Probe(friend, server, port=doors.ECHO, protocol="tcp"), Probe(server, side)]
    why = "a pod that no policy selects is open to everybody; one that is selected takes what a rule allows"
    return probe.denied(reader, out, otherwise=[Probe(friend, server)], why=why, read="lab.policy_view of both pods")


def free(reader: ClusterReader, given: Given) -> CheckResult:
    """The team's pods send to whom they like, and look up names."""
    ways = both_families(Probe(given["server"], given["other"]), Probe(given["side"], given["friend"]))
    ways += [Probe(given["side"], "kubernetes.default.svc.cluster.local", protocol="dns")]
    why = "ingress and egress are closed one by one: only what comes in was to be closed"
    return probe.allowed(reader, ways, why=why, state="egress-closed")


def door(reader: ClusterReader, given: Given) -> CheckResult:
    """The friend is answered in both families."""
    return probe.allowed(reader, both_families(Probe(given["friend"], given["server"])), read="lab.why")


def by_default(reader: ClusterReader, given: Given) -> CheckResult:
    """What is refused is refused because no rule allows it, for every pod of the team."""

    def enforced() -> CheckResult:
        known = {who: reader.endpoint(given[who])["policyIngress"] for who in ("server", "side")}
        left = [given[who] for who, word in known.items() if word == _OPEN]
        return judged(not left, f"ingress is not enforced for {', '.join(left)}" if left else "ingress is enforced",
                      "ingress enforced for both", state="open")  # fmt: skip

    def judged_so() -> CheckResult:
        ways = [Probe(given["other"], given["server"]), Probe(given["other"], given["side"])]
        return flow.judged_as(
            reader, ways, "deny-default", why="whoever is named may be forgotten; default deny is not"
        )

    return all_of(enforced, judged_so)


# --- acts ---


def _closed(given: Given, kinds: tuple[str, ...] = ("Ingress",)) -> dict[str, Any]:
    spec = {"podSelector": {"matchLabels": team(given)}, "policyTypes": list(kinds)}
    meta = {"name": f"{given['team']}-closed"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


def _door(given: Given, **more: Any) -> dict[str, Any]:
    made = doors.door(f"{given['server']}-door", given["server"], {"app": given["friend"]})
    made["spec"] |= more
    return made


def with_two_policies(lab: Lab, given: Given) -> None:
    """A NetworkPolicy that selects the team and allows nothing, and a door beside it: what one allows, is allowed."""
    lab.policy(_closed(given), _door(given))


def with_one_object(lab: Lab, given: Given) -> None:
    """One CiliumNetworkPolicy with two specs. An empty rule, ``ingress: [{}]``, selects and allows nothing there."""
    specs = [{"endpointSelector": {"matchLabels": team(given)}, "ingress": [{}]}, _door(given)["spec"]]
    meta = {"name": f"{given['team']}-closed"}
    lab.policy({"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": meta, "specs": specs})


def only_the_server(lab: Lab, given: Given) -> None:
    """The door selects the server alone: the rest of the team is as open as before."""
    lab.policy(_door(given))


def both_directions(lab: Lab, given: Given) -> None:
    """The team cannot send any more either."""
    lab.policy(_closed(given, ("Ingress", "Egress")), _door(given))


def without_a_door(lab: Lab, given: Given) -> None:
    """Nobody gets in at all."""
    lab.policy(_closed(given))


def any_port(lab: Lab, given: Given) -> None:
    """The friend gets in at every port."""
    made = _door(given)
    del made["spec"]["ingress"][0]["toPorts"]
    lab.policy(_closed(given), made)


def not_by_default(lab: Lab, given: Given) -> None:
    """The empty rule is there, and was told not to bring default deny along."""
    off = {"enableDefaultDeny": {"ingress": False}}
    closed_spec = {"endpointSelector": {"matchLabels": team(given)}, "ingress": [{}], **off}
    lab.policy(doors.cilium(f"{given['team']}-closed", closed_spec), _door(given))


CLOSE = Task(
    id="close",
    title="Close everything, then open one door",
    points=30,
    text="Pods with the label team={team} are open to everybody. Close them, those to come included: nothing comes in, "
    "but {friend} may fetch from {server} at port 8080. What they send, to anybody, stays as free as it is.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("closed", "nothing comes in but what the door is for", 30, "probe", closed, negative=True),
        Check("free", "what the team sends is as free as it was", 45, "invariant", free, needs=("closed",)),
        Check("door", "the friend is let in, in both families", 15, "probe", door, needs=("free",)),
        Check("by-default", "whoever is not named is refused", 10, "flow", by_default, needs=("closed",)),
    ),
    hints=(
        Hint(
            "closed",
            (
                "Which pods does your policy select? A pod that none selects is open to everybody.",
                'lab.policy_view("{side}") says whether anything is enforced for it.',
                "A NetworkPolicy with podSelector team={team} and policyTypes [Ingress], and no rule, closes them all.",
            ),
        ),
        Hint(
            "closed",
            (
                "Closed it is, for {friend} too. What is refused, and why?",
                'print(lab.why("{friend}", "{server}", "8080/TCP")) says what would let it pass.',
                "A second policy for {server}: from app={friend}, port 8080. What one policy allows, is allowed.",
            ),
            state="way-broken",
        ),
        Hint(
            "free",
            (
                "The team cannot send any more. Which directions does your policy have?",
                'lab.policy_view("{side}") shows rows of egress where there should be none.',
                "policyTypes must be [Ingress] alone (or: no egress section at all).",
            ),
        ),
    ),
    solutions=(with_two_policies, with_one_object),
    mutants=(
        Mutant(both_directions, caught_by="free"),
        Mutant(only_the_server, caught_by="closed"),
        Mutant(without_a_door, caught_by="closed"),
        Mutant(any_port, caught_by="closed"),
        Mutant(not_by_default, caught_by="closed"),
    ),
)

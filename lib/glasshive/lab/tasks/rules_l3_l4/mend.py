"""Lab 09, last task: a policy that is valid, in force, and says something else than was meant, in two places."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import invariant, probe, state
from glasshive.lab.checks.outcome import all_of
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.doors import cilium_policy, labelled, ports
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_KIND = "ciliumnetworkpolicy"


def draw(seed: Draw) -> dict[str, Any]:
    """A server with its policy, one who may, one who measures, and one who may not."""
    names = [seed.name() for _ in range(4)]
    return {
        "server": f"{names[0]}-desk", "policy": f"{names[0]}-desk", "ally": f"{names[1]}-ally",
        "gauge": f"{names[2]}-gauge", "rogue": f"{names[3]}-rogue",
    }  # fmt: skip


def setup(lab: Lab, given: Given) -> None:
    """Four pods, and the policy as somebody wrote it."""
    for name, node in (("server", "node2"), ("ally", "node1"), ("gauge", "node3"), ("rogue", "node1")):
        lab.pod(given[name], node=node)
    lab.policy(_policy(given, *_dash(given), _by_address(lab, given)))


def _policy(given: Given, *rules: dict[str, Any]) -> dict[str, Any]:
    return cilium_policy(given["policy"], {"app": given["server"]}, ingress=list(rules))


def _dash(given: Given) -> list[dict[str, Any]]:
    """First mistake: what should be one rule are two."""
    return [{"fromEndpoints": [labelled(app=given["ally"])]}, {"toPorts": ports(8080)}]


def _by_address(lab: Lab, given: Given) -> dict[str, Any]:
    """Second mistake: a block that is to mean a pod."""
    return {"fromCIDR": [f"{lab.address(given['gauge'])}/32"], "toPorts": ports(9000)}


def _ally(given: Given) -> dict[str, Any]:
    return {"fromEndpoints": [labelled(app=given["ally"])], "toPorts": ports(8080)}


def _gauge(given: Given) -> dict[str, Any]:
    return {"fromEndpoints": [labelled(app=given["gauge"])], "toPorts": ports(9000)}


def _to(given: Given, name: str, port: int = 8080) -> Probe:
    return Probe(given[name], given["server"], port, "http" if port == 8080 else "tcp")


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """Both mistakes are to be seen: the rogue gets in, the gauge does not."""
    return all_of(
        lambda: probe.allowed(reader, [_to(given, "rogue"), _to(given, "ally", 9000)]),
        lambda: probe.denied(reader, [_to(given, "gauge", 9000)], otherwise=[_to(given, "ally", 9000)]),
    )


def closed(reader: ClusterReader, given: Given) -> CheckResult:
    """The ally at its port, the gauge at its own, and nobody else anything."""
    shut = [
        _to(given, "rogue"),
        _to(given, "rogue", 9000),
        _to(given, "ally", 9000),
        _to(given, "gauge"),
        Probe(given["ally"], given["server"], protocol="ping"),
    ]
    why = "a dash more makes two rules of one, and each of them lets in what it says"
    meant = [_to(given, "ally"), _to(given, "gauge", 9000)]
    return probe.denied(reader, both_families(*shut), otherwise=meant, why=why, read="the section about the dash")


def kept(reader: ClusterReader, given: Given) -> CheckResult:
    """The policy is still there, and still selects the server."""
    why = "it was to be mended: whoever looks for it finds it by its name"
    path = "spec.endpointSelector.matchLabels.app"
    return state.object_has(reader, _KIND, given["policy"], path, given["server"], why=why)


def meant(reader: ClusterReader, given: Given) -> CheckResult:
    """Who may get in does, in both families."""
    return probe.allowed(reader, both_families(_to(given, "ally"), _to(given, "gauge", 9000)))


def others(reader: ClusterReader, given: Given) -> CheckResult:
    """What the server sends, and what others do among themselves."""
    ways = [Probe(given["server"], given["rogue"]), Probe(given["rogue"], given["ally"])]
    return invariant.still_answered(reader, ways)


def written_anew(lab: Lab, given: Given) -> None:
    """The same policy with two rules, each with both its parts."""
    lab.policy(_policy(given, _ally(given), _gauge(given)))


def patched(lab: Lab, given: Given) -> None:
    """A patch of its ingress: a merge patch replaces the whole list."""
    change = {"spec": {"ingress": [_ally(given), _gauge(given)]}}
    lab.kubectl("patch", "cnp", given["policy"], "--type=merge", "-p", json.dumps(change))


def the_dash_alone(lab: Lab, given: Given) -> None:
    """The gauge is still meant by its address."""
    lab.policy(_policy(given, _ally(given), _by_address(lab, given)))


def the_gauge_alone(lab: Lab, given: Given) -> None:
    """Anybody still gets in at 8080."""
    lab.policy(_policy(given, *_dash(given), _gauge(given)))


def taken_away(lab: Lab, given: Given) -> None:
    """Without the policy, everybody gets in."""
    lab.no_policy(given["policy"])


def by_another_name(lab: Lab, given: Given) -> None:
    """Right, but the policy that was to be mended is gone."""
    right = _policy(given, _ally(given), _gauge(given))
    lab.policy({**right, "metadata": {"name": "desk-of-mine"}})
    lab.no_policy(given["policy"])


MEND = Task(
    id="mend",
    title="Mend what a policy says",
    points=25,
    text="The policy {policy} was to say: {ally} reaches {server} at 8080/TCP, {gauge} reaches it at 9000/TCP, and no "
    "pod anything else. It is valid and in force, and yet {rogue} gets in, and {gauge} does not. Mend it.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("closed", "in gets what was meant, and nothing else", 40, "probe", closed, negative=True),
        Check("kept", "the policy is still there", 20, "state", kept, needs=("closed",)),
        Check("meant", "what was meant gets in, in both families", 20, "probe", meant, needs=("kept",)),
        Check("others", "nothing else is restricted", 20, "invariant", others, needs=("kept",), negative=True),
    ),
    hints=(
        Hint(
            "closed",
            (
                'Look at what it has become: lab.policy_view("{server}"). Which row lets {rogue} in?',
                'print(lab.kubectl("get", "cnp", "{policy}", "-o", "yaml")): count the dashes under ingress.',
                "Two rules, each with fromEndpoints and toPorts: {ally} at 8080, {gauge} at 9000.",
            ),
        ),
        Hint(
            "closed",
            (
                "Nobody gets in any more who should not. Who does not get in who should?",
                'lab.why("{gauge}", "{server}", "9000/TCP") says what nearly matched, and why it did not.',
                "A block never means a pod: fromEndpoints: [{{matchLabels: {{app: {gauge}}}}}]",
            ),
            state="way-broken",
        ),
        Hint(
            "kept",
            (
                "The policy that was to be mended is gone, or selects somebody else.",
                "Give yours the name {policy}.",
                "metadata: {{name: {policy}}}, spec.endpointSelector: {{matchLabels: {{app: {server}}}}}",
            ),
        ),
    ),
    solutions=(written_anew, patched),
    mutants=(
        Mutant(the_dash_alone, caught_by="closed"),
        Mutant(the_gauge_alone, caught_by="closed"),
        Mutant(taken_away, caught_by="closed"),
        Mutant(by_another_name, caught_by="kept"),
    ),
)

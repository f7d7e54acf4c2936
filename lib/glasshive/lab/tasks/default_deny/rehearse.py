"""A policy in audit mode: find out whom it would lock out, mend it, and only then let it refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from glasshive.lab import doors
from glasshive.lab.checks import flow, probe
from glasshive.lab.checks.outcome import all_of, bad, judged
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_AUDIT = "PolicyAuditMode"


def draw(seed: Draw) -> dict[str, Any]:
    """The server, its regulars (the policy knows the first), and somebody who has no business there."""
    regulars = [seed.name() for _ in range(3)]
    return {
        "server": f"ledger-{seed.name()}", "regulars": regulars, "first": regulars[0], "other": seed.name(),
        "names": ", ".join(sorted(regulars)), "node": seed.choice(["node1", "node2", "node3"]),
    }  # fmt: skip


def policy(given: Given, *guests: str) -> dict[str, Any]:
    """The door, for these."""
    return doors.door(f"{given['server']}-door", given["server"], *({"app": one} for one in guests))


def setup(lab: Lab, given: Given) -> None:
    """A server whose policy is in audit mode, and those who use it."""
    lab.pod(given["server"], node=given["node"])
    for at, name in enumerate([*given["regulars"], given["other"]]):
        lab.pod(name, node=f"node{at % 3 + 1}")
    lab.audit(given["server"])
    lab.policy(policy(given, given["first"]))


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """Everybody is answered, and the policy says of all but the first that it would refuse them."""
    rest = [Probe(name, given["server"]) for name in [*given["regulars"][1:], given["other"]]]
    return all_of(
        lambda: probe.allowed(reader, [Probe(given["first"], given["server"])]),
        lambda: probe.allowed(reader, rest),
        lambda: flow.judged_as(reader, rest, "deny-default"),
    )


def ended(reader: ClusterReader, given: Given) -> CheckResult:
    """The server is out of audit mode, and policy is enforced for what comes to it. States: ``audit``, ``open``."""
    pod = reader.pod(given["server"])
    wanted = f"{given['server']} out of audit mode, ingress enforced"
    if pod is None or not pod.node:
        return bad(f"there is no pod {given['server']}", wanted, state="absent")
    found = reader.ask(pod.node, f"/v1/endpoints/{quote(f'{reader.namespace}/{pod.name}', safe='')}")
    if found["options"][_AUDIT] != "Disabled":
        why = "in audit mode nothing is refused, whatever the policy says"
        return bad(f"{pod.name} is in audit mode", wanted, why=why, read="lab.audit", state="audit")
    return judged(found["policyIngress"] == "Enabled", f"ingress of {pod.name}: {found['policyIngress']}", wanted,
                  state="open")  # fmt: skip


def out(reader: ClusterReader, given: Given) -> CheckResult:
    """Who has no business there is refused."""
    ways = both_families(Probe(given["other"], given["server"]))
    return probe.denied(reader, ways, otherwise=[Probe(given["first"], given["server"])])


def regulars(reader: ClusterReader, given: Given) -> CheckResult:
    """All regulars are answered."""
    ways = both_families(*(Probe(name, given["server"]) for name in given["regulars"]))
    return probe.allowed(reader, ways, why="whom a policy locks out, an audit would have told", read="lab.why")


def by_rule(reader: ClusterReader, given: Given) -> CheckResult:
    """And they are answered because a rule allows it."""
    return flow.judged_as(reader, [Probe(name, given["server"]) for name in given["regulars"]], "allow")


def with_the_kit(lab: Lab, given: Given) -> None:
    """First the rule for those whom the audit named, then the end of the audit."""
    lab.policy(policy(given, *given["regulars"]))
    lab.audit(given["server"], on=False)


def with_a_second_policy(lab: Lab, given: Given) -> None:
    """What one policy allows is allowed: a second one for those who are missing."""
    missing = [{"app": one} for one in given["regulars"][1:]]
    lab.policy(doors.door(f"{given['server']}-more", given["server"], *missing))
    lab.audit(given["server"], on=False)


def too_early(lab: Lab, given: Given) -> None:
    """The audit was ended and nobody had looked at it."""
    lab.audit(given["server"], on=False)


def for_everybody(lab: Lab, given: Given) -> None:
    """Everybody of the namespace was let in."""
    lab.policy(doors.door(f"{given['server']}-door", given["server"], {}))
    lab.audit(given["server"], on=False)


def for_ever(lab: Lab, given: Given) -> None:
    """The policy is right, and still refuses nobody."""
    lab.policy(policy(given, *given["regulars"]))


def no_policy(lab: Lab, given: Given) -> None:
    """There is nothing left to refuse by."""
    lab.no_policy(f"{given['server']}-door")
    lab.audit(given["server"], on=False)


REHEARSE = Task(
    id="rehearse",
    title="Rehearse a policy, then mean it",
    points=30,
    text="The policy of {server} is in audit mode: it refuses nobody, and tells whom it would refuse. {names} are its "
    "regulars at port 8080; {other} has no business there. Find out who would be locked out, mend the policy, then end "
    "the audit.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("ended", "the audit is over, and policy is enforced", 10, "state", ended),
        Check("out", "who has no business there is refused", 45, "probe", out, needs=("ended",), negative=True),
        Check("regulars", "all regulars are let in, in both families", 35, "probe", regulars, needs=("ended",)),
        Check("by-rule", "because a rule allows it", 10, "flow", by_rule, needs=("regulars",)),
    ),
    hints=(
        Hint(
            "ended",
            (
                "Whom would it refuse? Let all of them try, then look at what the kernel says.",
                'lab.reach([("{other}", "{server}")]) tries, print(lab.why("{other}", "{server}", "8080/TCP")) tells.',
                'Add the missing regulars to {server}-door, then lab.audit("{server}", on=False).',
            ),
        ),
        Hint(
            "out",
            (
                "The audit is over, and {other} still gets in. By which row?",
                'lab.policy_view("{server}") shows the rows, with a star where packets were decided.',
                "Name the regulars one by one: {names}.",
            ),
        ),
        Hint(
            "regulars",
            (
                "Somebody is locked out who should not be.",
                "The policy asks for the label app: each regular has its own name there.",
                'fromEndpoints takes a list: [{{"matchLabels": {{"app": NAME}}}}, ...] with all of {names}.',
            ),
        ),
    ),
    solutions=(with_the_kit, with_a_second_policy),
    mutants=(
        Mutant(too_early, caught_by="regulars"),
        Mutant(for_everybody, caught_by="out"),
        Mutant(for_ever, caught_by="ended"),
        Mutant(no_policy, caught_by="ended"),
    ),
)

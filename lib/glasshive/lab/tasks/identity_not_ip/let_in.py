"""A pod that runs, and must not be restarted, gets another identity: by a label, with the policy as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.errors import NotFoundError
from glasshive.lab import doors
from glasshive.lab.checks import probe
from glasshive.lab.checks.outcome import all_of, judged
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.lab.tasks.identity_not_ip import looks
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_MEMORY = "/tmp/collected"  # noqa: S108 - in the pod: it is gone when the pod is made anew


def draw(seed: Draw) -> dict[str, Any]:
    """Who serves, who waits at the door, who must stay out, and the pass."""
    team = seed.name()
    return {
        "server": f"vault-{seed.name()}", "team": team,
        "pod": f"{team}-{seed.name()}", "other": f"{team}-{seed.name()}",
        "node": seed.choice(["node2", "node3"]), "pass": seed.choice(["amber", "blue", "green", "white"]),
        "token": seed.token(),
    }  # fmt: skip


def policy(given: Given) -> dict[str, Any]:
    """The door: whoever has the pass."""
    return doors.door(f"{given['server']}-door", given["server"], {"pass": given["pass"]})


def setup(lab: Lab, given: Given) -> None:
    """A server behind a door, and two of a team outside; one of them remembers something."""
    lab.pod(given["server"], node="node1")
    for who in ("pod", "other"):
        lab.pod(given[who], node=given["node"], labels={"app": given["team"]})
    lab.exec(given["pod"], f"echo {given['token']} > {_MEMORY}")
    lab.policy(policy(given))


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """Both are kept out by the door, and their way to the server's node is sound: they reach each other."""
    ways = [Probe(given[who], given["server"]) for who in ("pod", "other")]
    way = [Probe(given["pod"], given["other"])]
    return all_of(lambda: probe.denied(reader, ways, otherwise=way), lambda: remembers(reader, given))


def known(reader: ClusterReader, given: Given) -> CheckResult:
    """Its identity has the pass, and every node knows."""
    why = "the door asks for the pass, and an identity is made of labels"
    return all_of(
        lambda: looks.has_labels(reader, given["pod"], {"pass": given["pass"]}, why=why),
        lambda: looks.known_everywhere(reader, given["pod"]),
    )


def reach(reader: ClusterReader, given: Given) -> CheckResult:
    """It is let in, over both families."""
    return probe.allowed(reader, both_families(Probe(given["pod"], given["server"])), read="lab.why")


def others(reader: ClusterReader, given: Given) -> CheckResult:
    """The rest of its team stays out, by the same door."""
    out = both_families(Probe(given["other"], given["server"]))
    way = [Probe(given["pod"], given["server"])]
    return all_of(
        lambda: probe.denied(reader, out, otherwise=way, why="one was to be let in, not its team"),
        lambda: doors.unchanged(reader, policy(given)),
    )


def remembers(reader: ClusterReader, given: Given) -> CheckResult:
    """It is the pod that it was: it still has what it had collected."""
    wanted = f"{given['pod']} with what it had collected"
    try:
        said = reader.exec(given["pod"], ["cat", _MEMORY])
    except NotFoundError as trouble:
        return judged(False, trouble.message, wanted, state="gone")
    held = said.stdout.strip() == given["token"]
    why = "a pod that is made anew is another pod, whatever its labels"
    return judged(held, wanted if held else f"{given['pod']} has lost what it had collected", wanted,
                  why=why, state="forgot")  # fmt: skip


def with_the_kit(lab: Lab, given: Given) -> None:
    """The label gives it another identity, its address stays, and the row for that identity is there."""
    lab.relabel(given["pod"], **{"pass": given["pass"]})


def with_kubectl(lab: Lab, given: Given) -> None:
    """The same by kubectl; the nodes know within milliseconds."""
    lab.kubectl("label", "pod", given["pod"], f"pass={given['pass']}")


def made_anew(lab: Lab, given: Given) -> None:
    """It is let in, and has forgotten everything."""
    lab.remove(given["pod"])
    lab.pod(given["pod"], node=given["node"], labels={"app": given["team"], "pass": given["pass"]})


def the_whole_team(lab: Lab, given: Given) -> None:
    """All of the team got the pass."""
    for who in ("pod", "other"):
        lab.relabel(given[who], **{"pass": given["pass"]})


def by_policy(lab: Lab, given: Given) -> None:
    """The door was opened for the team instead."""
    lab.policy(doors.door(f"{given['server']}-door", given["server"], {"app": given["team"]}))


def wrong_pass(lab: Lab, given: Given) -> None:
    """A pass, but not the one that the door asks for."""
    lab.relabel(given["pod"], **{"pass": f"{given['pass']}-2"})


LET_IN = Task(
    id="let-in",
    title="Let in somebody who runs already",
    points=30,
    text="The door of {server} asks for a label. Pod {pod} has none, is to be let in, and must not be restarted: it "
    "would lose what it has collected in its memory. Leave the policy alone. {other}, of the same team, stays out.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("known", "every node knows the pod by its pass", 10, "state", known),
        Check("reach", "it is let in, in both families", 20, "probe", reach, needs=("known",)),
        Check("others", "the rest of its team stays out", 25, "probe", others, needs=("reach",), negative=True),
        Check("kept", "it is the pod that it was", 45, "invariant", remembers, needs=("others",), negative=True),
    ),
    hints=(
        Hint(
            "known",
            (
                "What does the door ask for? lab.why says what nearly matched.",
                'print(lab.why("{pod}", "{server}", "8080/TCP")): labels can be changed while a pod runs.',
                'lab.relabel("{pod}", **{{"pass": "{pass}"}})',
            ),
        ),
        Hint(
            "others",
            (
                "More than one came in, or the door is not what it was.",
                'lab.reach([("{pod}", "{server}"), ("{other}", "{server}")]) tries both.',
                'lab.relabel("{other}", **{{"pass": None}}) takes a label away; a changed policy is to be put back.',
            ),
        ),
        Hint(
            "kept",
            (
                "It is let in, and is not the pod that it was.",
                "A deleted pod takes its memory along: labels can be changed without that.",
                "What is lost is lost: lab.reset(), open the lab again, and begin anew with lab.relabel.",
            ),
        ),
    ),
    solutions=(with_the_kit, with_kubectl),
    mutants=(
        Mutant(made_anew, caught_by="kept"),
        Mutant(the_whole_team, caught_by="others"),
        Mutant(by_policy, caught_by="known"),
        Mutant(wrong_pass, caught_by="known"),
    ),
)

"""A pod that shares the identity of two others: no new identity, no new row of any policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab import doors
from glasshive.lab.checks import probe, state
from glasshive.lab.checks.outcome import all_of
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.lab.tasks.identity_not_ip import looks
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab


def draw(seed: Draw) -> dict[str, Any]:
    """Who serves, who is let in, who is not, and whom to make."""
    crew, other = seed.name(), seed.name()
    return {
        "server": f"store-{seed.name()}", "crew": crew, "first": f"{crew}-1", "second": f"{crew}-2",
        "shift": seed.choice(["early", "late", "night"]), "other": other,
        "pod": f"{crew}-{seed.name()}", "node": seed.choice(["node1", "node3"]),
    }  # fmt: skip


def policy(given: Given) -> dict[str, Any]:
    """The door: the crew's shift, at port 8080."""
    return doors.door(f"{given['server']}-door", given["server"], crew_labels(given))


def crew_labels(given: Given) -> dict[str, str]:
    """The labels of the crew."""
    return {"app": given["crew"], "shift": given["shift"]}


def setup(lab: Lab, given: Given) -> None:
    """A server behind a door, two who are let in, and one who is not."""
    lab.pod(given["server"], node="node1")
    lab.pod(given["first"], node="node2", labels=crew_labels(given))
    lab.pod(given["second"], node="node3", labels=crew_labels(given))
    lab.pod(given["other"], node="node2", labels={"shift": given["shift"]})
    lab.policy(policy(given))


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """The door works: the two are answered, the other is not."""
    ways = [Probe(given[who], given["server"]) for who in ("first", "second")]
    return probe.denied(reader, [Probe(given["other"], given["server"])], otherwise=ways)


def placed(reader: ClusterReader, given: Given) -> CheckResult:
    """The pod is ready where it was asked for."""
    return state.pod_ready(reader, given["pod"], node=given["node"], read="lab.pod(name, node=..., labels=...)")


def same(reader: ClusterReader, given: Given) -> CheckResult:
    """It has the very identity of the two, and every node knows."""
    return all_of(
        lambda: looks.same_identity(reader, given["pod"], given["first"], read="lab.identities()"),
        lambda: looks.known_everywhere(reader, given["pod"]),
    )


def reach(reader: ClusterReader, given: Given) -> CheckResult:
    """It is let in, over both families."""
    ways = both_families(Probe(given["pod"], given["server"]))
    return probe.allowed(
        reader, ways, why="whoever has the identity is let in by the row that is there", read="lab.why"
    )


def strangers(reader: ClusterReader, given: Given) -> CheckResult:
    """Who was kept out still is, and who was let in still is."""
    ways = [Probe(given[who], given["server"]) for who in ("first", "second")]
    out = both_families(Probe(given["other"], given["server"]))
    return probe.denied(reader, out, otherwise=ways, why="the door was to stay as it is")


def untouched(reader: ClusterReader, given: Given) -> CheckResult:
    """The policy and the two are as they were."""
    known = {given[who]: crew_labels(given) for who in ("first", "second")}
    return all_of(lambda: doors.unchanged(reader, policy(given)), lambda: looks.labels_are(reader, known))


def with_the_kit(lab: Lab, given: Given) -> None:
    """The same labels give the same identity; ``labels`` wins over the name that ``lab.pod`` puts into app."""
    lab.pod(given["pod"], node=given["node"], labels=crew_labels(given))


def with_kubectl(lab: Lab, given: Given) -> None:
    """The same by kubectl."""
    labels = ",".join(f"{key}={value}" for key, value in crew_labels(given).items())
    spec = f'{{"spec": {{"nodeName": "{given["node"]}"}}}}'
    lab.kubectl("run", given["pod"], "--image=glasshive/echo", f"--labels={labels}", f"--overrides={spec}")


def by_name_only(lab: Lab, given: Given) -> None:
    """It is called like one of them, and has no label of theirs."""
    lab.pod(given["pod"], node=given["node"])


def one_label_short(lab: Lab, given: Given) -> None:
    """It lacks the shift."""
    lab.pod(given["pod"], node=given["node"], labels={"app": given["crew"]})


def one_label_more(lab: Lab, given: Given) -> None:
    """It is let in, and has an identity of its own all the same."""
    lab.pod(given["pod"], node=given["node"], labels={**crew_labels(given), "version": "2"})


def no_door(lab: Lab, given: Given) -> None:
    """The pod is right, and the policy was removed on the way."""
    with_the_kit(lab, given)
    lab.no_policy(f"{given['server']}-door")


SHARE = Task(
    id="share",
    title="One more of the same",
    points=30,
    text="Pods {first} and {second} may fetch from {server}: a policy says so. Make a pod called {pod} on {node} that "
    "every node takes for one of them. No new identity is to be made for it, and the policy stays as it is.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("placed", "the pod is ready where it was asked for", 5, "state", placed, within_s=20),
        Check("same", "it shares the identity of the two, on every node", 15, "state", same, needs=("placed",)),
        Check("reach", "it is let in, in both families", 30, "probe", reach, needs=("same",)),
        Check("strangers", "who was kept out still is", 30, "probe", strangers, needs=("same",), negative=True),
        Check("untouched", "the policy and the two are as they were", 20, "invariant", untouched,
              needs=("strangers",), negative=True),
    ),
    hints=(
        Hint(
            "placed",
            (
                "What makes two pods the same to the datapath? Not their names.",
                "lab.identities() shows the labels that {first} and {second} have.",
                'lab.pod("{pod}", node="{node}", labels={{"app": "{crew}", "shift": "{shift}"}})',
            ),
        ),
        Hint(
            "same",
            (
                "It is there, and is somebody else. Compare its labels with theirs.",
                "lab.identities() shows it in a bubble of its own. A set of labels has to be the same set.",
                'lab.relabel("{pod}", app="{crew}", shift="{shift}"); name=None takes away the label called name.',
            ),
        ),
        Hint(
            "strangers",
            (
                "Somebody gets in who did not, or nobody does any more.",
                'Is the policy still there? print(lab.kubectl("get", "ciliumnetworkpolicies"))',
                "lab.reset(), open the lab again, and leave the policy alone: the labels of {pod} are all you need.",
            ),
        ),
    ),
    solutions=(with_the_kit, with_kubectl),
    mutants=(
        Mutant(one_label_more, caught_by="same"),
        Mutant(by_name_only, caught_by="same"),
        Mutant(one_label_short, caught_by="same"),
        Mutant(no_door, caught_by="strangers"),
    ),
)  # fmt: skip

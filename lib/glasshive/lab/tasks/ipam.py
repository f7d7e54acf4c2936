"""Lab 03: a node without a free address, and a Deployment that a node cannot hold.

Blocks are so small that five pods fill a node (``labs/topologies/small_pools.yaml``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab import addresses
from glasshive.lab.checks import probe, state
from glasshive.lab.checks.outcome import bad, good, judged
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.lab.tasks.ipam_spread import SPREAD
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_ROOM = 5
_NODES = ("node1", "node2", "node3")


def draw(seed: Draw) -> dict[str, Any]:
    """Which node is full, who lives there, and who waits."""
    node = seed.choice(["node2", "node3"])
    names = [seed.name() for _ in range(_ROOM)]
    kept = seed.sample(names, 3)
    return {
        "node": node, "pods": names, "kept": sorted(kept), "spare": sorted({*names} - {*kept}),
        "pod": f"late-{seed.name()}", "other": seed.choice([one for one in _NODES if one != node]),
    }  # fmt: skip


def setup(lab: Lab, given: Given) -> None:
    """Fill the node; then ask for one more."""
    if not any(one.name == given["pod"] for one in lab.cluster.pods(lab.namespace)):
        for name in given["pods"]:
            lab.cluster.apply(_pod(name, given["node"], keep=name in given["kept"]), lab.namespace)
        for name in given["pods"]:
            lab.cluster.wait("pod", name, namespace=lab.namespace)
    lab.pod(given["pod"], node=given["node"], wait_s=0)


def _pod(name: str, node: str, *, keep: bool) -> dict[str, Any]:
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "glasshive/echo"}]}
    labels = {"app": name, "keep": "yes" if keep else "no"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """The node is full, and the pod waits for that very reason."""
    told = [one["message"] for one in reader.objects("event") if one["involvedObject"].get("name") == given["pod"]]
    full = [one for one in told if "no address left" in one]
    return judged(bool(full), f"events of {given['pod']}: {told}", "one that says: no address left")


def placed(reader: ClusterReader, given: Given) -> CheckResult:
    """The pod is ready where it was asked for."""
    why = "a pod gets its addresses from the block of the node it is on, and from no other"
    return state.pod_ready(reader, given["pod"], node=given["node"], why=why, read="the section about a full node")


def reach(reader: ClusterReader, given: Given) -> CheckResult:
    """It has addresses that work: it is answered by those that were to stay, and answers."""
    there = [name for name in given["kept"] if reader.pod(name)]
    ways = [Probe(given["pod"], name) for name in there] + [Probe(name, given["pod"]) for name in there[:1]]
    if not ways:
        return bad("none of the pods that were to stay is there", "answers from them", state="nobody")
    return probe.allowed(reader, both_families(*ways), why="an address counts if packets find it")


def kept(reader: ClusterReader, given: Given) -> CheckResult:
    """Who was to stay has stayed: on its node, answered, and older than the pod that waited."""
    wanted = f"{', '.join(given['kept'])} as they were, on {given['node']}"
    late = reader.get("pod", given["pod"])
    for name in given["kept"]:
        found = state.pod_ready(reader, name, node=given["node"], why="keep=yes says that somebody needs this pod")
        if not found:
            return found
        made = reader.get("pod", name)
        if made and late and made["metadata"]["creationTimestamp"] > late["metadata"]["creationTimestamp"]:
            return bad(f"{name} was made anew", wanted, why="what it held is lost", state="made-anew")
    ways = [Probe(given["pod"], name, protocol="ping") for name in given["kept"]]
    return probe.allowed(reader, ways, state="broken", why="they worked before you began")


def apart(reader: ClusterReader, _: Given) -> CheckResult:
    """Every pod has one address of each family, of its own, out of its node's blocks."""
    found = addresses.troubles(reader.nodes(), reader.pods(everywhere=True), len(reader.config.ip_families))
    wanted = "one address of each family for every pod, no two the same, each of its node's block"
    return judged(not found, "; ".join(found[:3]), wanted, state="overlap") if found else good(wanted)


def delete_a_spare_one(lab: Lab, given: Given) -> None:
    """Nobody needs it: its address is free, and the pod that waits gets it at the next try."""
    lab.kubectl("delete", "pod", given["spare"][0])


def move_a_spare_one(lab: Lab, given: Given) -> None:
    """A pod never moves: it is deleted, and made again on a node that has room."""
    name = given["spare"][1]
    lab.remove(name)
    lab.pod(name, node=given["other"])


def delete_a_kept_one(lab: Lab, given: Given) -> None:
    """There is room, at the cost of a pod that was to stay."""
    lab.remove(given["kept"][0])


def move_a_kept_one(lab: Lab, given: Given) -> None:
    """A pod that was to stay was made again elsewhere."""
    lab.remove(given["kept"][0])
    lab.pod(given["kept"][0], node=given["other"])


def wait_elsewhere(lab: Lab, given: Given) -> None:
    """The pod that waited was made again on another node."""
    lab.remove(given["pod"])
    lab.pod(given["pod"], node=given["other"])


MAKE_ROOM = Task(
    id="make-room",
    title="Make room on a full node",
    points=50,
    text="A pod called {pod} waits on {node}, which has no address left. Make it ready there. Pods with the label "
    "keep=yes must stay as they are; what becomes of the others is up to you.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("placed", "the pod is ready where it was asked for", 15, "state", placed, within_s=20),
        Check("reach", "it answers, and is answered, in both families", 30, "probe", reach, needs=("placed",)),
        Check("kept", "pods that were to stay have stayed", 45, "invariant", kept, needs=("placed",), negative=True),
        Check("apart", "no two pods share an address", 10, "invariant", apart, needs=("placed",), negative=True),
    ),
    hints=(
        Hint(
            "placed",
            (
                "Why does it wait? The cluster has told, in an event.",
                'print(lab.warning("{pod}")) says it. lab.addresses() shows who has the addresses of {node}.',
                'kubectl get pods -L keep shows who may go: lab.remove("NAME") with one of them.',
            ),
        ),
        Hint(
            "placed",
            (
                "It is ready, but not where it was asked for.",
                "It was asked for on {node}: make room there, and make it again.",
                'lab.remove("{pod}"), lab.pod("{pod}", node="{node}", wait_s=0), then make room on {node}',
            ),
            state="wrong-node",
        ),
        Hint(
            "kept",
            (
                "Somebody who was to stay is not as before.",
                "kubectl get pods -L keep -o wide: three pods with keep=yes ran on {node}.",
                "What is lost is lost: lab.reset(), open the lab again, and begin anew.",
            ),
        ),
    ),
    solutions=(delete_a_spare_one, move_a_spare_one),
    mutants=(
        Mutant(delete_a_kept_one, caught_by="kept"),
        Mutant(move_a_kept_one, caught_by="kept"),
        Mutant(wait_elsewhere, caught_by="placed"),
    ),
)

TASKS = (MAKE_ROOM, SPREAD)

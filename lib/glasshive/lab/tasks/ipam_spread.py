"""Lab 03's second task: a Deployment is pinned to a node that has fewer addresses than it has replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab import addresses
from glasshive.lab.checks import probe
from glasshive.lab.checks.outcome import bad, good, judged
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

REPLICAS = 6
_HOST = "kubernetes.io/hostname"


def draw(seed: Draw) -> dict[str, Any]:
    """A name, the node it is pinned to and one with room: neither is the one that the task before has filled."""
    full = Draw(seed.seed, "make-room").choice(["node2", "node3"])
    node, other = seed.sample([one for one in ("node1", "node2", "node3") if one != full], 2)
    return {"name": seed.name(), "node": node, "other": other, "full": full, "replicas": REPLICAS}


def setup(lab: Lab, given: Given) -> None:
    """Ask for it, and wait until the node holds as many as it can."""
    lab.cluster.apply(deployment(given["name"], {_HOST: given["node"]}), lab.namespace)
    lab.cluster.wait("deployment", given["name"], _five_ready, namespace=lab.namespace)


def deployment(name: str, selector: dict[str, str], replicas: int = REPLICAS) -> dict[str, Any]:
    """A Deployment of echo servers on the nodes with these labels."""
    labels = {"app": name}
    spec = {"nodeSelector": selector, "containers": [{"name": "main", "image": "glasshive/echo"}]}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": spec}},
    }  # fmt: skip


def _five_ready(found: dict[str, Any]) -> bool:
    return int((found.get("status") or {}).get("readyReplicas") or 0) >= REPLICAS - 1


def waits(reader: ClusterReader, given: Given) -> CheckResult:
    """All but one are ready."""
    ready = sum(one.ready for one in _pods(reader, given))
    return judged(ready == REPLICAS - 1, f"{ready} of {REPLICAS} replicas ready", f"{REPLICAS - 1} ready")


def _pods(reader: ClusterReader, given: Given) -> list[Any]:
    return [one for one in reader.pods() if one.labels.get("app") == given["name"]]


def whole(reader: ClusterReader, given: Given) -> CheckResult:
    """The Deployment asks for as many as before, and has them. States: absent, scaled, full-node, waiting."""
    wanted = f"{REPLICAS} replicas of {given['name']}, all ready"
    found = reader.get("deployment", given["name"])
    if found is None:
        return bad(f"there is no Deployment {given['name']}", wanted, state="absent")
    asked, status = found["spec"].get("replicas"), found.get("status") or {}
    if asked != REPLICAS:
        return bad(f"{given['name']} asks for {asked}", wanted, why="their number was to stay", state="scaled")
    pods = _pods(reader, given)
    waiting = [one for one in pods if not one.ready and one.state != "Terminating"]
    settled = status.get("observedGeneration") == found["metadata"].get("generation")
    rest = settled and status.get("readyReplicas") == status.get("updatedReplicas") == REPLICAS == len(pods)
    if rest:
        return good(wanted)
    state = "full-node" if any(one.node == given["full"] for one in waiting) else "waiting"
    told = f"{sum(one.ready for one in pods)} of {len(pods)} pods are ready; waiting on: "
    told += ", ".join(sorted({one.node or "no node" for one in waiting})) or "nobody"
    why = "a node can hold as many pods as its block has addresses"
    return bad(told, wanted, why=why, read="lab.addresses()", state=state, moving=True)


def answers(reader: ClusterReader, given: Given) -> CheckResult:
    """One replica is answered by every other, in both families."""
    first, *others = sorted(one.name for one in _pods(reader, given))
    ways = both_families(*(Probe(first, one) for one in others))
    found = probe.allowed(reader, ways, why="ready is not yet reached")
    return good(f"one of them is answered by the other {len(others)}, in both families") if found else found


def blocks(reader: ClusterReader, given: Given) -> CheckResult:
    """Each replica has an address of each family out of the blocks of its own node, and shares it with nobody."""
    pods = reader.pods(everywhere=True)
    found = addresses.troubles(reader.nodes(), pods, len(reader.config.ip_families))
    wanted = "an address of each family for every replica, of its own node's blocks"
    bare = [f"{one.name} has no address" for one in _pods(reader, given) if not one.addresses]
    return judged(not (found or bare), "; ".join([*bare, *found][:3]) or wanted, wanted, state="overlap")


def nobody_else(reader: ClusterReader, given: Given) -> CheckResult:
    """All replicas are of one Deployment: no second one, and no pod made by hand, fills the gap."""
    mine = [one["metadata"] for one in reader.objects("pod", selector=f"app={given['name']}")]
    owners = {(one.get("ownerReferences") or [{"name": f"nobody: {one['name']}"}])[0]["name"] for one in mine}
    wanted = f"one ReplicaSet of {given['name']} has all the pods"
    told = wanted if len(owners) == 1 else f"they belong to {', '.join(sorted(owners))}"
    return judged(len(owners) == 1, told, wanted, state="several")


def widen(lab: Lab, given: Given) -> None:
    """Any of two nodes will do: a node affinity instead of the selector."""
    term = {"matchExpressions": [{"key": _HOST, "operator": "In", "values": [given["node"], given["other"]]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    patch(lab, given["name"], {"nodeSelector": None, "affinity": affinity})


def label_nodes(lab: Lab, given: Given) -> None:
    """The same by a label of our own on both nodes, and a selector for it."""
    obj = deployment(given["name"], {f"room-{given['name']}": "yes"})
    for node in (given["node"], given["other"]):
        lab.kubectl("label", "node", node, f"room-{given['name']}=yes", "--overwrite")
    lab.cluster.delete("deployment", given["name"], lab.namespace)
    lab.run(obj)


def patch(lab: Lab, name: str, pod_spec: dict[str, Any]) -> None:
    """Change a Deployment's pods, as kubectl patch does, and wait for the new ones."""
    import json

    body = json.dumps({"spec": {"template": {"spec": pod_spec}}})
    lab.kubectl("patch", "deployment", name, "--patch", body)
    lab.kubectl("rollout", "status", "deployment", name, "--timeout=25s")


def scale_down(lab: Lab, given: Given) -> None:
    """As many as fit."""
    lab.kubectl("scale", "deployment", given["name"], f"--replicas={REPLICAS - 1}")


def pin_to_another(lab: Lab, given: Given) -> None:
    """Another node, of the same size."""
    lab.cluster.delete("deployment", given["name"], lab.namespace)
    lab.cluster.apply(deployment(given["name"], {_HOST: given["other"]}), lab.namespace)


def one_by_hand(lab: Lab, given: Given) -> None:
    """One replica fewer, and a pod with the same label beside them."""
    scale_down(lab, given)
    spec = {"nodeName": given["other"], "containers": [{"name": "main", "image": "glasshive/echo"}]}
    metadata = {"name": f"{given['name']}-by-hand", "labels": {"app": given["name"]}}
    lab.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, lab.namespace)


SPREAD = Task(
    id="spread",
    title="Spread what one node cannot hold",
    points=50,
    text="The Deployment {name} wants {replicas} replicas and is pinned to {node}, which has five addresses for pods. "
    "Have all {replicas} ready without changing their number. ({other} has room.)",
    draw=draw,
    setup=setup,
    ready=waits,
    checks=(
        Check("whole", "all replicas are ready", 20, "state", whole, within_s=30),
        Check("answers", "each is answered, in both families", 40, "probe", answers, needs=("whole",)),
        Check("blocks", "each has addresses of its node's blocks", 20, "invariant", blocks, needs=("whole",)),
        Check(
            "nobody-else", "they are of one Deployment", 20, "invariant", nobody_else, needs=("whole",), negative=True
        ),
    ),
    hints=(
        Hint(
            "whole",
            (
                "Which node may they run on, and how many pods can that node hold?",
                'print(lab.kubectl("get", "deployment", "{name}", "-o", "yaml")): look for nodeSelector.',
                "A selector names one value; a node affinity with the operator In names several: {node} and {other}.",
            ),
        ),
        Hint(
            "whole",
            (
                "The number of replicas was to stay. What else could give?",
                "Ask for {replicas} again, and let them run on more than one node.",
                'lab.kubectl("scale", "deployment", "{name}", "--replicas={replicas}"), then change where they may run',
            ),
            state="scaled",
        ),
        Hint(
            "whole",
            (
                "Some were sent to a node that is full already.",
                "The scheduler counts pods and not addresses: it does not see that {full} has none left.",
                "Name the nodes that have room: a node affinity with operator In and the values {node} and {other}.",
            ),
            state="full-node",
        ),
    ),
    solutions=(widen, label_nodes),
    mutants=(
        Mutant(scale_down, caught_by="whole"),
        Mutant(pin_to_another, caught_by="whole"),
        Mutant(one_by_hand, caught_by="whole"),
    ),
)

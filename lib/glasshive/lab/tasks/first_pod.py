"""Lab 01: plug a pod in. The worked example of a graded task: read it from the bottom, where the task is put together.

Checks look at the pod, at endpoint entries, links and packets, never at what the learner typed.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import flow, invariant, probe, state
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_SERVER = "web"


# --- what the seed decides, and what the task starts from ---


def draw(seed: Draw) -> dict[str, Any]:
    """A name and a node; ``web`` is on node1, so packets always cross nodes."""
    return {"pod": seed.name(), "node": seed.choice(["node2", "node3"])}


def setup(lab: Lab, _: Given) -> None:
    """The lab's first sections have made the server already; whoever comes here first gets it made."""
    lab.pod(_SERVER, node="node1")


def ready(reader: ClusterReader, _: Given) -> CheckResult:
    """The server that the new pod is to reach is there."""
    return state.pod_ready(reader, _SERVER)


# --- looks: what is so, seen by the grader ---


def placed(reader: ClusterReader, given: Given) -> CheckResult:
    """The pod runs where it was asked for."""
    return state.pod_ready(
        reader,
        given["pod"],
        node=given["node"],
        why="the CNI ADD request is made by the node that the pod was placed on",
        read="the second section of this notebook: lab.pod",
    )


def plugged(reader: ClusterReader, given: Given) -> CheckResult:
    """The node's kernel knows the pod: endpoint entries, and a program at both directions of its device."""
    why = "the agent writes the entries and attaches the programs when it answers CNI ADD"
    return state.pod_plugged(reader, given["pod"], why=why, read="the section about the other end of the wire")


def reach(reader: ClusterReader, given: Given) -> CheckResult:
    """Packets go both ways, in both families."""
    ways = both_families(
        Probe(_SERVER, given["pod"], protocol="ping"), Probe(_SERVER, given["pod"]), Probe(given["pod"], _SERVER)
    )
    return probe.allowed(reader, ways, why="a pod that cannot be reached is not plugged in", read="lab.ping")


def honest(reader: ClusterReader, given: Given) -> CheckResult:
    """The new pod is an endpoint like others: a packet to an address that no pod has is dropped, with a reason."""
    return flow.dropped(reader, [Probe(given["pod"], _nobody(reader), protocol="ping")], "no-endpoint")


def _nobody(reader: ClusterReader) -> str:
    """An address of node1's range that no pod has."""
    cidr = next(one for node in reader.nodes() if node.name == "node1" for one in node.pod_cidrs if "." in one)
    taken = {address for pod in reader.pods(everywhere=True) for address in pod.addresses}
    return next(str(one) for one in reversed(list(ipaddress.IPv4Network(cidr).hosts())) if str(one) not in taken)


def alone(reader: ClusterReader, given: Given) -> CheckResult:
    """Nothing else came of it: the server is still there, and one new pod beside those of the notebook."""
    client = ["client"] if reader.pod("client") else []
    return invariant.pods_are(
        reader,
        [_SERVER, *client, given["pod"]],
        why="one pod was asked for, and nothing else was to change",
        read="kubectl get pods, in the lab's namespace",
    )


# --- acts: what a learner would do, right and wrong ---


def with_the_kit(lab: Lab, given: Given) -> None:
    """One call of the kit."""
    lab.pod(given["pod"], node=given["node"])


def with_kubectl(lab: Lab, given: Given) -> None:
    """The same by kubectl: ``nodeName`` places a pod without asking the scheduler."""
    spec = f'{{"spec": {{"nodeName": "{given["node"]}"}}}}'
    lab.kubectl("run", given["pod"], "--image=glasshive/echo", f"--overrides={spec}")


def on_another_node(lab: Lab, given: Given) -> None:
    """The pod is there, but on the node of the server."""
    lab.pod(given["pod"], node="node1")


def never_ready(lab: Lab, given: Given) -> None:
    """Its image does not exist."""
    lab.pod(given["pod"], node=given["node"], image="glasshive/echoo", wait_s=0)


def without_a_server(lab: Lab, given: Given) -> None:
    """The pod is right, and the server was removed on the way."""
    lab.pod(given["pod"], node=given["node"])
    lab.cluster.delete("pod", _SERVER, lab.namespace)
    lab.cluster.wait("pod", _SERVER, "deleted", namespace=lab.namespace)


def deaf(lab: Lab, given: Given) -> None:
    """The pod listens on another port than the one asked for."""
    lab.pod(given["pod"], node=given["node"], image="nginx")


TASKS = (
    Task(
        id="plug-in",
        title="Plug in a third pod",
        points=100,
        text="Make a pod called {pod} on {node}. Any image of the catalogue will do that answers HTTP on port 8080.",
        draw=draw,
        setup=setup,
        ready=ready,
        checks=(
            Check("placed", "the pod is ready where it was asked for", 10, "state", placed, within_s=20),
            Check("plugged", "the node's kernel knows it", 15, "state", plugged, needs=("placed",)),
            Check("reach", "it answers, and is answered, in both families", 45, "probe", reach, needs=("placed",)),
            Check("honest", "what it sends to nobody is dropped", 10, "flow", honest, needs=("placed",), negative=True),
            Check("alone", "nothing else came of it", 20, "invariant", alone, needs=("placed",), negative=True),
        ),
        hints=(
            Hint(
                "placed",
                (
                    "You have seen the call twice: it made web and client.",
                    "lab.pod(name, node=...) makes a pod and waits until it is ready.",
                    'lab.pod("{pod}", node="{node}")',
                ),
                state="absent",
            ),
            Hint(
                "placed",
                (
                    "The pod is not where it was asked for, and a pod never moves.",
                    "Delete it, then make it again with another node.",
                    'lab.kubectl("delete", "pod", "{pod}"), then lab.pod("{pod}", node="{node}")',
                ),
                state="wrong-node",
            ),
            Hint(
                "placed",
                (
                    "The pod is where it should be, and does not become ready. What does its status say?",
                    'print(lab.kubectl("describe", "pod", "{pod}")) ends with what happened to it.',
                    "Its image is not in the catalogue: delete the pod, then make it with glasshive/echo.",
                ),
            ),
            Hint(
                "reach",
                (
                    "The pod is there. Who of the two does not answer, and on which port?",
                    'Is web still ready? lab.status("web") says so. Which image listens on 8080?',
                    "Images of the catalogue differ in their ports: glasshive/echo listens on 8080, nginx on 80.",
                ),
            ),
            Hint(
                "alone",
                (
                    "Compare the pods of this lab with those that you were asked for.",
                    'print(lab.kubectl("get", "pods")) lists them.',
                    "Delete every pod but web, client and {pod}.",
                ),
            ),
        ),
        solutions=(with_the_kit, with_kubectl),
        mutants=(
            Mutant(on_another_node, caught_by="placed"),
            Mutant(never_ready, caught_by="placed"),
            Mutant(without_a_server, caught_by="alone"),
            Mutant(deaf, caught_by="reach"),
        ),
    ),
)

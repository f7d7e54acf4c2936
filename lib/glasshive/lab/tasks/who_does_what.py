"""Lab 02: a night shift has taken an agent and a resolver away; a pod waits for both, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab.checks import invariant, probe, state
from glasshive.lab.checks.outcome import all_of, judged
from glasshive.lab.checks.probe import Probe
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 8080}]}}  # fmt: skip


def draw(seed: Draw) -> dict[str, Any]:
    """Which node the night shift was on, and the pod's name."""
    return {"node": seed.choice(["node3", "node2"]), "pod": f"patient-{seed.name()}"}


def setup(lab: Lab, given: Given) -> None:
    """Server, client and their names; then the faults, and a pod that is ready once both are mended."""
    if not any(one.name == given["pod"] for one in lab.cluster.pods(lab.namespace)):
        lab.run(_SERVICE)
        lab.pod("web", node="node2")
        lab.pod("client", node="node1", image="glasshive/client")
    lab.stop(given["node"], f"{given['node']}-dns")
    # Ready once it can fetch a page by name: so it needs the agent to start and the resolver to become ready.
    asks = {"exec": {"command": ["curl", "-s", "-m", "1", "-o", "/dev/null", "http://web:8080/"]}, "periodSeconds": 1}
    container = {"name": "main", "image": "glasshive/client", "readinessProbe": asks}
    spec = {"nodeName": given["node"], "containers": [container]}
    metadata = {"name": given["pod"], "labels": {"app": given["pod"]}}
    lab.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, lab.namespace)


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """Both components are down, the pod was asked for and has no address."""

    def down() -> CheckResult:
        known = reader.processes()
        up = [name for name in (given["node"], f"{given['node']}-dns") if not known[name].stopped]
        return judged(not up, f"up: {', '.join(up) or 'neither'}", "both components down")

    def waits() -> CheckResult:
        pod = reader.pod(given["pod"])
        return judged(pod is not None and not pod.addresses, f"{given['pod']}: {pod}", "a pod without an address")

    return all_of(down, waits)


def whole(reader: ClusterReader, _: Given) -> CheckResult:
    """Every component runs, and none is kept down."""
    return state.components_ready(
        reader,
        why="a component that is down takes with it what it alone does",
        read="the table of components in the section about roles",
    )


def well(reader: ClusterReader, given: Given) -> CheckResult:
    """The pod is ready where it was asked for."""
    why = "it counts as ready once it can fetch a page from web, by name"
    return state.pod_ready(reader, given["pod"], node=given["node"], why=why, read="lab.status")


def fetches(reader: ClusterReader, given: Given) -> CheckResult:
    """It finds the server's name, and fetches a page from it."""
    ways = [Probe(given["pod"], "web", protocol="dns"), Probe(given["pod"], "web")]
    return probe.allowed(reader, ways, why="the resolver of its own node answers a pod's names")


def others_work(reader: ClusterReader, _: Given) -> CheckResult:
    """What the other pods could do before, they still can."""
    return invariant.still_answered(reader, [Probe("client", "web"), Probe("client", "web", protocol="dns")])


def with_the_kit(lab: Lab, given: Given) -> None:
    """The agent starts the pod and plugs it in; the resolver answers what its probe asks."""
    lab.start(given["node"], f"{given['node']}-dns")


def with_the_command_line(lab: Lab, given: Given) -> None:
    """What ``glasshive start`` in a terminal does, in the other order."""
    for name in (f"{given['node']}-dns", given["node"]):
        lab.cluster.start(name)


def only_the_agent(lab: Lab, given: Given) -> None:
    """The pod runs, and nobody answers its names."""
    lab.start(given["node"])


def only_the_resolver(lab: Lab, given: Given) -> None:
    """Names would be answered, but nobody starts the pod."""
    lab.start(f"{given['node']}-dns")


def moved_away(lab: Lab, given: Given) -> None:
    """The pod was made again on a node that works; what was broken still is."""
    lab.start(given["node"])
    lab.cluster.delete("pod", given["pod"], lab.namespace)
    lab.cluster.wait("pod", given["pod"], "deleted", namespace=lab.namespace)
    lab.cluster.stop(given["node"], kill=True)
    lab.pod(given["pod"], node="node1", image="glasshive/client")


def server_lost(lab: Lab, given: Given) -> None:
    """Both run again, and the server was removed on the way."""
    with_the_kit(lab, given)
    lab.cluster.delete("service", "web", lab.namespace)
    lab.cluster.delete("pod", "web", lab.namespace)
    lab.cluster.wait("pod", "web", "deleted", namespace=lab.namespace)


TASKS = (
    Task(
        id="night-shift",
        title="Mend what the night shift left",
        points=100,
        text="A pod called {pod} was asked for on {node}, and does not become ready: it counts as ready once it can "
        "fetch a page from web, by name. Find out what is wrong and mend it.",
        draw=draw,
        setup=setup,
        ready=ready,
        checks=(
            Check("whole", "every component runs", 25, "state", whole),
            Check("well", "the pod is ready where it was asked for", 15, "state", well, within_s=20),
            Check("fetches", "it fetches a page by name", 35, "probe", fetches, needs=("well",)),
            Check("others", "nothing else broke", 25, "invariant", others_work, needs=("whole",), negative=True),
        ),
        hints=(
            Hint(
                "whole",
                (
                    "Who starts pods on a node, and who answers names there?",
                    "lab.components() shows all of them: look for what is not ready.",
                    'There are two faults, and lab.start takes several names: lab.start("{node}", "{node}-dns")',
                ),
            ),
            Hint(
                "well",
                (
                    "The pod needs its node's agent to start, and its node's resolver to become ready.",
                    "It must run on {node}: one that runs elsewhere mends nothing.",
                    'lab.start("{node}", "{node}-dns"), then give it a few seconds',
                ),
            ),
            Hint(
                "others",
                (
                    "Everything runs, and still something that worked before does not.",
                    'lab.abilities("client", "web") tries it.',
                    "Is the server still there, and the Service web that names it? Make them again as above.",
                ),
            ),
        ),
        solutions=(with_the_kit, with_the_command_line),
        mutants=(
            Mutant(only_the_agent, caught_by="whole"),
            Mutant(only_the_resolver, caught_by="well"),
            Mutant(moved_away, caught_by="well"),
            Mutant(server_lost, caught_by="others"),
        ),
    ),
)

"""Lab 02: the fault that the learner mends, and checks that look at components and at the pod that waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glasshive.errors import NotFoundError
from glasshive.lab.components import processes
from glasshive.model.check_result import CheckResult, Verdict

if TYPE_CHECKING:
    from glasshive.lab.kit import Check, Fault, Lab

_NODE, _POD = "node3", "patient"


def night_shift(lab: Lab) -> str:
    """Take the agent and the resolver of a node away; a pod there waits for both, one after the other."""
    for name in (_NODE, f"{_NODE}-dns"):
        lab.cluster.stop(name, kill=True)
    # Ready once it can fetch a page by name: so it needs the agent to start and the resolver to become ready.
    probe = {"exec": {"command": ["curl", "-s", "-m", "1", "-o", "/dev/null", "http://web:8080/"]}, "periodSeconds": 1}
    container = {"name": "main", "image": "glasshive/client", "readinessProbe": probe}
    spec = {"nodeName": _NODE, "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": _POD, "labels": {"app": _POD}}, "spec": spec}
    lab.cluster.apply(pod, namespace=lab.namespace)
    return f"pod {_POD} has been asked for, and does not become ready"


def whole(lab: Lab) -> CheckResult:
    """Every component runs, and none is kept down."""
    broken = [f"{one.name} is {one.condition}" for one in processes(lab.cluster).values() if one.condition != "ready"]
    if broken:
        return CheckResult(
            "whole",
            Verdict.FAIL,
            observed=", ".join(broken),
            wanted="every component ready",
            why="a component that is down takes with it what it alone does",
            read="the table of components in the section about roles",
        )
    return CheckResult("whole", Verdict.PASS, "every component is ready")


def patient(lab: Lab) -> CheckResult:
    """The pod is ready: its node's agent has plugged it in, its node's resolver answers it."""
    try:
        pod = lab.status(_POD)
    except NotFoundError:
        return CheckResult("patient", Verdict.SKIPPED, f"there is no pod {_POD}", wanted="run the cell with the fault")
    if not pod.ready:
        state = "running, but not ready" if pod.state == "Running" else pod.state.lower()
        return CheckResult(
            "patient",
            Verdict.FAIL,
            observed=f"{_POD} is {state} on {pod.node}",
            wanted=f"{_POD} ready on {_NODE}",
            why="it counts as ready once it can fetch a page from web, by name",
        )
    return CheckResult("patient", Verdict.PASS, f"{_POD} is ready on {pod.node}: it fetches a page from web by name")


CHECKS: dict[str, Check] = {"whole": whole, "patient": patient}
FAULTS: dict[str, Fault] = {"night-shift": night_shift}

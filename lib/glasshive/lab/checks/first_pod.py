"""Checks of lab 01: they look at endpoint, links, maps and packets, never at what the learner typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glasshive.errors import NotFoundError
from glasshive.model.check_result import CheckResult, Verdict

if TYPE_CHECKING:
    from glasshive.lab.kit import Check, Lab

_NODE, _POD, _FROM = "node2", "mine", "web"


def placed(lab: Lab) -> CheckResult:
    """The pod runs where it was asked for."""
    try:
        pod = lab.status(_POD)
    except NotFoundError:
        return CheckResult(
            "placed",
            Verdict.FAIL,
            observed=f"there is no pod called {_POD}",
            wanted=f"a pod called {_POD} on {_NODE}",
            why="the CNI ADD request is made by the node that the pod was placed on",
            read="the second section of this notebook: lab.pod",
        )
    if pod.node != _NODE or not pod.ready:
        where = pod.node or "no node"
        state = "ready" if pod.ready else pod.state.lower()
        return CheckResult("placed", Verdict.FAIL, f"{_POD} is {state} on {where}", f"{_POD} ready on {_NODE}")
    return CheckResult("placed", Verdict.PASS, f"{_POD} is ready on {_NODE}")


def plugged(lab: Lab) -> CheckResult:
    """The node's kernel knows the pod: endpoint entries, and a program at both directions of its device."""
    before = placed(lab)
    if not before:
        return CheckResult("plugged", Verdict.SKIPPED, "the pod is not placed yet", wanted="pass: placed")
    entries = [row for address in lab.status(_POD).addresses for row in lab.rows(_NODE, "endpoints", address=address)]
    hooks = lab.links(_POD)
    observed = f"{len(entries)} endpoint entries, {len(hooks)} programs at the device"
    wanted = f"{len(lab.status(_POD).addresses)} endpoint entries, 2 programs at the device"
    good = observed == wanted
    return CheckResult("plugged", Verdict.PASS if good else Verdict.FAIL, observed, wanted)


def reach(lab: Lab) -> CheckResult:
    """Packets go both ways, in both families."""
    before = placed(lab)
    if not before:
        return CheckResult("reach", Verdict.SKIPPED, "the pod is not placed yet", wanted="pass: placed")
    tried = {}
    for source, target in ((_FROM, _POD), (_POD, _FROM)):
        for family in ("ipv4", "ipv6"):
            answered = ", 0% packet loss" in lab.ping(source, lab.address(target, family), count=2)
            tried[f"{source} -> {target} {family}"] = answered
    failed = [way for way, answered in tried.items() if not answered]
    if failed:
        return CheckResult("reach", Verdict.FAIL, f"no answer: {', '.join(failed)}", "answers both ways, both families")
    return CheckResult("reach", Verdict.PASS, f"answers on {len(tried)} ways: {', '.join(tried)}")


CHECKS: dict[str, Check] = {"placed": placed, "plugged": plugged, "reach": reach}

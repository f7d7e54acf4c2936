"""Table columns of pods: the one word that says what a pod is doing takes its whole status into account."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from .tables import Column, age, age_column, at, name_column

Object = dict[str, Any]


def _ended(state: Object) -> str:
    """How a terminated container ended."""
    if state.get("reason"):
        return str(state["reason"])
    return f"Signal:{state['signal']}" if state.get("signal") else f"ExitCode:{state.get('exitCode', 0)}"


def _initializing(pod: Object) -> str:
    """The word while init containers run, "" when they are done."""
    specs = at(pod, "spec.initContainers") or []
    sidecars = {spec["name"] for spec in specs if spec.get("restartPolicy") == "Always"}
    for done, status in enumerate(at(pod, "status.initContainerStatuses") or []):
        state = status.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting") or {}
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if status["name"] in sidecars and status.get("started"):
            continue
        if ended is not None:
            return "Init:" + _ended(ended)
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{done}/{len(specs)}"
    return ""


def _running(pod: Object, reason: str) -> str:
    """The word for a pod whose containers have begun."""
    any_running = False
    for status in reversed(at(pod, "status.containerStatuses") or []):
        state = status.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif ended is not None:
            reason = _ended(ended)
        elif status.get("ready") and "running" in state:
            any_running = True
    if reason == "Completed" and any_running:
        conditions = at(pod, "status.conditions") or []
        ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
        return "Running" if ready else "NotReady"
    return reason


def status_word(pod: Object, _: datetime | None = None) -> str:
    """The STATUS column."""
    status = pod.get("status") or {}
    reason = status.get("reason") or status.get("phase") or "Unknown"
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    word = _initializing(pod) or _running(pod, reason)
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if status.get("phase") not in {"Succeeded", "Failed"}:
            return "Terminating"
    return word


def _statuses(pod: Object) -> list[Object]:
    sidecars = {c["name"] for c in at(pod, "spec.initContainers") or [] if c.get("restartPolicy") == "Always"}
    init = [s for s in at(pod, "status.initContainerStatuses") or [] if s.get("name") in sidecars]
    return init + (at(pod, "status.containerStatuses") or [])


def _ready(pod: Object, _: datetime) -> str:
    sidecars = [c for c in at(pod, "spec.initContainers") or [] if c.get("restartPolicy") == "Always"]
    total = len(at(pod, "spec.containers") or []) + len(sidecars)
    return f"{sum(bool(s.get('ready')) for s in _statuses(pod))}/{total}"


def _restarts(pod: Object, now: datetime) -> str:
    statuses = _statuses(pod)
    if _initializing(pod):
        statuses = at(pod, "status.initContainerStatuses") or []
    count = sum(s.get("restartCount", 0) for s in statuses)
    ends = [end for s in statuses if (end := at(s, "lastState.terminated.finishedAt"))]
    return f"{count} ({age(max(ends), now)} ago)" if count and ends else str(count)


def _address(pod: Object, _: datetime) -> str:
    first = (at(pod, "status.podIPs") or [{}])[0].get("ip")
    return str(first or at(pod, "status.podIP") or "<none>")


def _gates(pod: Object, _: datetime) -> str:
    gates = at(pod, "spec.readinessGates") or []
    if not gates:
        return "<none>"
    true = {c.get("type") for c in at(pod, "status.conditions") or [] if c.get("status") == "True"}
    return f"{sum(gate['conditionType'] in true for gate in gates)}/{len(gates)}"


POD = [
    name_column(),
    Column("Ready", _ready),
    Column("Status", status_word),
    Column("Restarts", _restarts),
    age_column(),
    Column("IP", _address, wide=True),
    Column("Node", lambda pod, _: at(pod, "spec.nodeName") or "<none>", wide=True),
    Column("Nominated Node", lambda pod, _: at(pod, "status.nominatedNodeName") or "<none>", wide=True),
    Column("Readiness Gates", _gates, wide=True),
]

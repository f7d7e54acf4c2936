"""The status of a Pod, worked out from what its first process says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from glasshive.cluster.embedded.workloads.catalogue import normalise
from glasshive.kube.objects import Object

TERMINAL = ("Succeeded", "Failed")


@dataclass
class Observed:
    """What is known about a pod. ``account`` is the first process's own (``status.json``), None before there is one."""

    account: dict[str, Any] | None = None
    addresses: tuple[str, ...] = ()
    host_addresses: tuple[str, ...] = ()
    start_time: str = ""
    waiting: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Container -> (reason, message) while the pod could not be started; "" stands for all others."""
    ready: dict[str, bool] = field(default_factory=dict)
    """Readiness by container, where it has a readiness probe."""
    started: dict[str, bool] = field(default_factory=dict)
    """The same for startup probes."""
    restarts_before: dict[str, int] = field(default_factory=dict)
    """Restarts counted in earlier sandboxes of this pod."""
    failed: tuple[str, str] | None = None
    """(reason, message) if the pod as a whole has failed."""


def pod_status(pod: Object, seen: Observed, now: str) -> dict[str, Any]:
    """The whole ``status`` to be patched in; ``now`` is stamped on conditions that have changed."""
    init = [_container_status(c, "initContainers", seen) for c in pod["spec"].get("initContainers") or []]
    main = [_container_status(c, "containers", seen) for c in pod["spec"].get("containers") or []]
    phase = _phase(pod, init, main, seen)
    status: dict[str, Any] = {"phase": phase, "containerStatuses": main}
    if init:
        status["initContainerStatuses"] = init
    if seen.host_addresses:
        status |= {"hostIP": seen.host_addresses[0], "hostIPs": [{"ip": ip} for ip in seen.host_addresses]}
    if seen.addresses:
        status |= {"podIP": seen.addresses[0], "podIPs": [{"ip": ip} for ip in seen.addresses]}
    if seen.start_time:
        status["startTime"] = seen.start_time
    if seen.failed:
        status |= {"reason": seen.failed[0], "message": seen.failed[1]}
    status["conditions"] = _conditions(pod, phase, init, main, seen=seen, now=now)
    return status


def _container_status(container: Object, group: str, seen: Observed) -> dict[str, Any]:
    name = container["name"]
    own = next((c for c in (seen.account or {}).get(group, ()) if c["name"] == name), None)
    if own is None:
        reason, message = seen.waiting.get(name) or seen.waiting.get("") or ("ContainerCreating", "")
        state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
        own = {"state": state, "lastState": {}, "restartCount": 0, "containerID": ""}
    running = "running" in own["state"]
    completed = "terminated" in own["state"] and own["state"]["terminated"]["exitCode"] == 0
    started = running and seen.started.get(name, True)
    ready = completed if group == "initContainers" and not running else started and seen.ready.get(name, True)
    image = container.get("image", "")
    return {
        "name": name,
        "state": own["state"],
        "lastState": own["lastState"],
        "ready": ready,
        "started": started,
        "restartCount": own["restartCount"] + seen.restarts_before.get(name, 0),
        "image": image,
        "imageID": f"glasshive://{normalise(image)}" if own["containerID"] else "",
        "containerID": own["containerID"],
    }


def _phase(pod: Object, init: list[Any], main: list[Any], seen: Observed) -> str:
    if seen.failed:
        return "Failed"
    policy = pod["spec"].get("restartPolicy") or "Always"
    for status in init:
        ended = status["state"].get("terminated")
        if ended and ended["exitCode"] and policy == "Never":
            return "Failed"
    ended = [s["state"]["terminated"] for s in main if "terminated" in s["state"]]
    waiting = [s for s in main if "waiting" in s["state"] and not s["lastState"]]
    if waiting:
        return "Pending"
    if len(ended) < len(main):
        return "Running"
    over = bool((seen.account or {}).get("over"))
    if not over and (policy == "Always" or (policy == "OnFailure" and any(e["exitCode"] for e in ended))):
        return "Running"
    return "Failed" if any(e["exitCode"] for e in ended) else "Succeeded"


def _conditions(
    pod: Object, phase: str, init: list[Any], main: list[Any], *, seen: Observed, now: str
) -> list[dict[str, Any]]:
    sidecars = {c["name"] for c in pod["spec"].get("initContainers") or [] if c.get("restartPolicy") == "Always"}
    pending_init = [s["name"] for s in init if not (s["ready"] or (s["name"] in sidecars and s["started"]))]
    unready = [s["name"] for s in main if not s["ready"]]
    if phase in TERMINAL:
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
        ready: tuple[bool, str, str] = (False, reason, "")
    else:
        text = f"containers with unready status: [{' '.join(unready)}]" if unready else ""
        ready = (not unready, "ContainersNotReady" if unready else "", text)
    initialised = (not pending_init or phase == "Succeeded", "", "")
    if not initialised[0]:
        initialised = (
            False,
            "ContainersNotInitialized",
            f"containers with incomplete status: [{' '.join(pending_init)}]",
        )
    wanted = {
        "PodReadyToStartContainers": (seen.account is not None and phase not in TERMINAL, "", ""),
        "Initialized": initialised,
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": (True, "", ""),
    }
    before = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or []}
    kept = [c for kind, c in before.items() if kind not in wanted]
    return kept + [_condition(kind, value, before.get(kind), now) for kind, value in wanted.items()]


def _condition(kind: str, verdict: tuple[bool, str, str], before: Mapping[str, Any] | None, now: str) -> dict[str, Any]:
    true, reason, message = verdict
    condition: dict[str, Any] = {"type": kind, "status": "True" if true else "False"}
    same = before is not None and before.get("status") == condition["status"]
    condition["lastTransitionTime"] = (before or {}).get("lastTransitionTime") if same else now
    condition["lastProbeTime"] = None
    return condition | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})

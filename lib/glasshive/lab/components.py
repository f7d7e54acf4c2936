"""A cluster's components as a lab shows and breaks them: what stands there, what works, what a kill does.

A component is a process of the cluster by its name in ``glasshive status``. Nothing here needs the control plane,
unless that is what is asked about: labs take it away.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from glasshive.errors import ApiError, ClusterError, DeadlineError, NotFoundError

if TYPE_CHECKING:
    from glasshive.cluster import Cluster
    from glasshive.model.cluster import ProcessStatus

RESTART_SECONDS = 20.0
WORKS = "works"
SETTLE_SECONDS = 1.0  # so long may something that was just changed take until it works
_LOOK_S = 0.01


def processes(cluster: Cluster) -> dict[str, ProcessStatus]:
    """Give all components by name."""
    return {one.name: one for one in cluster.backend.status().processes}


def rows(cluster: Cluster, restarts_before: dict[str, int], names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Give name, role, state and restarts (since a count before) of each component, or of those named."""
    return [
        {
            "component": one.name,
            "role": one.role,
            "state": one.condition,
            "restarts": one.restarts - restarts_before.get(one.name, 0),
        }
        for one in processes(cluster).values()
        if not names or one.name in names
    ]


def crash(cluster: Cluster, name: str) -> str:
    """Kill a component from outside, wait until its successor is ready, and say how long that took."""
    before = _named(cluster, name)
    if not before.pid:
        raise ClusterError(f"{name} is {before.condition}", hint=f"cluster.start({name!r}) starts it")
    began = time.monotonic()
    os.kill(before.pid, signal.SIGKILL)
    while True:
        now = _named(cluster, name)
        if now.ready and now.pid != before.pid:
            milliseconds = (time.monotonic() - began) * 1000
            return f"{name} was killed by {now.last_exit}; a new one was ready after {milliseconds:.0f} ms"
        if time.monotonic() - began > RESTART_SECONDS:
            raise DeadlineError(f"{name} is {now.condition} {RESTART_SECONDS:g} s after it was killed")
        time.sleep(_LOOK_S)


def start_all(cluster: Cluster) -> list[str]:
    """Start what somebody has stopped; gives the names."""
    stopped = [one.name for one in processes(cluster).values() if one.stopped]
    for name in stopped:
        cluster.start(name)
    return stopped


def pod_place(cluster: Cluster, namespace: str, pod: str) -> tuple[str, list[str]]:
    """Give a pod's node and addresses: from the API, or from the agents if that does not answer."""
    try:
        for one in cluster.pods(namespace):
            if one.name == pod and one.node:
                return one.node, list(one.addresses)
    except ApiError as error:
        if error.code != 503:
            raise
        for name, process in processes(cluster).items():
            if process.role == "agent" and process.ready:
                for row in cluster.backend.node_request(name, "GET", "/v1/endpoints"):
                    if (row["namespace"], row["pod"]) == (namespace, pod):
                        return name, list(row["addresses"])
    raise NotFoundError(f"no node that answers has a pod {pod!r}")


def run_in_pod(cluster: Cluster, namespace: str, pod: str, argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
    """Run a command in a pod through its node's own process, as the kubelet would for anybody: (status, output)."""
    node, _ = pod_place(cluster, namespace, pod)
    body = {"namespace": namespace, "pod": pod, "argv": list(argv), "timeout": timeout_s}
    done = cluster.backend.node_request(node, "POST", "/v1/exec", body, timeout=timeout_s + 5)
    return int(done["returncode"]), (done["stdout"] + done["stderr"]).strip()


def abilities(cluster: Cluster, namespace: str, client: str, server: str) -> list[dict[str, Any]]:
    """Try what people want of a cluster; each row says that it works, or what the tool that was tried says."""
    _, addresses = pod_place(cluster, namespace, server)
    address = next(one for one in addresses if ":" not in one)
    tried: dict[str, Callable[[], tuple[int, str]]] = {
        f"{client} reaches {server} by address": lambda: _curl(cluster, namespace, client, address),
        f"{client} reaches {server} by name": lambda: _curl(cluster, namespace, client, server),
        "kubectl is answered": lambda: kubectl(cluster, namespace, "get", "pods"),
    }
    return [{"ability": ability, "now": _settled(attempt)} for ability, attempt in tried.items()]


def _settled(attempt: Callable[[], tuple[int, str]]) -> str:
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        status, said = attempt()
        if status == 0:
            return WORKS
        if time.monotonic() > deadline:
            return said
        time.sleep(10 * _LOOK_S)


def _curl(cluster: Cluster, namespace: str, client: str, host: str) -> tuple[int, str]:
    argv = ["curl", "-sS", "-m", "3", "-o", "/dev/null", f"http://{host}:8080/"]
    status, said = run_in_pod(cluster, namespace, client, argv, 8.0)
    if status == 6 or "Resolving timed out" in said:  # which of the two depends on how soon the refusals come
        said = f"fails: nobody says which address {host} has"
    return status, said


def kubectl(cluster: Cluster, namespace: str, *argv: str) -> tuple[int, str]:
    """Run kubectl in a namespace: (status, what it printed, or the last line of its complaint)."""
    done = cluster.kubectl("--namespace", namespace, *argv, check=False, timeout=30.0)
    if done.returncode:
        return done.returncode, (done.stderr.strip().splitlines() or ["no word of why"])[-1]
    return 0, done.stdout.rstrip()


def _named(cluster: Cluster, name: str) -> ProcessStatus:
    found = processes(cluster)
    if name not in found:
        raise NotFoundError(f"there is no component {name!r}", hint=", ".join(found))
    return found[name]

"""Checks of state: objects, pods, rows of maps, links, routes. What is written down; see ``probe`` for what works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glasshive.lab.checks.outcome import bad, good, judged
from glasshive.lab.grading.reader import ClusterReader
from glasshive.model.check_result import CheckResult

_MOVING = {"Pending", "ContainerCreating", "Running", "Terminating"}


def pod_ready(reader: ClusterReader, name: str, *, node: str = "", why: str = "", read: str = "") -> CheckResult:
    """A pod of the lab is ready, on this node if one is named. States: ``absent``, ``wrong-node``, ``not-ready``."""
    wanted = f"a pod {name}, ready" + (f" on {node}" if node else "")
    pod = reader.pod(name)
    if pod is None:
        return bad(f"there is no pod {name}", wanted, why=why, read=read, state="absent")
    if node and pod.node and pod.node != node:
        return bad(f"{name} is on {pod.node}", wanted, why=why, read=read, state="wrong-node")
    if not pod.ready:
        moving = pod.state in _MOVING
        where = f" on {pod.node}" if pod.node else ""
        return bad(f"{name} is {_said(pod.state)}{where}", wanted, why=why, read=read, state="not-ready", moving=moving)
    return good(f"{name} is ready on {pod.node}")


def _said(state: str) -> str:
    return "running, but not ready" if state == "Running" else state.lower()


def object_has(
    reader: ClusterReader,
    kind: str,
    name: str,
    path: str = "",
    value: object = None,
    *,
    why: str = "",
    read: str = "",
) -> CheckResult:
    """An object is there and holds ``value`` at ``path`` (``spec.podCIDRs.0``). States: ``absent``, ``different``."""
    found = reader.get(kind, name)
    if found is None:
        return bad(f"there is no {kind} {name}", f"a {kind} {name}", why=why, read=read, state="absent")
    if not path:
        return good(f"{kind} {name} is there")
    held = at_path(found, path)
    return judged(
        str(held) == str(value),
        f"{kind} {name}: {path} is {held}",
        f"{path} = {value}",
        why=why,
        read=read,
        state="different",
    )


def at_path(obj: Any, path: str) -> Any:
    """What an object holds at ``a.b.0.c``; None where the path leads nowhere."""
    for part in path.split("."):
        if isinstance(obj, Mapping):
            obj = obj.get(part)
        elif isinstance(obj, list) and part.isdigit() and int(part) < len(obj):
            obj = obj[int(part)]
        else:
            return None
    return obj


def map_has(
    reader: ClusterReader, node: str, name: str, count: int = 1, *, why: str = "", read: str = "", **where: object
) -> CheckResult:
    """A node's map has ``count`` rows with these values (0: none). States: ``no-row``, ``rows`` (another number)."""
    found = reader.rows(node, name, **where)
    told = ", ".join(f"{key}={value}" for key, value in where.items())
    return judged(
        len(found) == count,
        f"{_rows(len(found))} with {told} in {name} of {node}",
        f"{_rows(count)} with {told}",
        why=why,
        read=read,
        state="rows" if found else "no-row",
    )


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def map_holds(
    reader: ClusterReader,
    node: str,
    name: str,
    where: Mapping[str, object],
    holds: Mapping[str, object],
    *,
    why: str = "",
    read: str = "",
) -> CheckResult:
    """The row of a node's map that ``where`` picks holds these values. States: ``no-row``, ``different``."""
    key = ", ".join(f"{column}={value}" for column, value in where.items())
    found = reader.rows(node, name, **where)
    wanted = ", ".join(f"{column}={value}" for column, value in holds.items())
    if not found:
        return bad(f"no row with {key} in {name} of {node}", wanted, why=why, read=read, state="no-row")
    held = ", ".join(f"{column}={found[0].get(column)}" for column in holds)
    return judged(held == wanted, f"{name} of {node}: {held}", wanted, why=why, read=read, state="different")


def pod_plugged(reader: ClusterReader, name: str, *, why: str = "", read: str = "") -> CheckResult:
    """A pod's node has its addresses in ``endpoints`` and a program at both directions of its device.

    States: ``no-endpoint``, ``no-links``.
    """
    pod = reader.pod(name)
    if pod is None or not pod.addresses:
        return bad(f"pod {name} has no address", "a pod with addresses", state="no-endpoint", moving=pod is not None)
    entries = sum(len(reader.rows(pod.node, "endpoints", address=one)) for one in pod.addresses)
    known = reader.endpoint(name)
    mine = [one for one in reader.links(pod.node) if one["pin"].startswith(f"pod_{known['id']}_")]
    hooks = sorted(one["program"] for one in mine if one["ifindex"] == known["ifindex"])  # a detached link has none
    return judged(
        entries == len(pod.addresses) and hooks == ["from_pod", "to_pod"],
        f"{entries} endpoint entries, programs at its device: {', '.join(hooks) or 'none'}",
        f"{len(pod.addresses)} endpoint entries, programs at its device: from_pod, to_pod",
        why=why,
        read=read,
        state="no-endpoint" if entries < len(pod.addresses) else "no-links",
    )


def route_via(
    reader: ClusterReader, node: str, destination: str, *, why: str = "", read: str = "", **holds: object
) -> CheckResult:
    """A node's main table has a route to ``destination`` with these values (``gateway=``, ``device=``).

    States: ``no-route``, ``different``.
    """
    found = [row for row in reader.survey(node, "routes") if row["destination"] == destination]
    wanted = f"a route to {destination} on {node}" + "".join(f", {key} {value}" for key, value in holds.items())
    if not found:
        return bad(f"{node} has no route to {destination}", wanted, why=why, read=read, state="no-route")
    held = "".join(f", {key} {found[0].get(key)}" for key in holds)
    right = any(all(str(row.get(key)) == str(value) for key, value in holds.items()) for row in found)
    return judged(right, f"a route to {destination} on {node}{held}", wanted, why=why, read=read, state="different")


def components_ready(reader: ClusterReader, *names: str, why: str = "", read: str = "") -> CheckResult:
    """Every component of the cluster (or those named) runs. State: ``down``."""
    known = reader.processes()
    picked = [known[name] for name in names if name in known] if names else list(known.values())
    broken = [f"{one.name} is {one.condition}" for one in picked if one.condition != "ready"]
    broken += [f"there is no component {name}" for name in names if name not in known]
    starting = any(one.condition == "starting" for one in picked)
    return judged(
        not broken,
        ", ".join(broken) or f"{len(picked)} components are ready",
        "every component ready",
        why=why,
        read=read,
        state="down",
        moving=starting,
    )

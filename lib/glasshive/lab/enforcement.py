"""Policies, modes and labels of a cluster, changed by a lab: each call returns when every node acts on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from glasshive.agent.policy import settings
from glasshive.agent.policy.sources import policy_resources
from glasshive.cluster import Cluster
from glasshive.errors import ApiError, DeadlineError, UsageError

T = TypeVar("T")
_WAIT_SECONDS = 20.0
MADE_BY = "glasshive.lab/made-by"
"""Label of a policy that holds for the whole cluster: the namespace of the lab that has made it."""
_NOTE = "mode-before-lab"
"""ConfigMap of the lab's namespace: what stood in the cluster's before the lab set a mode ('': nothing, so that the
cluster's own mode held). It is not kept at the cluster's ConfigMap itself, which others may write anew.
"""


def wait_in_force(cluster: Cluster, obj: Mapping[str, Any]) -> str:
    """Wait until every node has this very form of a policy in force; gives a line about it. DeadlineError.

    A policy that makes no sense is told with its first finding, and not waited for any longer.
    """
    meta = obj["metadata"]
    name = f"{obj['kind']} {meta['name']}"
    wanted = (meta.get("uid"), meta.get("generation"))

    def known() -> dict[str, Any] | None:
        found = [_object(cluster, node, obj) for node in _nodes(cluster)]
        held = [one for one in found if one and _form(one) == wanted]
        return held[0] if held and len(held) == len(found) else None

    row = _poll(known, f"{name} to be in force on every node")
    known()  # an agent writes its tables in the very turn in which it lists an object: a second answer comes after
    if not row["valid"]:
        return f"{name}: not valid, {next(iter(row['findings']), 'and nobody says why')}"
    return f"{name}: in force"


def mark(cluster: Cluster, obj: Mapping[str, Any], *, namespace: str) -> None:
    """Write at a policy that is in no namespace which lab has made it, so that ``delete`` finds it."""
    meta = obj["metadata"]
    if not meta.get("namespace"):
        resource = cluster.api.resource(obj["kind"])
        labels = {"metadata": {"labels": {MADE_BY: namespace}}}
        path = resource.path(None, meta["name"])
        cluster.api.request("PATCH", path, body=labels, content_type="application/merge-patch+json")


def delete(cluster: Cluster, namespace: str, names: Iterable[str] = (), *, every_wide: bool = False) -> list[str]:
    """Delete a lab's policies (all, without names) and wait until no node has them; gives their names.

    Those of its namespace, and those for the whole cluster that it has made; ``every_wide``: whoever has made them.
    """
    wanted, left = set(names), set()
    for resource in policy_resources():
        selector = "" if resource.namespaced or every_wide else f"{MADE_BY}={namespace}"
        where = namespace if resource.namespaced else None
        for one in cluster.api.list(resource, where, selector=selector)[0]:
            name = one["metadata"]["name"]
            if not wanted or name in wanted:
                cluster.api.delete(resource, name, where)
                left.add((resource.kind, where or "", name))

    def out() -> bool:
        held = {_place(row) for node in _nodes(cluster) for row in _objects(cluster, node)}
        return not held & left

    if left:
        _poll(out, "the policies to be out of force on every node")
        out()
    return sorted(name for _, _, name in left)


def set_mode(cluster: Cluster, mode: str, *, namespace: str) -> None:
    """Set the cluster's mode of enforcement for a lab, and wait until every node has it. UsageError, DeadlineError."""
    wanted = str(settings.mode_of(mode))
    data = _data(cluster, settings.CONFIG_NAME, settings.CONFIG_NAMESPACE) or {}
    if _data(cluster, _NOTE, namespace) is None:
        _put(cluster, _NOTE, namespace, {settings.MODE_KEY: data.get(settings.MODE_KEY, "")})
    _put(cluster, settings.CONFIG_NAME, settings.CONFIG_NAMESPACE, {**data, settings.MODE_KEY: wanted})
    _wait_mode(cluster, wanted)


def restore_mode(cluster: Cluster, *, namespace: str) -> None:
    """Set the mode back to what held before a lab changed it, if it did."""
    note = _data(cluster, _NOTE, namespace)
    if note is None:
        return
    data = _data(cluster, settings.CONFIG_NAME, settings.CONFIG_NAMESPACE) or {}
    data.pop(settings.MODE_KEY, None)
    before = note.get(settings.MODE_KEY, "")
    if before:
        data[settings.MODE_KEY] = before
    if data:
        _put(cluster, settings.CONFIG_NAME, settings.CONFIG_NAMESPACE, data)
    else:
        cluster.delete("configmap", settings.CONFIG_NAME, settings.CONFIG_NAMESPACE)
    _wait_mode(cluster, before or cluster.config.policy_enforcement)
    cluster.delete("configmap", _NOTE, namespace)


def _wait_mode(cluster: Cluster, wanted: str) -> None:
    def everywhere() -> bool:
        asked = [cluster.backend.node_request(node, "GET", "/v1/config") for node in _nodes(cluster)]
        return all(one["PolicyEnforcement"] == wanted for one in asked)

    _poll(everywhere, f"every node to enforce policy in the mode {wanted}")


def _put(cluster: Cluster, name: str, namespace: str, data: Mapping[str, str]) -> None:
    meta = {"name": name, "namespace": namespace}
    cluster.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": dict(data)}])


def _data(cluster: Cluster, name: str, namespace: str) -> dict[str, str] | None:
    """What a ConfigMap holds, None if there is none."""
    try:
        return dict(cluster.get("ConfigMap", name, namespace).get("data") or {})
    except ApiError as error:
        if error.code != 404:
            raise
        return None


def relabel(cluster: Cluster, namespace: str, pod: str, labels: Mapping[str, str | None]) -> None:
    """Change a pod's labels (None takes one away); wait until every node's ipcache has its new identity."""
    resource = cluster.api.resource("pod")
    patch = {"metadata": {"labels": dict(labels)}}
    made = cluster.api.request(
        "PATCH", resource.path(namespace, pod), body=patch, content_type="application/merge-patch+json"
    )
    node = (made.get("spec") or {}).get("nodeName") or ""
    addresses = {one["ip"] for one in (made.get("status") or {}).get("podIPs") or ()}
    if not node or not addresses:
        raise UsageError(f"pod {pod} does not run yet", hint="wait until it is ready, then change its labels")

    def agreed() -> bool:
        mine = cluster.backend.node_request(node, "GET", f"/v1/endpoints/{namespace}%2F{pod}")
        if not all(_has(mine["labels"], key, value) for key, value in labels.items()):
            return False
        wanted = {(address, mine["identity"]) for address in addresses}
        return all(wanted <= _known(cluster, one) for one in _nodes(cluster))

    _poll(agreed, f"every node to know the new identity of {pod}")


def _has(held: Iterable[str], key: str, value: str | None) -> bool:
    if value is None:
        return not any(label.startswith(f"k8s:{key}=") for label in held)
    return f"k8s:{key}={value}" in held


def _known(cluster: Cluster, node: str) -> set[tuple[str, int]]:
    rows = cluster.backend.node_request(node, "GET", "/v1/ipcache")
    return {(str(row["prefix"]).rpartition("/")[0], int(row["identity"])) for row in rows}


def _nodes(cluster: Cluster) -> list[str]:
    return [one.name for one in cluster.topology().nodes]


def _objects(cluster: Cluster, node: str) -> list[dict[str, Any]]:
    return list(cluster.backend.node_request(node, "GET", "/v1/policy")["objects"])


def _object(cluster: Cluster, node: str, obj: Mapping[str, Any]) -> dict[str, Any] | None:
    meta = obj["metadata"]
    wanted = (obj["kind"], meta.get("namespace") or "", meta["name"])
    return next((row for row in _objects(cluster, node) if _place(row) == wanted), None)


def _place(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["kind"], row["namespace"], row["name"]


def _form(row: Mapping[str, Any]) -> tuple[Any, Any]:
    meta = row["object"]["metadata"]
    return meta.get("uid"), meta.get("generation")


def _poll(look: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise DeadlineError(f"{what}: not within {_WAIT_SECONDS:.0f} s")
        time.sleep(0.02)
    return found

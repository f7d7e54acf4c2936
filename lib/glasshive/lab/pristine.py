"""What there is on a cluster, as sets of names: to tell whether a reset, or a healed fault, left anything behind.

Compared are things that somebody makes and that stay until somebody removes them: objects, pods' endpoints, rows of the
maps that say who is where, links, devices, routes, components. What traffic leaves behind (connections, counters) and
what the cluster itself keeps writing (events, leases) is not.
"""

from __future__ import annotations

from collections.abc import Mapping

from glasshive.agent.policy.sources import policy_resources
from glasshive.api.resources import BUILTIN
from glasshive.bpf import inspect
from glasshive.errors import ClusterError, GlasshiveError
from glasshive.lab.grading.reader import ClusterReader
from glasshive.net import netns

Inventory = dict[str, frozenset[str]]
_RESTLESS = {"Event", "Lease", "Node", "ComponentStatus", "Endpoints", "EndpointSlice", "PodMetrics", "NodeMetrics"}
_MAPS = ("endpoints", "ipcache")


def inventory(reader: ClusterReader) -> Inventory:
    """List all of it, by kind of thing."""
    found: Inventory = {}
    for resource in BUILTIN:
        if resource.kind not in _RESTLESS and "/" not in resource.plural:
            found[resource.plural] = frozenset(_names(reader, resource.plural))
    for resource in policy_resources():
        found[resource.plural] = frozenset(_names(reader, resource.plural))
    found["components"] = frozenset(f"{one.name} {one.condition}" for one in reader.processes().values())
    found["programs"] = frozenset(str(one.path) for one in inspect.pins(reader.pins("labs")))
    found["namespaces"] = frozenset(netns.names(f"gh-{reader.cluster_name}-lab-"))
    for node in reader.nodes():
        for what in ("devices", "routes"):
            rows = reader.survey(node.name, what)
            found[f"{what} of {node.name}"] = frozenset(str({**row, "state": ""}) for row in rows)
        for name in _MAPS:
            found[f"{name} of {node.name}"] = frozenset(map(str, reader.rows(node.name, name)))
        found[f"links of {node.name}"] = frozenset(
            f"{one['pin']} {one['program']} {one['ifindex']}" for one in reader.links(node.name)
        )
        found[f"pods of {node.name}"] = frozenset(_pods(reader, node.name))
    return found


def _pods(reader: ClusterReader, node: str) -> list[str]:
    try:
        return [f"{one['pod']} {one['addresses']}" for one in reader.ask(node, "/v1/endpoints")]
    except ClusterError:
        return ["its agent does not answer"]  # a task may have taken it away


def _names(reader: ClusterReader, plural: str) -> list[str]:
    try:
        objects = reader.objects(plural, None)
    except GlasshiveError:
        return []  # a kind that this API server does not serve as a list
    metadata = [one["metadata"] for one in objects]
    return [f"{one.get('namespace', '')}/{one['name']} {one.get('uid', '')}" for one in metadata]


def differences(before: Mapping[str, frozenset[str]], after: Mapping[str, frozenset[str]]) -> list[str]:
    """What is there now and was not, and the other way round, in words; [] when nothing is."""
    found = []
    for kind in sorted({*before, *after}):
        old, new = before.get(kind, frozenset()), after.get(kind, frozenset())
        found += [f"{kind}: new {one}" for one in sorted(new - old)]
        found += [f"{kind}: gone {one}" for one in sorted(old - new)]
    return found

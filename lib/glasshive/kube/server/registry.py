"""What the server serves: resources by address, each with its table, its schema and its rules.

Built-ins are there from the start; custom resources come and go with their definitions (``crd``). All versions of a
custom resource share one table and one form, the conversion strategy ``None`` of the upstream API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from glasshive.api.resources import BUILTIN, EVENT_V1, Resource

from . import events, schema
from .fields import FIELDS
from .store import Store, Table

if TYPE_CHECKING:
    from .schema import Node
    from .structural import CustomVersion

#: Kinds whose ``metadata.generation`` counts changes of everything but metadata and status.
_GENERATION = frozenset({
    "pods", "replicationcontrollers", "deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps",
    "jobs.batch", "cronjobs.batch", "networkpolicies.networking.k8s.io", "ingresses.networking.k8s.io",
    "ingressclasses.networking.k8s.io", "poddisruptionbudgets.policy", "endpointslices.discovery.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
})  # fmt: skip

#: Turns the stored form of an object into the form of an address, or back. May change its argument.
View = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(slots=True, eq=False)
class Served:
    """One resource as it is served."""

    resource: Resource
    table: Table
    counts_generation: bool
    custom: CustomVersion | None = None
    node: Node | None = None
    selectable: frozenset[str] = field(default_factory=frozenset)
    shown: View | None = None
    stored: View | None = None

    @property
    def has_status(self) -> bool:
        """Whether status is written through a subresource of its own."""
        return self.resource.subresource("status") is not None


class Registry:
    """Served resources by (group, version, plural)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._served: dict[tuple[str, str, str], Served] = {}
        for resource in BUILTIN:
            self.add(resource)

    def add(self, resource: Resource, custom: CustomVersion | None = None) -> Served:
        """Serve ``resource`` (replacing what was served at its address)."""
        name = resource.group_resource
        # Both Event groups are views of the same objects.
        table = self._store.table("events" if name == "events.events.k8s.io" else name)
        extract, selectable = FIELDS.get(name, (None, frozenset[str]()))
        if custom is not None:
            extract, selectable = custom.fields, frozenset(custom.selectable)
        if extract is not None:
            table.fields_of = extract
        counts = custom is not None or name in _GENERATION
        node = custom.node if custom is not None else schema.builtin(resource.api_version, resource.kind)
        served = Served(resource, table, counts, custom, node, selectable | {"metadata.name", "metadata.namespace"})
        if resource == EVENT_V1:
            served.shown, served.stored = events.to_new, events.to_core
        self._served[resource.group, resource.version, resource.plural] = served
        return served

    def drop(self, group: str, plural: str) -> None:
        """Serve the resource no longer, in any version."""
        for key in [key for key in self._served if key[0] == group and key[2] == plural]:
            del self._served[key]

    def find(self, group: str, version: str, plural: str) -> Served | None:
        """What is served at that address, or None."""
        return self._served.get((group, version, plural))

    def builtin(self, resource: Resource) -> Served:
        """The served form of a built-in."""
        return self._served[resource.group, resource.version, resource.plural]

    def __iter__(self) -> Iterator[Served]:
        return iter(list(self._served.values()))

    def groups(self) -> dict[str, list[str]]:
        """Every group with its versions, in the order in which discovery lists them."""
        found: dict[str, list[str]] = {}
        for group, version, _ in self._served:
            versions = found.setdefault(group, [])
            if version not in versions:
                versions.append(version)
        return found

"""What is said of a policy object in its status: whether it makes sense, and what of it cannot be enforced.

Written once per change of the object or of what it refers to; agents write nothing. Kinds whose status has no
conditions (NetworkPolicy) are answered with an event when they do not make sense.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from glasshive.api import cidr_group, policies
from glasshive.api.policy_lint import lint
from glasshive.api.policy_lookups import of_objects
from glasshive.api.policy_reading import ERROR, Lookups, Options, Use
from glasshive.api.policy_status import status_of
from glasshive.api.resources import ENDPOINT_SLICE, NODE, SERVICE, Resource
from glasshive.kube.informer import EventType
from glasshive.kube.objects import Key, Object, is_terminating
from glasshive.model.address import Prefix
from glasshive.operator.clock import now_text
from glasshive.operator.controller import Context, Controller

COMPONENT = "policy-controller"


class References:
    """What policies refer to, as one value; rebuilt when something of it has changed."""

    def __init__(self, context: Context) -> None:
        kinds = (SERVICE, ENDPOINT_SLICE, cidr_group.CILIUM_CIDR_GROUP, NODE)
        self.needs = [context.caches.of(one) for one in kinds]
        self._known: Lookups | None = None
        self._listeners: list[Callable[[str, str, str], None]] = []
        for collection in self.needs:
            collection.on_event(self._on_event)

    def listen(self, listener: Callable[[str, str, str], None]) -> None:
        """Have ``listener`` told of the kind, namespace and name of what has changed."""
        self._listeners.append(listener)

    def lookups(self) -> Lookups:
        """All of it."""
        if self._known is None:
            found = [obj for collection in self.needs[:3] for obj in collection.values()]
            self._known = of_objects(found, tuple(self._cluster_prefixes()))
        return self._known

    def _cluster_prefixes(self) -> Iterable[Prefix]:
        for node in self.needs[3].values():
            yield from _node_prefixes(node)

    def _on_event(self, _: EventType, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        if obj["kind"] == NODE.kind and old and new and [*_node_prefixes(old)] == [*_node_prefixes(new)]:
            return  # a heartbeat
        self._known = None
        kind, name = obj["kind"], obj["metadata"]["name"]
        if kind == ENDPOINT_SLICE.kind:
            kind, name = SERVICE.kind, (obj["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
        for listener in self._listeners:
            listener(kind, obj["metadata"].get("namespace", ""), name)


def _node_prefixes(node: Object) -> Iterable[Prefix]:
    """The pods' prefixes and the addresses of a node."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    yield from (Prefix.parse(text) for text in spec.get("podCIDRs") or ())
    internal = (one for one in status.get("addresses") or () if one.get("type") == "InternalIP")
    yield from (Prefix.parse(one["address"]) for one in internal)


class PolicyStatusController(Controller):
    """Judges the objects of one kind."""

    name: ClassVar[str] = "policy-status"
    workers: ClassVar[int] = 1

    def __init__(self, context: Context, resource: Resource, references: References, options: Options) -> None:
        self._objects = context.caches.of(resource)
        super().__init__(context, [self._objects, *references.needs])
        self._resource = resource
        self._references = references
        self._options = options
        self._uses: dict[Key, frozenset[Use]] = {}
        self._valid: dict[Key, Object] = {}
        """Objects as they were when they were valid last."""
        self._objects.on_event(self.enqueue)
        references.listen(self._on_reference)

    def _on_reference(self, kind: str, namespace: str, name: str) -> None:
        for key, uses in self._uses.items():
            if any(use.concerns(kind, namespace, name) for use in uses):
                self.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        """Judge one object and say so, if it has not been said yet."""
        obj = self._objects.get(key[1], key[0])
        if obj is None or is_terminating(obj):
            self._uses.pop(key, None)
            self._valid.pop(key, None)
            return None
        whole = {"apiVersion": self._resource.api_version, "kind": self._resource.kind, **obj}
        parsed = policies.parse(whole, self._references.lookups(), self._options)
        self._uses[key] = parsed.uses
        if self._resource.subresource("status") is None:
            if not parsed.valid:
                finding = next(one for one in parsed.policy.findings if one.severity == ERROR)
                self.context.events.warning(whole, "InvalidPolicy", f"{finding.path}: {finding.message}", COMPONENT)
            return None
        findings = (*parsed.policy.findings, *lint(parsed.policy))
        if parsed.valid:
            self._valid[key] = obj
        last_valid = self._valid.get(key)
        wanted = status_of(whole, findings, parsed.policy.rules, now=now_text(), last_valid=last_valid)
        status = obj.get("status") or {}
        if any(status.get(name) != value for name, value in wanted.items()):
            await self._objects.patch(obj, {"status": wanted}, subresource="status")
        return None


def controllers(context: Context) -> list[PolicyStatusController]:
    """One controller for every kind of policy."""
    references = References(context)
    options = Options(cluster=context.config.cluster)
    kinds: dict[tuple[str, str], Resource] = {}
    for kind in policies.KINDS.values():
        kinds.setdefault((kind.resource.group, kind.resource.plural), kind.resource)
    return [PolicyStatusController(context, one, references, options) for one in kinds.values()]

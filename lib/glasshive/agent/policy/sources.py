"""Everything that policies are made of, followed: objects of all kinds, and what they refer to.

Changes are gathered until the loop's turn ends and told together. An object is read again when something that it
refers to (a Service, its endpoints, a CIDR group) has changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from glasshive.agent.policy.kept import KeptForms
from glasshive.api import cidr_group, policies
from glasshive.api.policy_lookups import service_facts
from glasshive.api.policy_reading import CidrGroupFacts, Lookups, Options, Parsed, ServiceFacts, Use
from glasshive.api.policy_status import form_in_force
from glasshive.api.resources import ENDPOINT_SLICE, NODE, SERVICE, Resource
from glasshive.errors import DeadlineError
from glasshive.kube.client import Client
from glasshive.kube.informer import EventType, Informer
from glasshive.kube.objects import Key, Object, key_of, labels_of
from glasshive.model.address import Prefix
from glasshive.model.node import NodeFacts
from glasshive.model.policy import ObjectRef, PolicyObject

_SLICE_SERVICE = "kubernetes.io/service-name"
_BY_SERVICE = "service"

log = logging.getLogger(__name__)

Told = Callable[[list[PolicyObject], list[ObjectRef]], None]
"""Objects that are new or other than before, and those that are no more."""


@dataclass(slots=True)
class _Held:
    obj: Object
    parsed: Parsed
    valid: Object | None
    """The last form that could be enforced."""
    enforced: PolicyObject


class PolicySources:
    """Informers of all kinds of policy and of what they refer to."""

    def __init__(
        self, client: Client, options: Options, told: Told, kept: KeptForms,
        nodes: Callable[[], Iterable[NodeFacts]] = tuple,
    ) -> None:  # fmt: skip
        self._options = options
        self._nodes = nodes
        self._kept = kept
        self._told = told
        self._held: dict[tuple[str, Key], _Held] = {}
        self._users: dict[tuple[str, Key], frozenset[Use]] = {}
        self._services: dict[Key, ServiceFacts] = {}
        self._groups: dict[str, CidrGroupFacts] = {}
        self._dirty: dict[tuple[str, Key], None] = {}
        self._gone: dict[ObjectRef, None] = {}
        self._due = False
        self._services_seen = Informer(client, SERVICE, self._on_service)
        by_service = {_BY_SERVICE: lambda obj: [f"{key_of(obj)[0]}/{labels_of(obj).get(_SLICE_SERVICE, '')}"]}
        self._slices_seen = Informer(client, ENDPOINT_SLICE, self._on_slice, indexers=by_service)
        self._informers = [
            self._services_seen,
            self._slices_seen,
            Informer(client, cidr_group.CILIUM_CIDR_GROUP, self._on_group),
            *(Informer(client, one, self._policy_handler(one)) for one in policy_resources()),
        ]

    def start(self) -> None:
        """Begin to follow."""
        for informer in self._informers:
            informer.start()

    async def stop(self) -> None:
        """Stop following."""
        await asyncio.gather(*(informer.stop() for informer in self._informers))

    async def wait_synced(self, seconds: float) -> None:
        """Wait until everything that exists is known; DeadlineError. Kinds that are not served have no objects."""
        found = await asyncio.gather(
            *(informer.wait_synced(seconds) for informer in self._informers), return_exceptions=True
        )
        for informer, outcome in zip(self._informers, found, strict=True):
            if not isinstance(outcome, BaseException):
                continue
            if not isinstance(outcome, DeadlineError) or not _not_served(informer):
                raise outcome
            log.info("%s are not served here: no policies of that kind", informer.resource.plural)

    @property
    def synced(self) -> bool:
        """Whether everything that exists is known."""
        return all(informer.synced or _not_served(informer) for informer in self._informers)

    # -- reading

    def in_force(self) -> list[PolicyObject]:
        """Every object as it is to be enforced. ``flush`` first."""
        return [held.enforced for held in self._held.values()]

    def objects(self) -> list[tuple[Object, Parsed]]:
        """Every policy object as it is, with what was understood of it."""
        return [(held.obj, held.parsed) for held in self._held.values()]

    def lookups(self) -> Lookups:
        """What policies refer to."""
        prefixes = {prefix for node in self._nodes() for prefix in _prefixes(node)}
        return Lookups(self._services, self._groups, tuple(sorted(prefixes)) or None)

    # -- events

    def _policy_handler(self, resource: Resource) -> Callable[[EventType, Object | None, Object | None], None]:
        def on_event(_: EventType, old: Object | None, new: Object | None) -> None:
            obj = new or old
            assert obj is not None
            where = f"{resource.api_version} {resource.kind}", key_of(obj)
            if new is None:
                self._removed(where)
            elif old is None or _what_counts(old) != _what_counts(new):
                self._put(where, {"apiVersion": resource.api_version, "kind": resource.kind, **new})

        return on_event

    def _put(self, where: tuple[str, Key], obj: Object) -> None:
        before = self._held.get(where)
        if before is not None:
            before.obj = obj
        else:
            self._held[where] = _Held(obj, _NOTHING, None, _NOTHING.policy)
        self._mark(where)

    def _removed(self, where: tuple[str, Key]) -> None:
        held = self._held.pop(where, None)
        self._users.pop(where, None)
        self._dirty.pop(where, None)
        if held is not None:
            self._kept.forget(held.obj)
        if held is not None and held.parsed is not _NOTHING:
            self._gone[held.parsed.policy.ref] = None
            self._schedule()

    def _on_service(self, _: EventType, old: Object | None, new: Object | None) -> None:
        self._service_moved(key_of(new or old or {}))

    def _on_slice(self, _: EventType, old: Object | None, new: Object | None) -> None:
        for obj in (old, new):
            name = labels_of(obj).get(_SLICE_SERVICE) if obj is not None else None
            if obj is not None and name:
                self._service_moved((key_of(obj)[0], name))

    def _service_moved(self, key: Key) -> None:
        """A Service or one of its EndpointSlices is another one now."""
        service = self._services_seen.get(key[1], key[0])
        before = self._services.pop(key, None)
        if service is not None:
            slices = self._slices_seen.by_index(_BY_SERVICE, f"{key[0]}/{key[1]}")
            self._services[key] = service_facts(service, slices)
        if self._services.get(key) != before:
            self._concerned("Service", *key)

    def _on_group(self, _: EventType, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        name = obj["metadata"]["name"]
        before = self._groups.pop(name, None)
        if new is not None:
            self._groups[name] = cidr_group.facts(new)
        if self._groups.get(name) != before:
            self._concerned(cidr_group.CILIUM_CIDR_GROUP.kind, "", name)

    def node_moved(self, name: str) -> None:
        """The prefixes or addresses of a node are others now."""
        self._concerned(NODE.kind, "", name)

    def _concerned(self, kind: str, namespace: str, name: str) -> None:
        for where, uses in self._users.items():
            if any(use.concerns(kind, namespace, name) for use in uses):
                self._mark(where)

    # -- telling

    def _mark(self, where: tuple[str, Key]) -> None:
        self._dirty[where] = None
        self._schedule()

    def _schedule(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Read what has changed and tell it."""
        self._due = False
        dirty, self._dirty = self._dirty, {}
        gone, self._gone = list(self._gone), {}
        lookups = self.lookups()
        put = [self._take(where, lookups) for where in dirty if where in self._held]
        if put or gone:
            self._told(put, gone)

    def _take(self, where: tuple[str, Key], lookups: Lookups) -> PolicyObject:
        held = self._held[where]
        held.enforced = self._read(held, lookups)
        if held.parsed.uses:
            self._users[where] = held.parsed.uses
        else:
            self._users.pop(where, None)
        return held.enforced

    def _read(self, held: _Held, lookups: Lookups) -> PolicyObject:
        """Read an object; what is not valid leaves its last valid form in force, also that of an earlier life."""
        held.parsed = policies.parse(held.obj, lookups, self._options)
        if held.parsed.valid:
            held.valid = held.obj
            self._kept.forget(held.obj)
            return held.parsed.policy
        log.warning("%s is not valid: %s", held.parsed.policy.ref, held.parsed.policy.findings[0].message)
        if held.valid is None:
            held.valid = self._kept.get(held.obj) or form_in_force(held.obj)
        if held.valid is None:
            return held.parsed.policy
        self._kept.keep(held.valid)
        again = policies.parse(held.valid, lookups, self._options)
        if not again.valid:
            # It was valid until a node came whose addresses it names; for those outside it holds as before.
            again = policies.parse(held.valid, replace(lookups, cluster_prefixes=None), self._options)
        held.parsed = Parsed(held.parsed.policy, held.parsed.uses | again.uses)
        return again.policy


_NOTHING = Parsed(PolicyObject(ObjectRef("", "", "")), frozenset[Use]())


def policy_resources() -> list[Resource]:
    """Every kind of policy once, in the version it is stored in."""
    found: dict[tuple[str, str], Resource] = {}
    for kind in policies.KINDS.values():
        if kind.resource.plural != cidr_group.CILIUM_CIDR_GROUP.plural:
            found.setdefault((kind.resource.group, kind.resource.plural), kind.resource)
    return list(found.values())


def _prefixes(node: NodeFacts) -> Iterable[Prefix]:
    """What of the cluster's addresses is on a node: its pods' and its own."""
    return (*node.pod_prefixes, *(Prefix.host(one) for one in node.addresses))


def _not_served(informer: Informer) -> bool:
    return informer.last_error is not None and informer.last_error.code == 404


def _what_counts(obj: Object) -> tuple[Any, ...]:
    """An object without what others write into it: managed fields, and of its status all but what is in force."""
    meta, form = obj["metadata"], (obj.get("status") or {}).get("enforcedForm")
    return obj.get("spec"), obj.get("specs"), meta.get("uid"), meta.get("labels"), meta.get("annotations"), form

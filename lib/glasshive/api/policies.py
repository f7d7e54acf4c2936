"""Any policy object -> ``Parsed``: the one door for agents, operator and command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from glasshive.api import (
    admin_network_policy,
    cidr_group,
    cilium_network_policy,
    cilium_policy_schema,
    cluster_network_policy,
    network_policy,
)
from glasshive.api.crd import ANYTHING, Schema
from glasshive.api.policy_reading import DEFAULTS, NO_LOOKUPS, Lookups, Options, Parsed, Reading
from glasshive.api.policy_schema import check
from glasshive.api.resources import NETWORK_POLICY, Resource
from glasshive.errors import UsageError
from glasshive.model.policy import DefaultDeny, ObjectRef, PolicyObject, Rule

Object = dict[str, Any]
_TOP = ("apiVersion", "kind", "metadata", "status")


@dataclass(frozen=True, slots=True)
class PolicyKind:
    """A kind of policy: what its objects look like, and how they are read."""

    resource: Resource
    schema: Schema
    read: Callable[[Object, Reading], tuple[list[Rule], list[DefaultDeny]]]


def _kinds() -> tuple[PolicyKind, ...]:
    admin, cluster = admin_network_policy, cluster_network_policy
    cilium = (cilium_policy_schema.CILIUM_NETWORK_POLICY, cilium_policy_schema.CILIUM_CLUSTERWIDE_NETWORK_POLICY)
    return (
        PolicyKind(NETWORK_POLICY, network_policy.SCHEMA, network_policy.read),
        *(PolicyKind(one, cilium_policy_schema.SCHEMA, cilium_network_policy.read) for one in cilium),
        PolicyKind(admin.ADMIN_NETWORK_POLICY, admin.ADMIN_SCHEMA, admin.read),
        PolicyKind(admin.BASELINE_ADMIN_NETWORK_POLICY, admin.BASELINE_SCHEMA, admin.read),
        PolicyKind(cluster.CLUSTER_NETWORK_POLICY, cluster.SCHEMA, cluster.read),
    )


def _groups() -> tuple[PolicyKind, ...]:
    both = (cidr_group.CILIUM_CIDR_GROUP, cidr_group.CILIUM_CIDR_GROUP_V2ALPHA1)
    return tuple(PolicyKind(one, cidr_group.SCHEMA, cidr_group.read) for one in both)


POLICY_RESOURCES = tuple(kind.resource for kind in _kinds())
"""The kinds that have rules."""
KINDS = {(kind.resource.api_version, kind.resource.kind): kind for kind in (*_kinds(), *_groups())}
"""Every kind that can be read, by ``apiVersion`` and ``kind``: policies, and the groups that they name."""


def kind_of(obj: Object) -> PolicyKind | None:
    """The kind of an object, None if it is no policy."""
    version, kind = obj.get("apiVersion"), obj.get("kind")
    return KINDS.get((version, kind)) if isinstance(version, str) and isinstance(kind, str) else None


def parse(obj: Object, lookups: Lookups = NO_LOOKUPS, options: Options = DEFAULTS, *, file: str = "") -> Parsed:
    """Read a policy object. Faults of the object become findings; UsageError if it is no policy at all.

    An object with an error has no rules and no default denies: see ``policy_status`` for what then stays enforced.
    """
    kind = kind_of(obj)
    if kind is None:
        raise UsageError(f"{obj.get('apiVersion')} {obj.get('kind')} is not a kind of policy that Glasshive knows")
    reading = Reading(_ref(obj, kind.resource, file), lookups, options)
    rules, denies = kind.read(_checked(obj, kind, reading), reading)
    sound = tuple(rules) if not reading.findings else tuple(one for one in rules if _is_sound(one, reading))
    if reading.failed:
        rules, denies = [], []
    spec = obj.get("spec")
    described = spec.get("description") if isinstance(spec, dict) else None
    policy = PolicyObject(
        reading.ref,
        tuple(rules),
        tuple(denies),
        tuple(reading.findings),
        described if isinstance(described, str) else "",
    )
    return Parsed(policy, frozenset(reading.uses), sound)


def _is_sound(rule: Rule, reading: Reading) -> bool:
    return not reading.at_fault(rule.origin.path) and not reading.doubts(rule.origin.path)


def _ref(obj: Object, resource: Resource, file: str) -> ObjectRef:
    metadata = obj.get("metadata")
    given = metadata if isinstance(metadata, dict) else {}
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    namespace = texts.get("namespace", "default") if resource.namespaced else ""
    return ObjectRef(resource.kind, namespace, texts.get("name", ""), texts.get("uid", ""), file)


def _checked(obj: Object, kind: PolicyKind, reading: Reading) -> Object:
    """The object with everything at the top that its reader looks at, in a shape that it can rely on."""
    properties = {**dict.fromkeys(_TOP, ANYTHING), **kind.schema["properties"]}
    body = {name: value for name, value in obj.items() if name not in _TOP}
    schema = {"type": "object", "properties": properties, "required": kind.schema.get("required", ())}
    found: Object = check(schema, body, "", reading)
    if not reading.ref.name and "metadata" not in reading.spelled:
        reading.error("metadata.name", "is missing, must be text")
    return found

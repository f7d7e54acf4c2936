"""Label selectors of policies -> conditions on identities' labels, and the entities.

Kubernetes' own kinds look at labels of source ``k8s``. In Cilium's kinds a key may carry its source (``k8s:app``,
``reserved:host``); without one it is from anywhere. How peers are bound to a namespace: reference/features.md, 2.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from glasshive.api.crd import STRING, STRINGS, Schema, array
from glasshive.api.policy_reading import Reading
from glasshive.api.policy_schema import WORD, said
from glasshive.api.selectors import LABEL_KEY, LABEL_VALUE
from glasshive.model.labels import CLUSTER, NAMESPACE, NAMESPACE_LABELS, SOURCE_ANY, SOURCE_K8S, SOURCE_RESERVED
from glasshive.model.policy import LabelPeer, Match

_OPS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}
Selector = Mapping[str, Any]
Matches = tuple[Match, ...]


@lru_cache(maxsize=1 << 16)
def match(source: str, key: str, op: str, *values: str) -> Match:
    """A condition; equal ones are one object, because policies repeat them by the thousand."""
    return Match(source, key, op, frozenset(values))


ANY_POD = match(SOURCE_K8S, NAMESPACE, "exists")
"""Holds for pods of every namespace and for nothing else."""


def selector_schema(description: str) -> Schema:
    """Schema of a LabelSelector."""
    expression: Schema = {
        "type": "object",
        "required": ["key", "operator"],
        "properties": {
            "key": said("The label's key.", STRING),
            "operator": said(
                "In and NotIn compare with values (a missing label satisfies NotIn); Exists and DoesNotExist do not.",
                {"type": "string", "enum": list(_OPS), WORD: "operator"},
            ),
            "values": said("Values for In and NotIn; absent for the other two.", STRINGS),
        },
    }
    return {
        "type": "object",
        "description": description,
        "properties": {
            "matchLabels": said(
                "Labels that all must be there with these values.",
                {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}},
            ),
            "matchExpressions": said("Conditions that all must hold, besides matchLabels.", array(expression)),
        },
    }


def kubernetes_matches(selector: Selector | None, path: str, reading: Reading, prefix: str = "") -> Matches:
    """Conditions of a Kubernetes LabelSelector; ``prefix`` is put before keys (labels of namespaces)."""
    return tuple(
        match(SOURCE_K8S, prefix + key, op, *values) for key, op, values in _requirements(selector, path, reading)
    )


def namespace_matches(selector: Selector | None, path: str, reading: Reading) -> Matches:
    """Conditions that hold for pods of the namespaces with these labels; ``{}`` is every namespace."""
    return (ANY_POD, *kubernetes_matches(selector, path, reading, NAMESPACE_LABELS + "."))


def in_namespace(name: str) -> Match:
    """Holds for pods of this namespace."""
    return match(SOURCE_K8S, NAMESPACE, "in", name)


def cilium_matches(selector: Selector | None, path: str, reading: Reading, default: str = SOURCE_ANY) -> Matches:
    """Conditions of a selector whose keys may carry their source; ``default`` is the source of those without."""
    found = []
    for key, op, values in _requirements(selector, path, reading, sources=True):
        source, colon, name = key.partition(":")
        found.append(match(source, name, op, *values) if colon else match(default, key, op, *values))
    return tuple(found)


def peer_matches(selector: Selector | None, path: str, reading: Reading, *, init: bool) -> Matches:
    """A peer's conditions, bound to where the policy may look (2.6): its own namespace unless the selector names one.

    Reserved identities belong to no namespace. ``init``: the policy's subject selects endpoints without labels yet.
    """
    found = cilium_matches(selector, path, reading)
    if any(one.source == SOURCE_RESERVED for one in found):
        return found
    pods = [one.key for one in found if one.source in (SOURCE_ANY, SOURCE_K8S)]
    if NAMESPACE in pods:
        return found
    if not reading.namespace:
        return found if init else (*found, ANY_POD)
    if any(key.startswith(NAMESPACE_LABELS) for key in pods):
        return found
    return (*found, in_namespace(reading.namespace))


def subject_matches(selector: Selector, path: str, reading: Reading) -> Matches:
    """A policy's own selector: a namespaced object selects in its namespace, whatever it says of namespaces."""
    found = cilium_matches(selector, path, reading)
    if not reading.namespace:
        return found
    mine = in_namespace(reading.namespace)
    kept = []
    for one in found:
        if one.key == NAMESPACE and one.source in (SOURCE_ANY, SOURCE_K8S) and one.op == "in":
            if reading.namespace not in one.values:
                reading.warn(
                    path,
                    f"names namespace {', '.join(sorted(one.values))}, but {reading.ref.kind} objects select in their "
                    f"own namespace only: the condition is left out, {reading.namespace} counts",
                )
            continue
        kept.append(one)
    return (*kept, mine)


def _requirements(
    selector: Selector | None, path: str, reading: Reading, *, sources: bool = False
) -> list[tuple[str, str, tuple[str, ...]]]:
    found: list[tuple[str, str, tuple[str, ...]]] = []
    if not selector:
        return found
    for key, value in (selector.get("matchLabels") or {}).items():
        value = value or ""  # noqa: PLW2901 - null is an empty value
        if not _good_key(key, sources=sources) or not LABEL_VALUE.fullmatch(value):
            what = f"{value!r} is not a label value" if _good_key(key, sources=sources) else "is not a label key"
            reading.error(f"{path}.matchLabels[{key}]", what)
        found.append((key, "in", (value,)))
    for at, one in enumerate(selector.get("matchExpressions") or ()):
        op, values = _OPS[one["operator"]], tuple(one.get("values") or ())
        here = f"{path}.matchExpressions[{at}]"
        if not _good_key(one["key"], sources=sources):
            reading.error(f"{here}.key", f"{one['key']!r} is not a label key")
        if reading.doubts(f"{here}.operator"):
            pass  # which values it takes is not known
        elif op in ("in", "notin") and not values:
            reading.error(here, f"{one['operator']} needs values")
        elif op in ("exists", "absent") and values:
            reading.error(f"{here}.values", f"{one['operator']} takes no values")
        for value in values:
            if not LABEL_VALUE.fullmatch(value):
                reading.error(f"{here}.values", f"{value!r} is not a label value")
        found.append((one["key"], op, values))
    return found


@lru_cache(maxsize=1 << 14)
def _good_key(key: str, *, sources: bool) -> bool:
    if not sources or ":" not in key:
        return LABEL_KEY.fullmatch(key) is not None
    source, _, name = key.partition(":")
    # Keys of other sources than Kubernetes have rules of their own: cidr:10.0.0.0/8, fqdn:*.example.com.
    return bool(source) and (LABEL_KEY.fullmatch(name) is not None if source == SOURCE_K8S else bool(name))


def _reserved(*names: str) -> tuple[LabelPeer, ...]:
    return tuple(LabelPeer((match(SOURCE_RESERVED, name, "exists"),)) for name in names)


_SINGLE = ("host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver", "none")
_CLUSTER = ("host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver")
WORLD = _reserved("world", "world-ipv4", "world-ipv6")
ENTITIES = ("all", "world", "cluster", *_SINGLE)
"""Names that fromEntities and toEntities may hold (reference/features.md, 2.4)."""


@lru_cache(maxsize=256)
def entity_peers(entity: str, cluster: str) -> tuple[LabelPeer, ...] | None:
    """Peers that an entity stands for; None is everybody. ``cluster`` is the own cluster's name."""
    if entity == "all":
        return None
    if entity == "world":
        return WORLD
    if entity == "cluster":
        return (*_reserved(*_CLUSTER), LabelPeer((match(SOURCE_K8S, CLUSTER, "in", cluster),)))
    return _reserved(entity)

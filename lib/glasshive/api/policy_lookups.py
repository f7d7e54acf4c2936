"""Kubernetes objects -> ``Lookups``: what policies refer to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from glasshive.api import cidr_group
from glasshive.api.policy_cidrs import read_prefix
from glasshive.api.policy_reading import Lookups, Reading, ServiceFacts
from glasshive.model.address import Prefix
from glasshive.model.policy import ObjectRef

Object = dict[str, Any]
_SERVICE_NAME = "kubernetes.io/service-name"


def service_facts(service: Object, slices: Iterable[Object] = ()) -> ServiceFacts:
    """What policies need of a Service; ``slices`` are its EndpointSlices, asked only if it has no selector.

    Objects come from the API server or from a file that nobody has checked: what has another shape is not there.
    """
    labels = _texts(_mapping(service.get("metadata")).get("labels"))
    selector = _texts(_mapping(service.get("spec")).get("selector"))
    if selector:
        return ServiceFacts(labels, selector)
    reading = Reading(ObjectRef("EndpointSlice", "", ""))
    found = (
        read_prefix(text, "", reading)
        for one in slices
        if one.get("addressType") in ("IPv4", "IPv6")
        for endpoint in _items(one.get("endpoints"))
        for text in _items(_mapping(endpoint).get("addresses"))
        if isinstance(text, str)
    )
    return ServiceFacts(labels, None, tuple(sorted({prefix for prefix in found if prefix is not None})))


def of_objects(objects: Iterable[Object], cluster_prefixes: tuple[Prefix, ...] | None = None) -> Lookups:
    """Lookups of the Services, EndpointSlices and CiliumCIDRGroups among ``objects``; others are passed over."""
    services: dict[tuple[str, str], Object] = {}
    slices: dict[tuple[str, str], list[Object]] = {}
    groups = {}
    for obj in objects:
        metadata = _mapping(obj.get("metadata"))
        namespace, name = str(metadata.get("namespace") or "default"), str(metadata.get("name"))
        match obj.get("kind"):
            case "Service":
                services[namespace, name] = obj
            case "EndpointSlice":
                owner = _texts(metadata.get("labels")).get(_SERVICE_NAME, "")
                slices.setdefault((namespace, owner), []).append(obj)
            case "CiliumCIDRGroup":
                groups[name] = cidr_group.facts(obj)
    facts = {key: service_facts(service, slices.get(key, ())) for key, service in services.items()}
    return Lookups(facts, groups, cluster_prefixes)


def _mapping(value: Any) -> Object:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> dict[str, str]:
    return {str(key): str(one) for key, one in _mapping(value).items()}

"""CiliumL2AnnouncementPolicy (cilium.io/v2alpha1): which nodes answer for which services on their network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from glasshive.api.crd import CONDITIONS, STRING, Schema, array, column, definition, record
from glasshive.api.load_balancer_request import Key
from glasshive.api.policy_schema import said, schema_of, structure
from glasshive.api.policy_selectors import selector_schema
from glasshive.api.resources import Resource, Subresource
from glasshive.api.selectors import Selector, of_label_selector
from glasshive.errors import UsageError
from glasshive.model.address import Address, parse

Object = dict[str, Any]
KIND = "CiliumL2AnnouncementPolicy"
CILIUM_L2_ANNOUNCEMENT_POLICY = Resource(
    "cilium.io",
    "v2alpha1",
    "ciliuml2announcementpolicies",
    KIND,
    False,
    ("l2announcement",),
    categories=("cilium",),
    subresources=(Subresource("status", KIND),),
)
CLASS = "io.cilium/l2-announcer"
"""Load balancer class of services that are announced, besides none at all."""
_SPEC = structure(
    "Who announces what.",
    externalIPs=said("Announce the addresses of spec.externalIPs.", {"type": "boolean"}, default=False),
    loadBalancerIPs=said("Announce the addresses of status.loadBalancer.", {"type": "boolean"}, default=False),
    interfaces=said("Regular expressions; devices that one of them finds. Without any: all devices.", array(STRING)),
    nodeSelector=selector_schema("Which nodes announce, by their labels. Without it: all."),
    serviceSelector=selector_schema(
        "Which services are announced, by their labels; io.kubernetes.service.name and io.kubernetes.service.namespace "
        "stand for their name and namespace. Without it: all."
    ),
)
SCHEMA: Schema = {"type": "object", "required": ["spec"],
                  "properties": {"spec": _SPEC, "status": record(conditions=CONDITIONS)}}  # fmt: skip


@dataclass(frozen=True, slots=True)
class L2Policy:
    """A policy as agents know it. ``interfaces`` empty: all."""

    name: str
    services: Selector = ()
    nodes: Selector = ()
    interfaces: tuple[re.Pattern[str], ...] = ()
    external: bool = False
    balancer: bool = False


@dataclass(frozen=True, slots=True)
class L2Service:
    """A Service that may be announced."""

    key: Key
    labels: tuple[tuple[str, str], ...] = ()
    """With the pseudo labels for its name and namespace."""
    external: tuple[Address, ...] = ()
    balancer: tuple[Address, ...] = ()
    local: bool = False
    """externalTrafficPolicy Local: only a node with a ready backend may answer for it."""


def crd() -> Object:
    """The CustomResourceDefinition."""
    columns = [column("Age", ".metadata.creationTimestamp", "date")]
    told = "Which nodes answer on their own network for addresses of which Services; one node for each Service."
    return definition(CILIUM_L2_ANNOUNCEMENT_POLICY, schema_of(SCHEMA["properties"]), columns, told)


def policy_of(obj: Object) -> L2Policy:
    """The policy of an object; UsageError names an expression that is none: then nothing is announced by it."""
    spec = obj["spec"]
    patterns = []
    for text in spec.get("interfaces") or ():
        try:
            patterns.append(re.compile(text))
        except re.error as error:
            raise UsageError(f"spec.interfaces: {text!r} is no regular expression: {error}") from None
    return L2Policy(
        obj["metadata"]["name"],
        of_label_selector(spec.get("serviceSelector")),
        of_label_selector(spec.get("nodeSelector")),
        tuple(patterns),
        bool(spec.get("externalIPs")),
        bool(spec.get("loadBalancerIPs")),
    )


def service_of(obj: Object) -> L2Service | None:
    """A Service with addresses that could be announced, None if it has none."""
    metadata, spec = obj["metadata"], obj["spec"]
    if metadata.get("deletionTimestamp") or (spec.get("loadBalancerClass") or CLASS) != CLASS:
        return None
    given = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    balancer = _addresses([one.get("ip") for one in given]) if spec.get("type") == "LoadBalancer" else ()
    external = _addresses(spec.get("externalIPs") or ())
    if not balancer and not external:
        return None
    key = (str(metadata.get("namespace") or "default"), str(metadata["name"]))
    pseudo = {"io.kubernetes.service.namespace": key[0], "io.kubernetes.service.name": key[1]}
    labels = {**(metadata.get("labels") or {}), **pseudo}
    local = spec.get("externalTrafficPolicy") == "Local" and spec.get("type") in {"NodePort", "LoadBalancer"}
    return L2Service(key, tuple(sorted(labels.items())), external, balancer, local)


def _addresses(texts: Any) -> tuple[Address, ...]:
    """Those that are addresses; what the others are is said elsewhere."""
    found = []
    for text in texts:
        try:
            found.append(parse(text or ""))
        except UsageError:
            continue
    return tuple(found)

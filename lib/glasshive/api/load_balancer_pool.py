"""CiliumLoadBalancerIPPool (cilium.io/v2 and v2alpha1): addresses for Services of type LoadBalancer."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from glasshive.api.crd import CONDITIONS, STRING, Schema, array, column, definition, record
from glasshive.api.policy_schema import choice, said, schema_of, structure
from glasshive.api.policy_selectors import selector_schema
from glasshive.api.resources import Resource, Subresource
from glasshive.api.selectors import Selector, of_label_selector
from glasshive.errors import UsageError
from glasshive.model.span import Span

Object = dict[str, Any]
KIND = "CiliumLoadBalancerIPPool"
CILIUM_LOAD_BALANCER_IP_POOL = Resource(
    "cilium.io",
    "v2",
    "ciliumloadbalancerippools",
    KIND,
    False,
    ("ippools", "ippool", "lbippool", "lbippools"),
    categories=("cilium",),
    subresources=(Subresource("status", KIND),),
)

CONFLICT = "cilium.io/PoolConflict"
"""Condition: the pool gives no addresses, because they may be somebody else's."""
COUNTS = ("cilium.io/IPsTotal", "cilium.io/IPsAvailable", "cilium.io/IPsUsed")
"""Conditions whose message is a number."""

_BLOCK = structure(
    "Some addresses: a cidr, or those from start to stop.",
    cidr=said("A prefix, such as 192.0.2.0/24.", STRING),
    start=said("The first address.", STRING),
    stop=said("The last address; without it, only the first.", STRING),
)
_SPEC = structure(
    "The pool.",
    ("blocks",),
    allowFirstLastIPs=choice("Whether the first and the last address of each cidr are given.", "answer", "Yes", "No"),
    blocks=said("The addresses of the pool.", array(_BLOCK), maxItems=256),
    disabled=said("No new addresses are given; given ones stay.", {"type": "boolean"}, default=False),
    serviceSelector=selector_schema(
        "Which services get addresses, by their labels; io.kubernetes.service.name and "
        "io.kubernetes.service.namespace stand for their name and namespace. Without it, all."
    ),
)
SCHEMA: Schema = {
    "type": "object",
    "required": ["spec"],
    "properties": {"spec": _SPEC, "status": record(conditions=CONDITIONS)},
}


@dataclass(frozen=True, slots=True)
class LoadBalancerPool:
    """A pool as the allocator knows it. ``created`` orders pools: of two that overlap the older one is used."""

    name: str
    created: str
    spans: tuple[Span, ...]
    selector: Selector = ()
    disabled: bool = False
    fault: str = ""
    """Why a block is none; the pool is not used then."""


def crd() -> Object:
    """The CustomResourceDefinition, with both versions."""
    columns = [
        column("Disabled", ".spec.disabled", "boolean"),
        column("Conflicting", f'.status.conditions[?(@.type=="{CONFLICT}")].status'),
        column("IPs Available", f'.status.conditions[?(@.type=="{COUNTS[1]}")].message'),
        column("Age", ".metadata.creationTimestamp", "date"),
    ]
    told = "Addresses that Services of type LoadBalancer get."
    found = definition(CILIUM_LOAD_BALANCER_IP_POOL, schema_of(SCHEMA["properties"]), columns, told)
    (newest,) = found["spec"]["versions"]
    older = {**deepcopy(newest), "name": "v2alpha1", "storage": False, "deprecated": True}
    found["spec"]["versions"].append(older)
    return found


def pool_of(obj: Object) -> LoadBalancerPool:
    """The pool of an object; blocks that are none are left out and named in ``fault``."""
    spec, metadata = obj["spec"], obj["metadata"]
    spans, faults = [], []
    for at, block in enumerate(spec.get("blocks") or ()):
        try:
            spans.append(_span(block, ends=spec.get("allowFirstLastIPs") != "No"))
        except UsageError as error:
            faults.append(f"spec.blocks[{at}]: {error.message}")
    return LoadBalancerPool(
        metadata["name"],
        str(metadata.get("creationTimestamp") or ""),
        tuple(spans),
        of_label_selector(spec.get("serviceSelector")),
        bool(spec.get("disabled")),
        "; ".join(faults),
    )


def _span(block: Object, *, ends: bool) -> Span:
    cidr, start, stop = (block.get(name) or "" for name in ("cidr", "start", "stop"))
    if bool(cidr) == bool(start) or (cidr and stop):
        raise UsageError("must have cidr, or start (and stop)")
    return Span.of_prefix(cidr, ends=ends) if cidr else Span.between(start, stop)

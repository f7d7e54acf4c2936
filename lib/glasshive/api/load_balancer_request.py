"""What a Service asks of LB IPAM: families, addresses, sharing. Annotations and pseudo labels are Cilium's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from glasshive.errors import UsageError
from glasshive.model.span import number

Object = dict[str, Any]
Key = tuple[str, str]

IPS = ("lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips")
SHARING_KEY = ("lbipam.cilium.io/sharing-key", "io.cilium/lb-ipam-sharing-key")
SHARING_NAMESPACES = ("lbipam.cilium.io/sharing-cross-namespace", "io.cilium/lb-ipam-sharing-cross-namespace")
"""Annotations, today's name first."""
CLASSES = ("io.cilium/bgp-control-plane", "io.cilium/l2-announcer")
"""Load balancer classes whose addresses come from pools, besides none at all."""
SATISFIED = "io.cilium/lb-ipam-request-satisfied"
"""Condition of the Service."""


@dataclass(frozen=True)
class AddressRequest:
    """One Service of type LoadBalancer. Addresses are numbers, see ``glasshive.model.span``."""

    key: Key
    families: tuple[int, ...] = (4,)
    prefers_both: bool = False
    """One family is enough if there is none of the other."""
    wanted: tuple[int, ...] = ()
    """Exactly these addresses; none: any of each family."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    ports: frozenset[tuple[str, int]] = frozenset()
    sharing_key: str = ""
    shares_with: frozenset[str] = frozenset()
    """Other namespaces that it shares with; "*" is all."""
    local: bool = False
    """externalTrafficPolicy Local: who answers depends on where the pods are."""
    pods: frozenset[tuple[str, str]] = frozenset()
    """The labels of its pods."""
    fault: str = ""
    """What of its annotations makes no sense; it gets nothing then."""


def is_ours(service: Object) -> bool:
    """Whether a Service's external addresses are LB IPAM's business."""
    spec = service["spec"]
    return spec.get("type") == "LoadBalancer" and spec.get("loadBalancerClass") in {None, "", *CLASSES}


def annotation(obj: Object, names: tuple[str, ...]) -> str:
    """The first of these annotations that the object has, "" if none."""
    known = obj["metadata"].get("annotations") or {}
    return next((str(known[name]).strip() for name in names if known.get(name)), "")


def request_of(service: Object) -> AddressRequest:
    """Read a Service."""
    metadata, spec = service["metadata"], service["spec"]
    key = (str(metadata.get("namespace") or "default"), str(metadata["name"]))
    wanted, faults = _wanted(service)
    pseudo = {"io.kubernetes.service.namespace": key[0], "io.kubernetes.service.name": key[1]}
    names = annotation(service, SHARING_NAMESPACES).split(",")
    return AddressRequest(
        key=key,
        families=tuple({"IPv4": 4, "IPv6": 6}[one] for one in spec.get("ipFamilies") or ("IPv4",)),
        prefers_both=spec.get("ipFamilyPolicy") == "PreferDualStack",
        wanted=wanted,
        labels={**(metadata.get("labels") or {}), **pseudo},
        ports=frozenset((str(p.get("protocol") or "TCP"), int(p["port"])) for p in spec.get("ports") or ()),
        sharing_key=annotation(service, SHARING_KEY),
        shares_with=frozenset(name.strip() for name in names if name.strip()),
        local=spec.get("externalTrafficPolicy") == "Local",
        pods=frozenset((spec.get("selector") or {}).items()),
        fault="; ".join(faults),
    )


def _wanted(service: Object) -> tuple[tuple[int, ...], list[str]]:
    """Requested addresses, and what is none. The annotation counts before spec.loadBalancerIP."""
    listed = annotation(service, IPS)
    source = f"annotation {IPS[0]}" if listed else "spec.loadBalancerIP"
    found: dict[int, None] = {}
    faults = []
    for text in (listed or service["spec"].get("loadBalancerIP") or "").split(","):
        if not text.strip():
            continue
        try:
            found[number(text)] = None
        except UsageError as error:
            faults.append(f"{source}: {error.message}; write addresses with commas between them")
    return tuple(found), faults

"""CiliumNode (cilium.io/v2, cluster-scoped): addresses, pod CIDRs and pool demand, as agent and operator see a node."""

from __future__ import annotations

from typing import Any

from glasshive.api.crd import ANYTHING, INTEGER, STRING, STRING_MAP, STRINGS, array, column, definition, record
from glasshive.api.resources import Resource, Subresource

CILIUM_NODE = Resource(
    "cilium.io",
    "v2",
    "ciliumnodes",
    "CiliumNode",
    False,
    ("cn", "ciliumn"),
    categories=("cilium",),
    subresources=(Subresource("status", "CiliumNode"),),
)


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition."""
    both = record(ipv4=STRING, ipv6=STRING)
    pools = record(
        requested=array(record(pool=STRING, needed=record(ipv4_addrs=INTEGER, ipv6_addrs=INTEGER))),
        allocated=array(record(pool=STRING, cidrs=STRINGS)),
    )
    spec = record(
        addresses=array(record(type=STRING, ip=STRING)),
        alibaba_cloud=ANYTHING,
        azure=ANYTHING,
        bootid=STRING,
        encryption=record(key=INTEGER),
        eni=ANYTHING,
        health=both,
        ingress=both,
        instance_id=STRING,
        ipam=record(
            podCIDRs=STRINGS,
            pool=ANYTHING,
            pools=pools,
            pre_allocate=INTEGER,
            min_allocate=INTEGER,
            max_allocate=INTEGER,
            max_above_watermark=INTEGER,
            static_ip_tags=STRING_MAP,
        ),
        nodeidentity=INTEGER,
    )
    columns = [
        column("CiliumInternalIP", '.spec.addresses[?(@.type=="CiliumInternalIP")].ip'),
        column("InternalIP", '.spec.addresses[?(@.type=="InternalIP")].ip'),
        column("Age", ".metadata.creationTimestamp", "date"),
    ]
    body = {"spec": spec, "status": ANYTHING}
    return definition(CILIUM_NODE, body, columns, "What a node's agent tells the others: addresses and pod prefixes.")

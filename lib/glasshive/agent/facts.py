"""From Kubernetes objects to the facts that a node works with. Pure; what an object lacks is left out, not guessed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from glasshive.api.service import read_host_ports
from glasshive.errors import UsageError
from glasshive.identity.labels import LabelFilter, security_labels
from glasshive.kube.objects import labels_of, uid_of
from glasshive.model.address import Address, Prefix, parse
from glasshive.model.endpoint import PodRef
from glasshive.model.labels import Labels
from glasshive.model.node import NodeFacts
from glasshive.model.pod import PodFacts
from glasshive.model.policy import SCTP, TCP, UDP

log = logging.getLogger(__name__)

_PROTOCOLS = {"TCP": TCP, "UDP": UDP, "SCTP": SCTP}
_FINISHED = ("Succeeded", "Failed")


def node_facts(obj: Mapping[str, Any]) -> NodeFacts:
    """A Node's name, InternalIPs and pod CIDRs. Texts that are no addresses are logged and left out."""
    name = obj["metadata"]["name"]
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    cidrs = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    addresses: list[Address] = []
    prefixes: list[Prefix] = []
    try:
        addresses += [parse(one["address"]) for one in status.get("addresses") or () if one.get("type") == "InternalIP"]
        prefixes += [Prefix.parse(one) for one in cidrs]
    except UsageError as error:
        log.warning("node %s: %s", name, error)
    return NodeFacts(name, tuple(addresses), tuple(prefixes), tuple(sorted(labels_of(dict(obj)).items())))


def pod_ref(obj: Mapping[str, Any]) -> PodRef:
    """Name of a Pod."""
    meta = obj["metadata"]
    return PodRef(meta.get("namespace") or "default", meta["name"], uid_of(dict(obj)))


def pod_facts(
    obj: Mapping[str, Any], namespace_labels: Mapping[str, str], cluster: str, chosen: LabelFilter | None = None
) -> PodFacts:
    """What a node needs of a Pod."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    texts = [one.get("ip") for one in status.get("podIPs") or ()] or [status.get("podIP")]
    addresses: list[Address] = []
    try:
        addresses += [parse(text) for text in texts if text]
    except UsageError as error:
        log.warning("pod %s: %s", obj["metadata"]["name"], error)
    return PodFacts(
        ref=pod_ref(obj),
        node=spec.get("nodeName") or "",
        addresses=tuple(addresses),
        labels=pod_labels(obj, namespace_labels, cluster, chosen),
        host_network=bool(spec.get("hostNetwork")),
        finished=status.get("phase") in _FINISHED,
        ports=named_ports(spec),
        host_ports=read_host_ports(obj),
    )


def named_ports(spec: Mapping[str, Any]) -> frozenset[tuple[str, int, int]]:
    """The ports of a pod's containers that have a name: (name, IP protocol number, port)."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return frozenset(
        (one["name"], _PROTOCOLS[one.get("protocol") or "TCP"], int(one["containerPort"]))
        for container in containers
        for one in container.get("ports") or ()
        if one.get("name") and (one.get("protocol") or "TCP") in _PROTOCOLS
    )


def pod_labels(
    obj: Mapping[str, Any], namespace_labels: Mapping[str, str], cluster: str, chosen: LabelFilter | None = None
) -> Labels:
    """The labels that a Pod's identity is given for."""
    return security_labels(
        labels_of(dict(obj)),
        obj["metadata"].get("namespace") or "default",
        namespace_labels=namespace_labels,
        service_account=(obj.get("spec") or {}).get("serviceAccountName") or "default",
        cluster=cluster,
        chosen=chosen,
    )


def node_to_json(node: NodeFacts) -> dict[str, Any]:
    """A node's facts in the shape of a Node object: what an agent keeps to start from while the API is away."""
    from glasshive.model.address import render

    return {
        "metadata": {"name": node.name},
        "spec": {"podCIDRs": [str(one) for one in node.pod_prefixes]},
        "status": {"addresses": [{"type": "InternalIP", "address": render(one)} for one in node.addresses]},
    }

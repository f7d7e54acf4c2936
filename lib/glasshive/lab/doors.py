"""Policies of tasks, as plain objects: a door to pods of one label, and who may come in, at which port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glasshive.lab.checks.outcome import bad, good
from glasshive.lab.grading.reader import ClusterReader
from glasshive.model.check_result import CheckResult

HTTP, ECHO = 8080, 9000
Selector = Mapping[str, Any]


def door(name: str, app: str, *guests: Selector, port: int = HTTP) -> dict[str, Any]:
    """A CiliumNetworkPolicy: pods with the label ``app`` let in ``guests`` (matchLabels each) at a TCP port."""
    rule = {"fromEndpoints": [{"matchLabels": dict(one)} for one in guests], "toPorts": ports(port)}
    return cilium(name, {"endpointSelector": {"matchLabels": {"app": app}}, "ingress": [rule]})


def ports(*numbers: int | str, protocol: str = "TCP", end: int = 0) -> list[dict[str, Any]]:
    """The ``toPorts`` of a rule; with ``end`` for the range from the one number to that."""
    more = {"endPort": end} if end else {}
    return [{"ports": [{"port": str(one), "protocol": protocol, **more} for one in numbers]}]


def labelled(**labels: str) -> dict[str, Any]:
    """A selector: everybody with these labels."""
    return {"matchLabels": labels}


def cilium_policy(name: str, selects: Mapping[str, str], **rules: Any) -> dict[str, Any]:
    """A CiliumNetworkPolicy for the pods with these labels; ``rules``: ``ingress``, ``egressDeny`` and so on."""
    return cilium(name, {"endpointSelector": {"matchLabels": dict(selects)}, **rules})


def cilium(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A CiliumNetworkPolicy of the lab's namespace."""
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": name}, "spec": dict(spec)}


def clusterwide(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A CiliumClusterwideNetworkPolicy."""
    return {**cilium(name, spec), "kind": "CiliumClusterwideNetworkPolicy"}


def kubernetes(name: str, selects: Mapping[str, str], **fields: Any) -> dict[str, Any]:
    """A NetworkPolicy for the pods with these labels; ``fields``: ``ingress``, other ``policyTypes``."""
    spec = {"podSelector": {"matchLabels": dict(selects)}, "policyTypes": ["Ingress"], **fields}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}


def unchanged(reader: ClusterReader, wanted: Mapping[str, Any]) -> CheckResult:
    """A policy is there as it was. States: ``absent``, ``changed``."""
    name = wanted["metadata"]["name"]
    found = reader.get(wanted["kind"], name)
    told = f"the policy {name} as it was"
    why = "the policy was not to be touched"
    if found is None:
        return bad(f"there is no policy {name}", told, why=why, state="absent")
    if found["spec"] != wanted["spec"]:
        return bad(f"the policy {name} has been changed", told, why=why, state="changed")
    return good(told)

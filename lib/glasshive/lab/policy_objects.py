"""Policies as plain objects, for tasks: what a learner would write as YAML. Without a namespace: the lab's is meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]


def cilium_policy(name: str, selects: Mapping[str, str], **rules: Any) -> Object:
    """A CiliumNetworkPolicy for the pods with these labels; ``rules``: ``ingress``, ``egressDeny`` and so on."""
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name},
        "spec": {"endpointSelector": {"matchLabels": dict(selects)}, **rules},
    }


def labelled(**labels: str) -> Object:
    """A selector: everybody with these labels."""
    return {"matchLabels": labels}


def ports(*numbers: int | str, protocol: str = "TCP", end: int = 0) -> list[Object]:
    """What ``toPorts`` holds for these ports; with ``end`` for the range from the one number to that."""
    more = {"endPort": end} if end else {}
    return [{"ports": [{"port": str(one), "protocol": protocol, **more} for one in numbers]}]

"""Kubernetes and cilium.io objects as validated values; one module per kind."""

from __future__ import annotations

from typing import Any


def crds() -> list[dict[str, Any]]:
    """Every CustomResourceDefinition that a Glasshive cluster needs, for the operator to apply."""
    from glasshive.api import cilium_endpoint, cilium_identity, cilium_node, cilium_policy_schema

    nodes = [module.crd() for module in (cilium_endpoint, cilium_identity, cilium_node)]
    return [*nodes, *cilium_policy_schema.crds()]

"""Kubernetes and cilium.io objects as validated values; one module per kind."""

from __future__ import annotations

from typing import Any


def crds() -> list[dict[str, Any]]:
    """Every CustomResourceDefinition that a Glasshive cluster needs, for the operator to apply."""
    from glasshive.api import (
        admin_network_policy,
        cidr_group,
        cilium_endpoint,
        cilium_identity,
        cilium_node,
        cilium_policy_schema,
        cluster_network_policy,
        l2_announcement_policy,
        load_balancer_pool,
        local_redirect_policy,
    )

    one_each = (
        cidr_group,
        cilium_endpoint,
        cilium_identity,
        cilium_node,
        cluster_network_policy,
        l2_announcement_policy,
        load_balancer_pool,
        local_redirect_policy,
    )
    several = (admin_network_policy, cilium_policy_schema)
    return [*(module.crd() for module in one_each), *(crd for module in several for crd in module.crds())]

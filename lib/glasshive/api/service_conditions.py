"""Conditions of a Service that say what is wrong about it: there while it is so, with status False, then gone.

Addresses that LB IPAM gives have a condition of their own, ``load_balancer_request.SATISFIED``.
"""

from __future__ import annotations

ACCEPTED = "glasshive.io/accepted"
"""False: a field or annotation makes no sense, or what it wants belongs to another Service or to the cluster."""
SELECTS = "glasshive.io/selects-pods"
"""False: the selector matches no pod."""

INVALID_FIELD = "invalid_field"
ADDRESS_IN_CLUSTER = "address_in_cluster"
PORT_CLASH = "port_clash"
NO_PODS = "no_pods"
"""Reasons."""

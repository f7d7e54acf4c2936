"""Which endpoints of a Service get new connections, and why the others do not. Pure.

Semantics: Kubernetes' "Virtual IPs and Service Proxies", "Service" (traffic policies, terminating endpoints) and
"Topology Aware Routing". Ready endpoints are chosen; where there are none, those that serve while they terminate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from glasshive.model.service import ServiceEndpoint
from glasshive.service.settings import NodeView

NOT_READY = "not ready"
TERMINATING = "terminating"
OTHER_ZONE = "hinted to another zone"
OTHER_NODE = "hinted to another node"
NOT_LOCAL = "not on this node"
NO_WEIGHT = "weight 0"


class Choice(NamedTuple):
    """Who gets new connections: of callers for whom every node will do, and of those for whom only this one does."""

    cluster: tuple[int, ...]
    local: tuple[int, ...]
    """Both are indexes into the endpoints that were asked about."""
    refused: tuple[str, ...]
    """Why each endpoint is not in ``cluster``; "" if it is."""
    hinted: str = ""
    """``zone`` or ``node`` when hints decided."""


def choose(
    endpoints: Sequence[ServiceEndpoint], node: NodeView, *, weights: Sequence[int] = (), topology: bool = True
) -> Choice:
    """Decide for one port of a Service and one address family. ``weights`` empty: all weigh 1."""
    local = [at for at, one in enumerate(endpoints) if one.node == node.name]
    if not weights and all(one.ready and not one.zone_hints and not one.node_hints for one in endpoints):
        return Choice(tuple(range(len(endpoints))), tuple(local), ("",) * len(endpoints))
    refused = [_refusal(one, weights[at] if weights else 1) for at, one in enumerate(endpoints)]
    usable = [at for at, why in enumerate(refused) if not why]
    hinted = _hints([endpoints[at] for at in usable], node) if topology else ""
    cluster = [at for at in usable if not hinted or _meant(endpoints[at], hinted, node)]
    for at in set(usable).difference(cluster):
        refused[at] = OTHER_NODE if hinted == "node" else OTHER_ZONE
    leaving = [at for at, one in enumerate(endpoints) if _serves_to_the_end(one) and (not weights or weights[at])]
    if not usable:
        cluster = leaving
        for at in leaving:
            refused[at] = ""
    here = [at for at in local if at in usable] or [at for at in local if at in leaving]
    return Choice(tuple(cluster), tuple(here), tuple(refused), hinted)


def _refusal(endpoint: ServiceEndpoint, weight: int) -> str:
    if not weight:
        return NO_WEIGHT
    if endpoint.ready:
        return ""
    return TERMINATING if endpoint.terminating else NOT_READY


def _serves_to_the_end(endpoint: ServiceEndpoint) -> bool:
    return not endpoint.ready and endpoint.serving and endpoint.terminating


def _hints(usable: Sequence[ServiceEndpoint], node: NodeView) -> str:
    """Hints count only when every usable endpoint has one, and one of them means this node."""
    if not any(one.zone_hints or one.node_hints for one in usable):
        return ""
    if all(one.node_hints for one in usable) and any(node.name in one.node_hints for one in usable):
        return "node"
    if node.zone and all(one.zone_hints for one in usable) and any(node.zone in one.zone_hints for one in usable):
        return "zone"
    return ""


def _meant(endpoint: ServiceEndpoint, hinted: str, node: NodeView) -> bool:
    return node.name in endpoint.node_hints if hinted == "node" else node.zone in endpoint.zone_hints

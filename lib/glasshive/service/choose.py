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


class Candidate(NamedTuple):
    """An endpoint with the weight that it has for the Service."""

    endpoint: ServiceEndpoint
    weight: int


class Choice(NamedTuple):
    """Who gets new connections: of callers for whom every node will do, and of those for whom only this one does."""

    cluster: tuple[int, ...]
    local: tuple[int, ...]
    """Both are indexes into the endpoints that were asked about."""
    refused: tuple[str, ...]
    """Why each endpoint is not in ``cluster``; "" if it is."""
    hinted: str = ""
    """``zone`` or ``node`` when hints decided."""


def choose(candidates: Sequence[Candidate], node: NodeView, *, topology: bool = True) -> Choice:
    """Decide for one port of a Service and one address family."""
    refused = [_refusal(one) for one in candidates]
    usable = [at for at, why in enumerate(refused) if not why]
    hinted = _hints(candidates, usable, node) if topology else ""
    cluster = [at for at in usable if not hinted or _meant(candidates[at].endpoint, hinted, node)]
    for at in set(usable).difference(cluster):
        refused[at] = OTHER_NODE if hinted == "node" else OTHER_ZONE
    local = [at for at in usable if candidates[at].endpoint.node == node.name]
    leaving = [at for at, one in enumerate(candidates) if _serves_to_the_end(one)]
    if not usable:
        cluster = leaving
        for at in leaving:
            refused[at] = ""
    if not local:
        local = [at for at in leaving if candidates[at].endpoint.node == node.name]
    return Choice(tuple(cluster), tuple(local), tuple(refused), hinted)


def _refusal(one: Candidate) -> str:
    endpoint = one.endpoint
    if not one.weight:
        return NO_WEIGHT
    if endpoint.ready:
        return ""
    return TERMINATING if endpoint.terminating else NOT_READY


def _serves_to_the_end(one: Candidate) -> bool:
    endpoint = one.endpoint
    return not endpoint.ready and endpoint.serving and endpoint.terminating and one.weight > 0


def _hints(candidates: Sequence[Candidate], usable: Sequence[int], node: NodeView) -> str:
    """Hints count only when every usable endpoint has one, and one of them means this node."""
    found = [candidates[at].endpoint for at in usable]
    if not found or not any(one.zone_hints or one.node_hints for one in found):
        return ""
    if all(one.node_hints for one in found) and any(node.name in one.node_hints for one in found):
        return "node"
    if node.zone and all(one.zone_hints for one in found) and any(node.zone in one.zone_hints for one in found):
        return "zone"
    return ""


def _meant(endpoint: ServiceEndpoint, hinted: str, node: NodeView) -> bool:
    return node.name in endpoint.node_hints if hinted == "node" else node.zone in endpoint.zone_hints

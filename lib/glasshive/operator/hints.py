"""Zone hints of endpoints: which zone's clients should use them, where a Service asks for that. Pure.

``spec.trafficDistribution`` PreferClose (or PreferSameZone) hints each endpoint to its own zone, PreferSameNode to its
node as well. The annotation ``service.kubernetes.io/topology-mode: Auto`` does so only where the zones' shares of
endpoints are even enough; otherwise there are no hints, and traffic goes everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from glasshive.kube.objects import Object

TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
_OLD_TOPOLOGY_MODE = "service.kubernetes.io/topology-aware-hints"
UNEVEN = 0.2
"""With Auto a zone may differ by this part from an even share of the endpoints."""


def mode_of(service: Object) -> str:
    """Return "", "zone", "node" or "auto"."""
    annotations = service["metadata"].get("annotations") or {}
    given = annotations.get(TOPOLOGY_MODE) or annotations.get(_OLD_TOPOLOGY_MODE) or ""
    if given.lower() == "auto":  # the annotation goes before the field, as upstream decides
        return "auto"
    distribution = service["spec"].get("trafficDistribution") or ""
    return {"PreferClose": "zone", "PreferSameZone": "zone", "PreferSameNode": "node"}.get(distribution, "")


def add_hints(service: Object, endpoints: Sequence[Object]) -> None:
    """Add hints to the endpoints of one family and port set; none if one ready endpoint has no zone to be hinted to."""
    mode = mode_of(service)
    ready = [e for e in endpoints if (e.get("conditions") or {}).get("ready")]
    if not mode or not ready:
        return
    zoned = all(e.get("zone") for e in ready)
    if mode == "auto" and not (zoned and _even(ready)):
        return
    if mode == "zone" and not zoned:
        return
    for endpoint in ready:
        hints: Object = {}
        if endpoint.get("zone"):
            hints["forZones"] = [{"name": endpoint["zone"]}]
        if mode == "node" and endpoint.get("nodeName"):
            hints["forNodes"] = [{"name": endpoint["nodeName"]}]
        if hints:
            endpoint["hints"] = hints


def _even(ready: Sequence[Object]) -> bool:
    shares = Counter(e["zone"] for e in ready)
    even = len(ready) / len(shares)
    return len(shares) > 1 and all(abs(count - even) <= UNEVEN * even for count in shares.values())

"""The cluster's name service: what Services, EndpointSlices and Pods are called, answered over UDP and TCP.

``records`` says, purely, which names an object has; ``zone`` finds them; ``answer`` turns a question into a response;
``wire`` and ``server`` speak the protocol; ``upstream`` asks the resolver outside; ``follow`` keeps a zone equal to
what the API holds. Who runs it, and at which addresses, is ``cluster/embedded/resolver_process``.

Record forms follow Kubernetes' "DNS-Based Service Discovery" 1.1.0 (docs/specification.md of kubernetes/dns), messages
RFC 1035, 2308 (negative answers), 6891 (EDNS) and 7766 (TCP).
"""

from glasshive.dns.answer import Resolver
from glasshive.dns.follow import Follower
from glasshive.dns.records import cluster_zone, world_zone
from glasshive.dns.server import Server
from glasshive.dns.upstream import Upstream
from glasshive.dns.zone import Zone

__all__ = ["Follower", "Resolver", "Server", "Upstream", "Zone", "cluster_zone", "world_zone"]

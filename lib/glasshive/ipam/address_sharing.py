"""Which services may have one external address together. Pure.

They need the same sharing key, ports that do not clash, and the same traffic policy (with Local also the same pods). In
different namespaces each must name the other's.
"""

from __future__ import annotations

from glasshive.api.load_balancer_request import AddressRequest


def may_share(one: AddressRequest, other: AddressRequest) -> str:
    """Return "" if two services may have the same address, else why not."""
    if not one.sharing_key or one.sharing_key != other.sharing_key:
        return "they do not have the same sharing key"
    for mine, theirs in ((one, other), (other, one)):
        namespace = theirs.key[0]
        if namespace != mine.key[0] and not {"*", namespace} & mine.shares_with:
            return f"{'/'.join(mine.key)} does not share with namespace {namespace}"
    clash = sorted(one.ports & other.ports)
    if clash:
        return f"both have port {clash[0][1]}/{clash[0][0]}"
    if one.local != other.local:
        return "their externalTrafficPolicy differs"
    if one.local and one.pods != other.pods:
        return "their externalTrafficPolicy is Local and they select other pods"
    return ""

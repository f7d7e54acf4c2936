"""One lease per service, as Kubernetes' leader election has it: who holds it answers for the service.

Nobody compares clocks: a holder counts as gone when its lease has not changed for as long as the lease says, by the
observer's own clock. Source: the Lease API (coordination.k8s.io/v1).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from glasshive.api.load_balancer_request import Key
from glasshive.api.resources import LEASE

Object = dict[str, Any]
NAMESPACE = "kube-system"
PREFIX = "cilium-l2announce-"


@dataclass(frozen=True, slots=True)
class Terms:
    """``lease_s``: how long a holder that is silent is waited for. ``renew_s``: how long a holder tries to prolong its
    lease before it gives up. ``retry_s``: the pace of everybody's attempts.
    """

    lease_s: float = 15.0
    renew_s: float = 5.0
    retry_s: float = 2.0


def lease_name(service: Key) -> str:
    """Name of a service's lease."""
    return f"{PREFIX}{service[0]}-{service[1]}"


def holder_of(lease: Object | None) -> str:
    """Who holds it, "" if nobody."""
    return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")


def is_free(lease: Object | None, unchanged_s: float, terms: Terms) -> bool:
    """Whether a lease that has been unchanged for that long may be taken by anybody."""
    if lease is None or not holder_of(lease):
        return True
    return unchanged_s > lease_seconds(lease, terms)


def lease_seconds(lease: Object | None, terms: Terms) -> float:
    """For how long a lease that does not change is respected."""
    return float(((lease or {}).get("spec") or {}).get("leaseDurationSeconds") or terms.lease_s)


def taken(lease: Object | None, service: Key, me: str, now: datetime, terms: Terms) -> Object:
    """The lease as ``me`` writes it, to take it or to prolong it."""
    before = (lease or {}).get("spec") or {}
    mine = before.get("holderIdentity") == me
    moment = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {
        "holderIdentity": me,
        "leaseDurationSeconds": max(1, round(terms.lease_s)),
        "acquireTime": before.get("acquireTime") if mine else moment,
        "renewTime": moment,
        "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if mine or lease is None else 1),
    }
    if lease is None:
        return LEASE.object(lease_name(service), NAMESPACE, spec=spec)
    return {**lease, "spec": spec}


def given_up(lease: Object, now: datetime) -> Object:
    """The lease when its holder leaves it: the next one need not wait."""
    spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
    return {**lease, "spec": {**spec, "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}}

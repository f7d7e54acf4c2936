"""Which load balancer pools may not be used, because their addresses are or may become somebody else's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from glasshive.api.load_balancer_pool import LoadBalancerPool
from glasshive.model.span import Span

Reserved = tuple[Span, str]
"""Addresses that belong to something, and to what: ``("pods of node1")``."""


def conflicts(pools: Iterable[LoadBalancerPool], reserved: Sequence[Reserved] = ()) -> dict[str, str]:
    """Name of each pool that is in conflict -> with what. Of two pools that overlap, the younger one is."""
    found: dict[str, str] = {}
    sound: list[tuple[Span, str]] = []
    for pool in sorted(pools, key=lambda one: (one.created, one.name)):
        why = pool.fault or _inside(pool) or _against(pool, [*reserved, *sound])
        if why:
            found[pool.name] = why
        else:
            sound += [(span, f"pool {pool.name} ({span.text})") for span in pool.spans]
    return found


def _inside(pool: LoadBalancerPool) -> str:
    for one, other in combinations(pool.spans, 2):
        if one.overlaps(other):
            return f"block {other.text} overlaps block {one.text} of the same pool"
    return ""


def _against(pool: LoadBalancerPool, others: Iterable[Reserved]) -> str:
    for other, whose in others:
        for span in pool.spans:
            if span.overlaps(other):
                return f"block {span.text} overlaps {whose}"
    return ""

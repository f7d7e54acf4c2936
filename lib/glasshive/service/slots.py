"""How often each backend is in a run of slots: in proportion to its weight. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

SLOTS_PER_BACKEND = 8
"""How many slots a run has at most per backend, on average, and at least ``SLOTS_LEAST``: longer ones are thinned."""
SLOTS_LEAST = 512


def expand(members: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Numbers of backends, each repeated by its weight: (number, weight) in, in the same order."""
    first = members[0][1]
    if all(weight == first for _, weight in members):
        return tuple([number for number, _ in members])
    shares = shares_of([weight for _, weight in members], max(SLOTS_PER_BACKEND * len(members), SLOTS_LEAST))
    return tuple(number for (number, _), share in zip(members, shares, strict=True) for _ in range(share))


def shares_of(weights: Sequence[int], most: int) -> list[int]:
    """Small whole numbers in proportion to the weights, at least 1 each; exact if their sum is ``most`` at most."""
    step = gcd(*weights)
    shares = [weight // step for weight in weights]
    total = sum(shares)
    if total <= most:
        return shares
    return [max(1, round(share * most / total)) for share in shares]

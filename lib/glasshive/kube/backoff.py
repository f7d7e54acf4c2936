"""Growing, jittered waits between attempts, so that many followers of one dead server do not return in step."""

from __future__ import annotations

import random


class Backoff:
    """Doubles from ``first`` to ``longest`` seconds; each wait is drawn from the upper half of the current step."""

    def __init__(self, first: float = 0.02, longest: float = 2.0) -> None:
        self.first = first
        self.longest = longest
        self.attempts = 0

    def next(self) -> float:
        """Return the seconds to wait before the next attempt."""
        step = min(self.longest, self.first * 2.0 ** min(self.attempts, 32))
        self.attempts += 1
        return step * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, protects nothing

    def reset(self) -> None:
        """Start small again: the last attempt succeeded."""
        self.attempts = 0

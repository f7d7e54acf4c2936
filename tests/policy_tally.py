"""How many packets the differential tests compare, and how a full run is asked for.

``GLASSHIVE_POLICY_EXAMPLES=100 pytest tests/bpf/test_policy_differential.py tests/unit/test_policy_differential.py`` is
one: generated clusters, policies and packets of both families, some 800 packets each through the programs. The number
is printed at the end; a full run that compares fewer than ``FULL`` through the programs fails.
"""

from __future__ import annotations

import os

EXAMPLES = os.environ.get("GLASSHIVE_POLICY_EXAMPLES", "")
FULL = 20_000
SECONDS = 600
"""Time limit of an ordinary run; the machine may be busy."""


def examples(ordinary: int) -> int:
    """How many examples to generate."""
    return int(EXAMPLES or ordinary)


def time_limit(seconds_each: int) -> int:
    """Time limit of a test, in seconds."""
    return SECONDS + seconds_each * int(EXAMPLES or 0)


class Tally:
    """What was compared, to be printed after the tests."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, what: str, number: int) -> None:
        """Count packets."""
        self.counts[what] = self.counts.get(what, 0) + number

    def lines(self) -> list[str]:
        """One line for each comparison."""
        return [f"policy differential: {number} packets compared, {what}" for what, number in self.counts.items()]


TALLY = Tally()

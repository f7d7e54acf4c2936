"""Endpoint ids, 1 to 65535, unique on the node. Pure.

Given out in a circle, so that a number (and the interface index that follows from it) stays unused for as long as
possible after its endpoint has gone: late events about the old one then name nobody.
"""

from __future__ import annotations

from glasshive.errors import ExhaustedError
from glasshive.model.endpoint import ID_MAX


class IdPool:
    """The ids in use, and where the search for a free one goes on."""

    def __init__(self, highest: int = ID_MAX) -> None:
        self._highest = highest
        self._used: set[int] = set()
        self._last = 0

    def take(self) -> int:
        """A free id; ExhaustedError when all are in use."""
        if len(self._used) >= self._highest:
            raise ExhaustedError(f"all {self._highest} endpoint ids of this node are in use", hint="delete pods")
        number = self._last
        while True:
            number = number % self._highest + 1
            if number not in self._used:
                break
        self._used.add(number)
        self._last = number
        return number

    def claim(self, number: int) -> None:
        """Note that a restored endpoint has this id."""
        self._used.add(number)
        self._last = max(self._last, number)

    def release(self, number: int) -> None:
        """Give an id back; one that was never taken is ignored."""
        self._used.discard(number)

    def __len__(self) -> int:
        return len(self._used)

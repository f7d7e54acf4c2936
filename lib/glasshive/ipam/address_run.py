"""The free addresses of one block, found without looking through the given ones, however large the block is."""

from __future__ import annotations

import heapq
from collections.abc import Container

from glasshive.model.span import Span


class AddressRun:
    """``given`` is asked which addresses somebody has; ``changed`` must be called after each change of it."""

    def __init__(self, span: Span, given: dict[int, set[tuple[str, str]]]) -> None:
        self.span = span
        self._given: Container[int] = given
        self._next = span.first
        """From here on nothing has been looked at."""
        self._returned: list[int] = []
        """A heap of addresses before ``_next`` that came back, each once; some of them may be given again."""
        self._queued: set[int] = set()
        self.used = sum(1 for one in given if one in span)

    def changed(self, address: int, step: int) -> None:
        """One of its addresses was given (``step`` 1) or came back (-1)."""
        self.used += step
        if step < 0 and address < self._next and address not in self._queued:
            self._queued.add(address)
            heapq.heappush(self._returned, address)

    def free(self) -> int | None:
        """The lowest address that nobody has, None if there is none. It is not given by this."""
        while self._returned and self._returned[0] in self._given:
            self._queued.discard(heapq.heappop(self._returned))
        if self._returned:
            return self._returned[0]
        while self._next <= self.span.last and self._next in self._given:
            self._next += 1
        return self._next if self._next <= self.span.last else None

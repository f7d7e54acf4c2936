"""What a seed decides: names, nodes, ports. One stream of SHA-256 for each (seed, task).

The stream of one task does not depend on other tasks, so adding a task or a draw at the end of one never changes
another task's variant. Two learners with one seed see the same lab.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

_NAMES = (
    "amber", "aster", "birch", "borage", "clover", "comb", "dahlia", "drone", "fennel", "fern", "hazel", "heather",
    "honey", "iris", "ivy", "larch", "linden", "lupin", "maple", "mint", "nectar", "poppy", "propolis", "rowan",
    "sage", "scout", "skep", "sorrel", "thyme", "veil", "waggle", "willow",
)  # fmt: skip


class Draw:
    """Draws for one task. The order of calls is part of the variant: append new draws, do not insert them."""

    def __init__(self, seed: int, task: str) -> None:
        self.seed = seed
        self._bytes = _stream(seed, task)
        self._names = list(_NAMES)

    def integer(self, low: int, high: int) -> int:
        """A whole number of low..high, both included, every one equally likely."""
        span = high - low + 1
        limit = (1 << 32) // span * span
        while (number := int.from_bytes([next(self._bytes) for _ in range(4)])) >= limit:
            pass  # rejected, so that no number is favoured
        return low + number % span

    def choice(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.integer(0, len(options) - 1)]

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        """So many different ones of the options, in a drawn order."""
        left = list(options)
        return [left.pop(self.integer(0, len(left) - 1)) for _ in range(count)]

    def name(self) -> str:
        """A name for a pod or a service that this draw has not given yet."""
        return self._names.pop(self.integer(0, len(self._names) - 1))

    def port(self) -> int:
        """A port that no image of the catalogue listens on, below the ephemeral ones."""
        return self.integer(20_000, 29_999)

    def token(self) -> str:
        """Sixteen hexadecimal digits."""
        return bytes(next(self._bytes) for _ in range(8)).hex()


def _stream(seed: int, task: str) -> Iterator[int]:
    block = 0
    while True:
        yield from hashlib.sha256(f"{seed}/{task}/{block}".encode()).digest()
        block += 1

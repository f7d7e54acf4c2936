"""Numbers and runs of slots that are given out, come back, and rest before they are given out again.

Whatever a packet, a connection or a client's affinity may still refer to must not become something else meanwhile.
Numbers that never were in use go first, so that in practice a number rests for much longer than it must.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable

from glasshive.errors import ExhaustedError

Clock = Callable[[], float]


class Numbers:
    """Numbers from 1 to ``most``."""

    def __init__(self, what: str, most: int, rest_s: float, clock: Clock = time.monotonic) -> None:
        self._what = what
        self._most = most
        self._rest_s = rest_s
        self._clock = clock
        self._next = 1
        self._idle: deque[tuple[float, int]] = deque()

    def adopt(self, used: Iterable[int], resting: Iterable[int] = ()) -> None:
        """Begin with these in use; ``resting`` ones rest from now on. Others below the highest one are free."""
        taken, tired = set(used), sorted(resting)
        self._next = max((*taken, *tired), default=0) + 1
        known = taken.union(tired)
        free = (number for number in range(1, self._next) if number not in known)
        self._idle = deque((0.0, number) for number in free)
        self._idle.extend((self._clock() + self._rest_s, number) for number in tired)

    def take(self) -> int:
        """A number that nobody can refer to. ExhaustedError."""
        if self._next <= self._most:
            self._next += 1
            return self._next - 1
        if self._idle and self._idle[0][0] <= self._clock():
            return self._idle.popleft()[1]
        raise ExhaustedError(
            f"there is no number for another {self._what}: {self._most} at most, {len(self._idle)} of them resting"
        )

    def release(self, number: int) -> None:
        """Give a number back; it rests."""
        self._idle.append((self._clock() + self._rest_s, number))

    @property
    def resting(self) -> int:
        """How many were given back and are not in use."""
        return len(self._idle)


class Runs:
    """Runs of neighbouring slots. Each has room for a power of two, so that runs given back fit others."""

    def __init__(self, what: str, most: int, rest_s: float, clock: Clock = time.monotonic) -> None:
        self._what = what
        self._most = most
        self._rest_s = rest_s
        self._clock = clock
        self._next = 0
        self._idle: defaultdict[int, deque[tuple[float, int]]] = defaultdict(deque)

    def adopt(self, used: Iterable[tuple[int, int]]) -> None:
        """Begin with these (first, count) in use; what lies between them rests from now on."""
        at, due = 0, self._clock() + self._rest_s
        self._idle.clear()
        for first, count in sorted(set(used)):
            self._free(at, first, due)
            at = max(at, first + _room(count))
        self._next = at

    def take(self, count: int) -> int:
        """The first slot of a run for ``count`` numbers. ExhaustedError."""
        room = _room(count)
        idle = self._idle.get(room)
        if idle and idle[0][0] <= self._clock():
            return idle.popleft()[1]
        if self._next + room <= self._most:
            self._next += room
            return self._next - room
        return self._split(room)

    def release(self, first: int, count: int) -> None:
        """Give a run back; it rests."""
        self._idle[_room(count)].append((self._clock() + self._rest_s, first))

    def _split(self, room: int) -> int:
        """Cut a larger run that has rested."""
        for size in sorted(size for size in self._idle if size > room):
            idle = self._idle[size]
            if idle and idle[0][0] <= self._clock():
                first = idle.popleft()[1]
                self._free(first + room, first + size, 0.0)
                return first
        raise ExhaustedError(f"there is no room for {room} more {self._what}: {self._most} in all")

    def _free(self, start: int, end: int, due: float) -> None:
        while start < end:
            size = 1 << ((end - start).bit_length() - 1)
            self._idle[size].append((due, start))
            start += size


def _room(count: int) -> int:
    return 1 << (count - 1).bit_length()

"""Hash tables and rows of policy, in arrays that the kernel shares with us (``bpf/types/policy.h``).

Every change is one store of 8 bytes into mapped memory, and their order is what readers rely on: a slot's key is
cleared, then its value written, then its key. No change waits for a system call. What is where is remembered here too,
and read back from the arrays by whoever opens them next.

``put``, ``take`` and ``rewrite`` are for one; ``put_many`` and the others of many do the same with numpy: all values
are stored before the first key is.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from glasshive.bpf import Map
from glasshive.errors import ExhaustedError

SLOTS = 8
ROW_WORDS = 4
_BUCKET_WORDS = 2 * SLOTS
_WORD = 8
_RULE = struct.Struct("=I4x")
_MASK64 = 2**64 - 1
_FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F
_MANY_BUCKETS = 32
"""To put many, all buckets are looked at once; it pays when there are no more than this per key."""

Keys: TypeAlias = NDArray[np.uint64]
Places: TypeAlias = NDArray[np.intp]


def buckets_of(key: int, mask: int) -> tuple[int, int]:
    """The two buckets in which a key may be: ``gh_policy_hash()``."""
    mixed = key * _FIRST & _MASK64
    mixed ^= mixed >> 32
    mixed = mixed * _SECOND & _MASK64
    return mixed >> 40 & mask, mixed >> 16 & mask


def buckets_of_many(keys: Keys, mask: int) -> tuple[Places, Places]:
    """The same for many."""
    mixed = keys * np.uint64(_FIRST)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(_SECOND)
    room = np.uint64(mask)
    return (mixed >> np.uint64(40) & room).astype(np.intp), (mixed >> np.uint64(16) & room).astype(np.intp)


class Words:
    """An array map's memory, as 64-bit words of this machine's byte order. Lives as long as anybody uses it."""

    def __init__(self, kernel: Map) -> None:
        size = kernel.info.value_size * kernel.max_entries
        whole = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE
        memory = mmap.mmap(kernel.fd, whole, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.view = memoryview(memory)[:size].cast("Q")

    def array(self) -> NDArray[np.uint64]:
        """The same memory for numpy."""
        return np.frombuffer(self.view, np.uint64)


class SlotTable:
    """Key -> value, both of 64 bits and not 0."""

    def __init__(self, kernel: Map) -> None:
        self._name = kernel.name
        buckets = 1 << (kernel.max_entries.bit_length() - 1)
        self.mask = buckets - 1
        self._words = Words(kernel)
        self._view = self._words.view
        self._at: dict[int, int] = {}
        self._load()

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, key: int) -> bool:
        return key in self._at

    def get(self, key: int) -> int:
        """The value, 0 if there is none."""
        at = self._at.get(key)
        return 0 if at is None else self._view[at + 1]

    def items(self) -> Iterator[tuple[int, int]]:
        """All of them."""
        for key, at in self._at.items():
            yield key, self._view[at + 1]

    def put(self, key: int, value: int) -> None:
        """Write one; what was there is replaced in one step. ExhaustedError when both of its buckets are full."""
        at = self._at.get(key)
        if at is not None:
            self._view[at + 1] = value
            return
        at = self._free(key)
        self._view[at + 1] = value
        self._view[at] = key
        self._at[key] = at

    def are_many(self, count: int) -> bool:
        """Whether so many are written faster by ``put_many``."""
        return count * _MANY_BUCKETS > self.mask

    def places(self, keys: Keys) -> Places | None:
        """Where each of the keys is or could be put; None when they do not all fit, or one is there twice."""
        listed = keys.tolist()
        if len(set(listed)) != len(listed):
            return None
        found = np.fromiter((self._at.get(key, -1) for key in listed), np.intp, len(listed))
        new = np.flatnonzero(found < 0)
        free = self._words.array()[: (self.mask + 1) * _BUCKET_WORDS].reshape(-1, SLOTS, 2)[:, :, 0] == 0
        chosen = _choose(buckets_of_many(keys[new], self.mask), free.sum(axis=1))
        if chosen is None:
            return None
        # The keys of one bucket get its free slots in turn.
        order = np.argsort(chosen, kind="stable")
        bucket = chosen[order]
        turn = np.arange(len(bucket)) - np.searchsorted(bucket, bucket)
        slots = np.argsort(~free, axis=1, kind="stable")
        found[new[order]] = bucket * _BUCKET_WORDS + 2 * slots[bucket, turn]
        return found

    def put_many(self, keys: Keys, values: Keys, places: Places) -> None:
        """Write all of them where ``places`` says. What was there under a key is replaced in one step."""
        words = self._words.array()
        words[places + 1] = values
        words[places] = keys
        self._at.update(zip(keys.tolist(), places.tolist(), strict=True))

    def delete(self, key: int) -> bool:
        """Take one away; whether it was there."""
        at = self._at.pop(key, None)
        if at is None:
            return False
        self._view[at] = 0
        return True

    def _free(self, key: int) -> int:
        """A free slot in the emptier one of its two buckets."""
        best, room = -1, 0
        for bucket in buckets_of(key, self.mask):
            start = bucket * _BUCKET_WORDS
            free = [at for at in range(start, start + _BUCKET_WORDS, 2) if not self._view[at]]
            if len(free) > room:
                best, room = free[0], len(free)
        if best < 0:
            total = (self.mask + 1) * SLOTS
            raise ExhaustedError(
                f"map {self._name} is full: {len(self._at)} entries of at most {total}, and no room for the next",
                hint=f"raise the entries of {self._name}: buckets of {SLOTS} entries each, best filled to half",
            )
        return best

    def _load(self) -> None:
        keys = self._words.array()[::2][: (self.mask + 1) * SLOTS]
        places = np.flatnonzero(keys)
        self._at = dict(zip(keys[places].tolist(), (places * 2).tolist(), strict=True))


def _choose(of: tuple[Places, Places], room: Places) -> Places | None:
    """One of its two buckets for each key; None when not all fit. ``room``: free slots of each bucket, used up here.

    In rounds: every key that is left asks for the bucket that will probably be emptier when all are placed (what is
    free less half of what asks for it), and each bucket takes one. That fills tables further than one key after the
    other: 0.85 of all slots at the first try, beside 0.75.
    """
    chosen = np.empty_like(of[0])
    asked = np.empty_like(room)
    left = np.arange(len(chosen))
    while left.size:
        one, other = of[0][left], of[1][left]
        demand = np.bincount(one, minlength=len(room)) + np.bincount(other, minlength=len(room))
        outlook = 2 * room - demand
        swap = (outlook[other] > outlook[one]) & (room[other] > 0) | (room[one] == 0)
        bucket = np.where(swap, other, one)
        if not room[bucket].all():
            return None
        asked[bucket] = left
        taken = asked[bucket] == left
        chosen[left[taken]] = bucket[taken]
        room[bucket[taken]] -= 1
        left = left[~taken]
    return chosen


class RowStore:
    """Rows that count packets and bytes and know their rule, by number. Number 0 means none."""

    def __init__(self, kernel: Map, used: set[int], grace_s: float) -> None:
        self._name = kernel.name
        words = Words(kernel)
        self._view = words.view
        self._rows = words.array()[: kernel.max_entries * ROW_WORDS].reshape(-1, ROW_WORDS)
        self._entries = kernel.max_entries
        self._grace_s = grace_s
        self._next = max(used, default=0) + 1
        self._idle = deque((0.0, number) for number in range(1, self._next) if number not in used)

    def take(self, rule: int) -> int:
        """A row that no packet can be using any more, with its counters at zero. ExhaustedError when there is none."""
        if self._idle and self._idle[0][0] < time.monotonic():
            number = self._idle.popleft()[1]
        elif self._next < self._entries:
            number = self._next
            self._next += 1
        else:
            raise ExhaustedError(
                f"map {self._name} is full: {self._entries - 1} rows",
                hint=f"raise the entries of {self._name}, or wait until rows given back have rested {self._grace_s} s",
            )
        self.rewrite(number, rule)
        return number

    def rewrite(self, number: int, rule: int) -> None:
        """Give a row in use another rule; it counts from zero again."""
        at = number * ROW_WORDS
        self._view[at] = self._view[at + 1] = 0
        self._view[at + 2] = int.from_bytes(_RULE.pack(rule), sys.byteorder)

    def take_many(self, rules: Sequence[int]) -> list[int] | None:
        """As many rows as there are rules; None when there are not enough, and none is taken then."""
        now, idle = time.monotonic(), self._idle
        rested = next((at for at, (due, _) in enumerate(idle) if at == len(rules) or due >= now), len(idle))
        fresh = len(rules) - rested
        if fresh > self._entries - self._next:
            return None
        numbers = [idle.popleft()[1] for _ in range(rested)]
        numbers += range(self._next, self._next + fresh)
        self._next += fresh
        self.rewrite_many(numbers, rules)
        return numbers

    def rewrite_many(self, numbers: Sequence[int], rules: Sequence[int]) -> None:
        """Give rows in use other rules; they count from zero again."""
        at, wanted = np.array(numbers, np.intp), np.array(rules, np.uint32)
        words = np.zeros((len(at), 2), np.uint32)
        words[:, 0] = wanted
        word = words.view(np.uint64)[:, 0]
        self._rows[at, 0] = self._rows[at, 1] = 0
        self._rows[at, 2] = word

    def rules(self, numbers: Sequence[int]) -> list[int]:
        """Cookies of the rules of many rows."""
        words: list[int] = np.ascontiguousarray(self._rows[np.array(numbers, np.intp), 2]).view(np.uint32)[::2].tolist()
        return words

    def put_back(self, numbers: Sequence[int]) -> None:
        """Give rows back that no packet has ever been told of: they need no rest."""
        self._idle.extendleft((0.0, number) for number in numbers)

    def release(self, number: int) -> None:
        """Give a row back. It rests: a packet may be on its way with its number."""
        self._idle.append((time.monotonic() + self._grace_s, number))

    def rule(self, number: int) -> int:
        """Cookie of the rule."""
        return int(_RULE.unpack(self._view[number * ROW_WORDS + 2].to_bytes(_WORD, sys.byteorder))[0])

    def counters(self, number: int) -> tuple[int, int]:
        """(packets, bytes) that the row has decided."""
        at = number * ROW_WORDS
        return self._view[at], self._view[at + 1]

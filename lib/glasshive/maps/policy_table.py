"""Hash tables and rows of policy, in arrays that the kernel shares with us (``bpf/types/policy.h``).

Every change is one store of 8 bytes into mapped memory, and their order is what readers rely on: a slot's key is
cleared, then its value written, then its key. No change waits for a system call. What is where is remembered here too,
and read back from the arrays by whoever opens them next.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator

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


def buckets_of(key: int, mask: int) -> tuple[int, int]:
    """The two buckets in which a key may be: ``gh_policy_hash()``."""
    mixed = key * _FIRST & _MASK64
    mixed ^= mixed >> 32
    mixed = mixed * _SECOND & _MASK64
    return mixed >> 40 & mask, mixed >> 16 & mask


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


class RowStore:
    """Rows that count packets and bytes and know their rule, by number. Number 0 means none."""

    def __init__(self, kernel: Map, used: set[int], grace_s: float) -> None:
        self._name = kernel.name
        self._view = Words(kernel).view
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

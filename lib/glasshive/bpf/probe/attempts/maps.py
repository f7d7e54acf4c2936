"""Which map types can be created, and which operations on whole maps work. Standard library only (see ``syscalls``)."""

from __future__ import annotations

import functools
import mmap
import os
import struct

from . import syscalls
from .answer import Attempt, Inconclusive

_NO_PREALLOC, _MMAPABLE, _INNER_MAP = 1, 1 << 10, 1 << 12

# Map type -> number of enum bpf_map_type, key bytes, value bytes, entries, flags.
PLAIN: dict[str, tuple[int, int, int, int, int]] = {
    "hash": (1, 4, 4, 4, 0), "array": (2, 4, 4, 4, 0), "prog_array": (3, 4, 4, 4, 0),
    "perf_event_array": (4, 4, 4, 4, 0),
    "percpu_hash": (5, 4, 8, 4, 0), "percpu_array": (6, 4, 8, 4, 0), "stack_trace": (7, 4, 8 * 16, 4, 0),
    "cgroup_array": (8, 4, 4, 4, 0), "lru_hash": (9, 4, 4, 64, 0), "lru_percpu_hash": (10, 4, 8, 64, 0),
    "lpm_trie": (11, 8, 4, 4, _NO_PREALLOC), "devmap": (14, 4, 4, 4, 0), "sockmap": (15, 4, 4, 4, 0),
    "cpumap": (16, 4, 4, 4, 0), "xskmap": (17, 4, 4, 4, 0), "sockhash": (18, 4, 4, 4, 0),
    "reuseport_sockarray": (20, 4, 8, 4, 0), "queue": (22, 0, 4, 4, 0), "stack": (23, 0, 4, 4, 0),
    "devmap_hash": (25, 4, 4, 4, 0), "ringbuf": (27, 0, 0, 4096, 0), "bloom_filter": (30, 0, 4, 4, 0),
    "user_ringbuf": (31, 0, 0, 4096, 0), "arena": (33, 0, 0, 1, _MMAPABLE),
}  # fmt: skip
STORAGE = {"sk_storage": 24, "inode_storage": 28, "task_storage": 29, "cgrp_storage": 32}
NESTED = {"array_of_maps": 12, "hash_of_maps": 13}


def _plain(number: int, key: int, value: int, entries: int, flags: int) -> str:
    os.close(syscalls.create_map(number, key, value, entries, flags=flags))
    return "one was created"


def _storage(number: int) -> str:
    btf = syscalls.load_int_btf()
    try:
        os.close(syscalls.create_map(number, 4, 4, 0, flags=_NO_PREALLOC, btf=(btf, 1, 1)))
    finally:
        os.close(btf)
    return "one was created"


def _nested(number: int) -> str:
    inner = syscalls.create_map(2, 4, 4, 1)
    try:
        os.close(syscalls.create_map(number, 4, 4, 1, inner=inner))
    finally:
        os.close(inner)
    return "one was created"


def _batch(kind: int, key: int, flags: int) -> str:
    map_fd = syscalls.create_map(kind, key, 4, 64, flags=flags)
    try:
        # An LPM key is a prefix length followed by the address; full-length prefixes keep the keys distinct.
        keys = b"".join(struct.pack("<I", 32) * (key == 8) + struct.pack("<I", number) for number in range(8))
        syscalls.batch(syscalls.UPDATE_BATCH, map_fd, keys, b"\1\0\0\0" * 8, 8)
        try:
            count = syscalls.batch(syscalls.LOOKUP_BATCH, map_fd, bytes(key * 64), bytes(4 * 64), 64)
        except syscalls.Refused as refusal:
            if refusal.errno != 2:  # ENOENT is how the kernel says "that was all"
                raise
            count = 8
    finally:
        os.close(map_fd)
    if count != 8:
        raise Inconclusive(f"8 entries written, {count} read back")
    return "8 entries went in and came out by one call each"


def _mmap_ring() -> str:
    ring = syscalls.create_map(27, 0, 0, mmap.PAGESIZE)
    try:
        with mmap.mmap(ring, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as consumer:
            consumer[0:8] = bytes(8)
        with mmap.mmap(ring, 3 * mmap.PAGESIZE, prot=mmap.PROT_READ, offset=mmap.PAGESIZE):
            pass
    finally:
        os.close(ring)
    return "the ring's pages can be mapped"


def attempts() -> list[Attempt]:
    """Give every attempt of this module."""
    found = [Attempt(f"map:{name}", functools.partial(_plain, *row)) for name, row in PLAIN.items()]
    found += [Attempt(f"map:{name}", functools.partial(_storage, number)) for name, number in STORAGE.items()]
    found += [Attempt(f"map:{name}", functools.partial(_nested, number)) for name, number in NESTED.items()]
    found += [
        Attempt("map_op:batch_hash", functools.partial(_batch, 1, 4, 0)),
        Attempt("map_op:batch_lru_hash", functools.partial(_batch, 9, 4, 0)),
        Attempt("map_op:batch_lpm_trie", functools.partial(_batch, 11, 8, _NO_PREALLOC)),
        Attempt("map_op:mmap_ringbuf", _mmap_ring),
    ]
    return found

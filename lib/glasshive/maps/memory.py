"""Memory of array maps that the kernel shares with us (BPF_F_MMAPABLE)."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from glasshive.bpf import Map


def memory_of(kernel: Map) -> NDArray[np.uint8]:
    """An array map's elements as rows of bytes, writable. Lives as long as anybody uses it.

    The kernel keeps elements in steps of 8 bytes: a row is as long as a step, and a shorter value is its beginning.
    """
    step = (kernel.info.value_size + 7) // 8 * 8
    size = step * kernel.max_entries
    whole = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE
    memory = mmap.mmap(kernel.fd, whole, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    return np.frombuffer(memory, np.uint8)[:size].reshape(-1, step)

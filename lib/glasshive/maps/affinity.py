"""The map ``affinity``: which backend a client had last (``bpf/types/service.h``), and which entries serve nobody."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from glasshive.bpf.layout import Records

NAME = "affinity"


def stale(
    keys: Records, values: Records, now_ns: int, seconds: Mapping[int, int], gone: Collection[tuple[int, int]] = ()
) -> NDArray[np.bool_]:
    """Which entries are of no use.

    ``seconds``: how long each frontend (by id) remembers an idle client; entries of other frontends serve nobody.
    ``gone``: (frontend, backend) pairs that do not belong together any more.
    """
    ids = np.array(sorted(seconds), np.uint32)
    if not len(keys) or not len(ids):
        return np.ones(len(keys), bool)
    frontends = keys["frontend"].astype(np.uint32)
    at = np.minimum(np.searchsorted(ids, frontends), len(ids) - 1)
    life = np.array([seconds[int(one)] for one in ids], np.int64)[at] * 1_000_000_000
    age = np.int64(now_ns) - values["used_ns"].astype(np.int64)
    mask: NDArray[np.bool_] = (ids[at] != frontends) | (age > life)
    if gone:
        pairs = frontends.astype(np.uint64) << np.uint64(32) | values["backend"].astype(np.uint64)
        mask |= np.isin(pairs, np.array([first << 32 | second for first, second in gone], np.uint64))
    return mask

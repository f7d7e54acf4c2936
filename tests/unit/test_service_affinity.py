"""Which entries of session affinity serve nobody."""

from __future__ import annotations

import numpy as np

from glasshive.maps.affinity import stale

KEY = np.dtype([("client", "V16"), ("frontend", "u4"), ("pad", "u4")])
VALUE = np.dtype([("used_ns", "u8"), ("backend", "u4"), ("pad", "u4")])
SECOND = 1_000_000_000


def test_expired_orphaned_and_parted_entries() -> None:
    rows = [(1, 95, 7), (1, 30, 7), (2, 95, 7), (3, 95, 7), (1, 95, 8), (2, 95, 8)]
    keys, values = np.zeros(len(rows), KEY), np.zeros(len(rows), VALUE)
    keys["frontend"] = [one[0] for one in rows]
    values["used_ns"] = [one[1] * SECOND for one in rows]
    values["backend"] = [one[2] for one in rows]
    found = stale(keys, values, 100 * SECOND, {1: 60, 2: 10}, {(1, 8)})
    assert found.tolist() == [False, True, False, True, True, False]
    assert stale(keys, values, 100 * SECOND, {}).all()
    assert not len(stale(keys[:0], values[:0], 0, {1: 1}))

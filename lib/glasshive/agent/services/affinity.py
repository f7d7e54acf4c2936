"""Clients with session affinity, forgotten when their time is over or when their backend left the service.

Programs look at a backend's state before they send a client back to it, but not whether it still belongs to the
service: a pod that lost the label a Service selects by may be well and serve another one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

import numpy as np

from glasshive.bpf import Map
from glasshive.bpf.layout import rows
from glasshive.maps.affinity import stale


def forget(kernel: Map, seconds: Mapping[int, int], gone: Collection[tuple[int, int]]) -> int:
    """Delete entries that serve nobody; how many there were. Reads the whole map: not for the event loop's thread.

    ``seconds``: how long each frontend (by id) remembers a client. ``gone``: (frontend, backend) that have parted.
    """
    keys, values = kernel.items()
    if not len(keys):
        return 0
    now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    which = np.flatnonzero(stale(keys, values, now_ns, seconds, gone))
    return kernel.delete(rows(keys, which)) if len(which) else 0

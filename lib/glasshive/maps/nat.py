"""The map ``nat``: masquerade in both directions (``bpf/types/nat.h``), and which entries still serve anybody."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glasshive.bpf.layout import Records
from glasshive.maps.conntrack import ICMP, ICMPV6, connection_hashes, touching, words

NAME = "nat"

GRACE_NS = 10_000_000_000
"""A translation this young stays, whether or not its connection has been seen: the two are not written at once."""


def connection_of(keys: Records, values: Records, direction_in: int) -> NDArray[np.uint64]:
    """The hash of the pod's connection that each entry translates (``connection_hashes``)."""
    inbound: NDArray[np.bool_] = keys["direction"] == direction_in
    remote = np.where(inbound[:, None], words(keys["src"]), words(keys["dst"]))
    remote_port = np.where(inbound, keys["sport"], keys["dport"])
    pod = np.where(inbound[:, None], words(values["addr"]), words(keys["src"]))
    pod_port = np.where(inbound, values["port"], keys["sport"])
    echo = (keys["protocol"] == ICMP) | (keys["protocol"] == ICMPV6)
    # An echo's identifier counts as the asking pod's port; the answering side has port 0.
    remote_port = np.where(echo, 0, remote_port)
    pod_port = np.where(echo & (pod_port == 0), np.where(inbound, keys["dport"], keys["sport"]), pod_port)
    return connection_hashes(pod, pod_port, remote, remote_port, keys["protocol"])


def orphans(
    keys: Records, values: Records, live: NDArray[np.uint64], now_ns: int, *, direction_in: int, host_flag: int
) -> NDArray[np.bool_]:
    """Which translations belong to no connection of ``live`` (hashes), except young ones and the node's own."""
    old = np.int64(now_ns) - values["created_ns"].astype(np.int64) > GRACE_NS
    own = (values["flags"] & host_flag) != 0
    mask: NDArray[np.bool_] = old & ~own & ~np.isin(connection_of(keys, values, direction_in), live)
    return mask


def of_pods(keys: Records, values: Records, pods: frozenset[bytes], direction_in: int) -> NDArray[np.bool_]:
    """Which translations are those of pods with these addresses."""
    inbound: NDArray[np.bool_] = keys["direction"] == direction_in
    mask: NDArray[np.bool_] = (touching(keys["src"], pods) & ~inbound) | (touching(values["addr"], pods) & inbound)
    return mask

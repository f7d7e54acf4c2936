"""The map ``nat``: masquerade and services, each in both directions (``bpf/types/nat.h``), and who still needs what."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glasshive.bpf.layout import Records
from glasshive.maps.conntrack import Rows, connection_hashes, member, words

NAME = "nat"

CALL, REPLY = 2, 3
"""Of ``enum gh_nat_direction``, as IN is handed in; a test compares them with the BTF."""

GRACE_NS = 10_000_000_000
"""A translation this young stays, whether or not its connection has been seen: the two are not written at once."""
HOST_NS = 3_600_000_000_000
"""How long a port of the node's own stays reserved. Its next packet after that reserves it again."""


def connection_of(keys: Records, values: Records, direction_in: int) -> NDArray[np.uint64]:
    """The hash of the connection that each entry translates (``connection_hashes``): a pod or client, and its peer."""
    direction = keys["direction"]
    inbound: NDArray[np.bool_] = direction == direction_in
    answers = inbound | (direction == REPLY)
    src, dst, other = words(keys["src"]), words(keys["dst"]), words(values["addr"])
    kinds = [answers, direction == CALL]
    remote = np.select([kind[:, None] for kind in kinds], [src, other], dst)
    remote_port = np.select(kinds, [keys["sport"], values["port"]], keys["dport"])
    kinds = [inbound, direction == REPLY]
    pod = np.select([kind[:, None] for kind in kinds], [other, dst], src)
    pod_port = np.select(kinds, [values["port"], keys["dport"]], keys["sport"])
    return connection_hashes(pod, pod_port, remote, remote_port, keys["protocol"])


def orphans(
    keys: Records, values: Records, live: NDArray[np.uint64], now_ns: int, *, direction_in: int, host_flag: int
) -> NDArray[np.bool_]:
    """Which translations belong to no connection of ``live`` (sorted hashes), young ones excepted.

    A port that the node's own connection holds belongs to no pod's connection: it goes by age alone.
    """
    age = np.int64(now_ns) - values["created_ns"].astype(np.int64)
    own: NDArray[np.bool_] = (values["flags"] & host_flag) != 0
    theirs = ~own & (age > GRACE_NS) & ~member(connection_of(keys, values, direction_in), live)
    mask: NDArray[np.bool_] = theirs | (own & (age > HOST_NS))
    return mask


def of_pods(keys: Records, values: Records, judge: Rows, direction_in: int) -> NDArray[np.bool_]:
    """Translations of those pods whose addresses ``judge`` means, as callers or as a service's backends."""
    direction = keys["direction"]
    inbound: NDArray[np.bool_] = direction == direction_in
    mask: NDArray[np.bool_] = judge(words(keys["src"])) & ~inbound
    mask |= judge(words(values["addr"])) & (inbound | (direction == CALL))
    mask |= judge(words(keys["dst"])) & (direction == REPLY)
    return mask

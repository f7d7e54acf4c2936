"""`bench policy`, the memory part: what 100 endpoints of equal rules cost the kernel, beside a map for each."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from glasshive import bpf
from glasshive.agent.config import objects_directory
from glasshive.agent.policy.kernel_rows import KernelRows
from glasshive.bench.measure import Result, Sample, Series, compare
from glasshive.errors import BpfError, PermissionNeededError
from glasshive.maps.policy import PEERS, PORTS, STATE, PolicyMaps
from glasshive.model.policy import Direction, Verdict
from glasshive.policy.delta import PeerKey, PeerValue, PortKey, PortValue

ENDPOINTS, ENTRIES, ENTRIES_MAX = 100, 16_000, 16_384
GOAL_MEMORY = 50.0
_NO_PREALLOC = 1  # BPF_F_NO_PREALLOC


@contextlib.contextmanager
def policy_maps() -> Iterator[PolicyMaps | None]:
    """Private kernel maps as an agent has them; None without the permission to make any."""
    try:
        bpf.mount_bpffs()
        pins = Path(tempfile.mkdtemp(prefix="glasshive-bench-", dir="/sys/fs/bpf"))
    except (PermissionNeededError, PermissionError):
        yield None
        return
    try:
        with bpf.ObjectSpec.open(objects_directory() / "pod.bpf.o").load(pins=pins) as loaded:
            yield PolicyMaps(loaded.maps[PEERS], loaded.maps[PORTS], loaded.maps[STATE])
    finally:
        pins.rmdir()


def memory_result() -> Result | None:
    """Kernel memory of 100 endpoints under one policy of 16,000 rows, shared as ours and as a map per endpoint."""
    with policy_maps() as maps:
        if maps is None:
            return None
        peers, ports = _sixteen_thousand()
        empty = _bytes(maps.peers) + _bytes(maps.ports)
        rows = KernelRows(maps)
        rows.put_ports(ports)
        rows.put_peers(peers)
        shared = _bytes(maps.peers) + _bytes(maps.ports)
        private = _private(maps)
    result = Result("policy: kernel memory of 100 endpoints x 16,000 entries", "MiB")
    ours, tables, tries = (
        Series(name, [Sample(size / 2**20)], lower_is_better=True)
        for name, size in (
            ("shared rows", shared),
            ("the same tables per endpoint", private[0]),
            ("an LPM trie per endpoint", private[1]),
        )
    )
    result.series = [ours, tables, tries]
    result.ratios = [compare(ours, tables, goal=GOAL_MEMORY), compare(ours, tries)]
    result.facts = {
        "of ours, what the node's tables take when empty (MiB)": empty / 2**20,
        "the same tables per endpoint / what the rows add to ours": private[0] / (shared - empty),
        "about the trie": "the kernel counts its entries there, not the nodes between them",
    }
    return result


def _sixteen_thousand() -> tuple[dict[PeerKey, PeerValue], dict[PortKey, PortValue]]:
    """Rows of one policy: 4,000 peers with a row each, and three ports each."""
    peers, ports = {}, {}
    for peer in range(256, 256 + ENTRIES // 4):
        key = PeerKey(1, Direction.INGRESS, peer)
        peers[key] = PeerValue(Verdict.DENY_DEFAULT, 0, 1 << 16)
        for port in (80, 443, 8080):
            ports[PortKey(key, 6, port, 16)] = PortValue(Verdict.ALLOW, 7)
    return peers, ports


def _private(maps: PolicyMaps) -> tuple[int, int]:
    """Bytes of the same two tables per endpoint, and of an LPM trie with 12-byte keys and 8-byte values each."""
    tables = tries = 0
    for _ in range(ENDPOINTS):
        for ours, count in ((maps.peers, ENTRIES // 4), (maps.ports, ENTRIES - ENTRIES // 4)):
            sizes = ours.key_dtype.itemsize, ours.value_dtype.itemsize
            with bpf.Map.create(bpf.MapType.HASH, *sizes, ENTRIES_MAX, name="bench_private", flags=_NO_PREALLOC) as one:
                keys = np.arange(count * sizes[0] // 4, dtype=np.uint32).tobytes()
                one.update(np.frombuffer(keys, one.key_dtype), np.zeros(count, one.value_dtype))
                tables += _bytes(one)
        with bpf.Map.create(bpf.MapType.LPM_TRIE, 12, 8, ENTRIES_MAX, name="bench_private", flags=_NO_PREALLOC) as one:
            rows = np.zeros(ENTRIES, dtype=[("prefixlen", "<u4"), ("identity", "<u4"), ("rest", "<u4")])
            rows["prefixlen"], rows["identity"] = 64, np.arange(ENTRIES)
            one.update(np.frombuffer(rows.tobytes(), one.key_dtype), np.zeros(ENTRIES, one.value_dtype))
            tries += _bytes(one)
    return tables, tries


def _bytes(kernel: bpf.Map) -> int:
    """What the kernel says that a map occupies (``memlock`` of its fdinfo)."""
    for line in Path(f"/proc/self/fdinfo/{kernel.fd}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "memlock":
            return int(value)
    raise BpfError("the kernel does not say how much memory a map occupies")

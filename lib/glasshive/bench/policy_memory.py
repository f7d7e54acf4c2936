"""`bench policy`, the memory part: what 100 endpoints of equal rules cost the kernel, beside a map for each."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from glasshive import bpf
from glasshive.agent.config import objects_directory
from glasshive.agent.policy.kernel_rows import KernelRows
from glasshive.bench.measure import Result, Sample, Series, compare
from glasshive.errors import BpfError, PermissionNeededError
from glasshive.maps.policy import NAMES, PEERS, PORTS, ROWS, PolicyMaps
from glasshive.model.policy import Direction, Verdict
from glasshive.policy.delta import PeerKey, PeerValue, PortKey, PortValue

ENDPOINTS, ENTRIES, ENTRIES_MAX = 100, 16_000, 16_384
GOAL_MEMORY = 50.0
SIZES = {PEERS: 1024, PORTS: 2048, ROWS: ENTRIES_MAX + 1}
"""Buckets of eight: the tables are filled to a half and to three quarters."""
_NO_PREALLOC = 1  # BPF_F_NO_PREALLOC


@contextlib.contextmanager
def policy_maps(sizes: Mapping[str, int] | None = None) -> Iterator[PolicyMaps | None]:
    """Private kernel maps as an agent has them, or of other sizes; None without the permission to make any."""
    try:
        bpf.mount_bpffs()
        pins = Path(tempfile.mkdtemp(prefix="glasshive-bench-", dir="/sys/fs/bpf"))
    except (PermissionNeededError, PermissionError):
        yield None
        return
    try:
        spec = bpf.ObjectSpec.open(objects_directory() / "pod.bpf.o")
        for name, entries in (sizes or {}).items():
            spec.maps[name].max_entries = entries
        with spec.load(pins=pins) as loaded:
            yield PolicyMaps(*(loaded.maps[name] for name in NAMES))
    finally:
        pins.rmdir()


def memory_result() -> Result | None:
    """Kernel memory of 100 endpoints under one policy of 16,000 rows, shared as ours and as tables per endpoint."""
    with policy_maps() as maps:
        if maps is None:
            return None
        node = sum(map(_bytes, maps.tables))
    with policy_maps(SIZES) as maps:
        assert maps is not None
        peers, ports = _sixteen_thousand()
        rows = KernelRows(maps)
        rows.put_ports(ports)
        rows.put_peers(peers)
        shared = sum(map(_bytes, maps.tables))
        private = _private(maps)
    result = Result("policy: kernel memory of 100 endpoints x 16,000 entries", "MiB")
    ours, tables, tries = (
        Series(name, [Sample(size / 2**20)], lower_is_better=True)
        for name, size in (
            ("shared tables for 16,384 entries", shared),
            ("the same tables per endpoint", private[0]),
            ("an LPM trie per endpoint", private[1]),
        )
    )
    result.series = [ours, tables, tries]
    result.ratios = [compare(ours, tables, goal=GOAL_MEMORY), compare(ours, tries, goal=GOAL_MEMORY)]
    result.facts = {
        "a node's tables as an agent makes them, allocated at once (MiB)": node / 2**20,
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
    """Bytes of the same tables per endpoint, and of an LPM trie with 12-byte keys and 8-byte values each."""
    tables = tries = 0
    for _ in range(ENDPOINTS):
        for ours in maps.tables:
            info = ours.info
            with bpf.Map.create(
                info.type, info.key_size, info.value_size, info.max_entries, name="bench_private", flags=info.flags
            ) as one:
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

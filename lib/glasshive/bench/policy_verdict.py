"""`bench policy`, the verdict part: what policy costs per packet, beside one LPM trie of the same entries.

BPF_PROG_TEST_RUN of ``bpf/bench/policy_bench.bpf.c``: net nanoseconds, which is the program less one that only takes
the packet from the list. Every size is measured with one flow, whose entries stay in the processor's caches, and with
packets to all entries in random order, which shows what memory costs. Ours counts packets and bytes in each row, as
the datapath does; the trie only finds its entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from glasshive import bpf
from glasshive.agent.config import objects_directory
from glasshive.bench.measure import Result, Sample, Series, compare, interleave
from glasshive.bpf.object import LoadedObject
from glasshive.maps.policy import NAMES, PEERS, PORTS, ROWS, PolicyMaps
from glasshive.maps.policy_table import SLOTS
from glasshive.model.policy import TCP, Direction, PeerRows, PortRow, Verdict

PORTS_EACH = (80, 443, 8080)
PACKETS, REPEAT = 65_536, 65_536
CLUSTER_FIRST, LOCAL_FIRST = 256, 1 << 24
GOAL_NS, GOAL_FLAT, GOAL_TRIE = 40.0, 1.15, 4.0
OURS, TRIE = "two look-ups", "LPM trie"


class Size(NamedTuple):
    """How many entries, and of how many ports each peer has some; none: peers are CIDRs, allowed as a whole."""

    entries: int
    ports: tuple[int, ...]

    @property
    def identities(self) -> int:
        """Number of peers."""
        return self.entries // (len(self.ports) + 1)

    def __str__(self) -> str:
        return f"{self.entries:,} {'entries' if self.ports else 'CIDR identities'}"


QUICK = (Size(100, PORTS_EACH), Size(16_384, PORTS_EACH))
FULL = (*QUICK, Size(65_536, PORTS_EACH), Size(524_288, ()))


def bench(*, rounds: int, quick: bool, progress: Callable[[int, int], None]) -> Iterator[Result]:
    """One result per size, and one about how they compare."""
    sizes = QUICK if quick else FULL
    hot: dict[Size, float] = {}
    for done, size in enumerate(sizes):
        with load(size) as loaded:
            fill(loaded, size)
            for spread in (False, True):
                choose_packets(loaded, size, spread=spread)
                result = _measured(loaded, size, rounds * 3, spread=spread)
                if not spread:
                    hot[size] = result.series[0].best
                yield result
        progress(done + 1, len(sizes))
    identity = [ns for size, ns in hot.items() if size.ports]
    summary = Result("policy: one verdict, one flow", "ns net")
    summary.series = [Series(f"{OURS}, {size}", [Sample(ns)], lower_is_better=True) for size, ns in hot.items()]
    summary.facts = {
        f"dearest (goal {GOAL_NS:.0f} ns)": max(hot.values()),
        f"dearest identity entries / cheapest (goal {GOAL_FLAT})": max(identity) / min(identity),
    }
    yield summary


def load(size: Size) -> LoadedObject:
    """The programs with tables large enough. The caller closes it."""
    spec = bpf.ObjectSpec.open(objects_directory() / "policy_bench.bpf.o")
    spec.rodata["node_config"] = {}
    for name, entries in ((PEERS, size.identities), (PORTS, size.identities * len(size.ports))):
        spec.maps[name].max_entries = max(_power_of_two(2 * entries) // SLOTS, 256)
    spec.maps[ROWS].max_entries = size.entries + 1024
    spec.maps["bench_trie"].max_entries = max(size.entries, 1024)
    return spec.load()


def fill(loaded: LoadedObject, size: Size) -> None:
    """The same entries for both: policy 1, ingress."""
    ports = tuple(PortRow(TCP, port, 16, Verdict.ALLOW, 7) for port in size.ports)
    rows = PeerRows(Verdict.DENY_DEFAULT if ports else Verdict.ALLOW, 3, ports)
    identities = _identities(size)
    maps = PolicyMaps(*(loaded.maps[name] for name in NAMES))
    maps.write_policy(1, Direction.INGRESS, dict.fromkeys(identities.tolist(), rows))
    trie = loaded.maps["bench_trie"]
    for port in (None, *size.ports):
        keys = np.zeros(len(identities), trie.key_dtype)
        values = np.zeros(len(identities), trie.value_dtype)
        keys["policy"], keys["identity"], keys["prefixlen"] = 1 << 1, identities, 64
        values["verdict"] = Verdict.ALLOW
        if port is not None:
            keys["protocol"], keys["port"], keys["prefixlen"] = TCP, port, 96
        elif ports:
            values["verdict"] = Verdict.DENY_DEFAULT
        trie.update(keys, values)


def choose_packets(loaded: LoadedObject, size: Size, *, spread: bool) -> None:
    """The list that runs walk through: packets that an entry allows, of one flow or of all."""
    kernel = loaded.maps["bench_packets"]
    draw = np.random.default_rng(1)
    packets = np.zeros(PACKETS, kernel.value_dtype)
    packets["policy"], packets["protocol"] = 1 << 1, TCP
    packets["identity"] = draw.choice(_identities(size), PACKETS)
    packets["port"] = draw.choice(size.ports or (80,), PACKETS)
    if not spread:
        packets[:] = packets[0]
    kernel.update(np.arange(PACKETS, dtype=np.uint32), packets)


def nanoseconds(loaded: LoadedObject, program: str) -> float:
    """Net cost of one verdict: beside the empty program, measured right before."""
    times = [
        loaded.programs[name].test_run(bytes(64), repeat=REPEAT).duration_ns for name in ("empty", program, "empty")
    ]
    return float(times[1] - min(times[0], times[2]))


def _measured(loaded: LoadedObject, size: Size, slices: int, *, spread: bool) -> Result:
    programs = {OURS: "by_policy", TRIE: "by_trie"}
    result = Result(f"policy: one verdict at {size}, {'all in turn' if spread else 'one flow'}", "ns net")
    result.series = interleave(
        {name: lambda program=program: Sample(nanoseconds(loaded, program)) for name, program in programs.items()},  # type: ignore[misc]
        slices,
        lower_is_better=True,
    )
    goal = GOAL_TRIE if size.entries == 65_536 else None
    result.ratios = [compare(result.series[0], result.series[1], goal=goal)]
    return result


def _identities(size: Size) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    first = CLUSTER_FIRST if size.ports else LOCAL_FIRST
    return np.arange(first, first + size.identities, dtype=np.uint32)


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 1).bit_length()

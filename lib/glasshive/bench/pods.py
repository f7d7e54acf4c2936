"""`bench pods`: how fast pods get and lose their network, at many live pods on one node; beside iproute2 doing the same
without programs and maps. And `bench load`: how long the objects take, and what an agent holds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glasshive.bench.clusters import cluster, command
from glasshive.bench.measure import Result, Sample, Series, interleave
from glasshive.bench.peers import Peers, run
from glasshive.bench.run_in_memory import names_in_memory
from glasshive.errors import ProcessError

BPFFS = Path("/sys/fs/bpf/glasshive")


@contextmanager
def node_namespace(peers: Peers) -> Iterator[str]:
    """A node's namespace with an ``eth0`` whose other end is a switchless wire; its name."""
    node, wire = peers.namespace("node"), peers.namespace("wire")
    run("ip", "-n", wire, "link", "add", "w0", "type", "veth", "peer", "name", "eth0", "netns", node)
    run("ip", "-n", wire, "link", "set", "w0", "up")
    run("ip", "-n", node, "addr", "add", "172.30.0.11/16", "dev", "eth0")
    run("ip", "-n", node, "addr", "add", "fd30::b/64", "dev", "eth0", "nodad")
    run("ip", "-n", node, "link", "set", "eth0", "up")
    yield node


def work(live: int, measured: int) -> dict[str, Any]:
    """One run of the worker in a fresh node."""
    name = f"gb-{os.getpid()}-w"
    with Peers() as peers, node_namespace(peers) as node, tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "glasshive.bench.pods_worker", node, name, folder, str(live), str(measured)],
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
        finally:
            _unpin(BPFFS / name)
    if done.returncode:
        raise ProcessError(f"the pods benchmark's worker failed: {done.stderr.strip()[-600:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _unpin(folder: Path) -> None:
    """Remove the worker's pins; they are all files and folders below its own name."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    if folder.exists():
        folder.rmdir()


def _pair(rate: dict[str, Any]) -> str:
    return f"{rate['per_second']:.0f}, {rate['p99_ms']:.1f}"


def _until_gone(one: dict[str, Any]) -> float:
    seconds = one["delete"]["count"] / one["delete"]["per_second"] + one["delete_trailing_ms"] / 1000
    return float(one["delete"]["count"] / seconds)


def by_iproute2(count: int) -> Sample:
    """The same namespaces, pairs, addresses and routes by the `ip` command, without programs and maps; pods/s."""
    with Peers() as peers:
        node = peers.namespace("cli")
        began = time.perf_counter()
        for number in range(count):
            name = peers.namespace(f"cli{number}")
            host, address = f"p{number}", f"10.200.{number // 250}.{number % 250 + 1}"
            run("ip", "-n", node, "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "-n", node, "link", "set", host, "up")
            lines = f"addr add {address}/32 dev eth0\nlink set eth0 up\nroute add 10.200.255.1 dev eth0\n"
            run("ip", "-n", name, "-batch", "-", stdin=lines + "route add default via 10.200.255.1\n")
        return Sample(count / (time.perf_counter() - began))


def bench_pods(*, rounds: int, quick: bool, progress: Callable[[int, int], None] | None = None) -> list[Result]:
    """``rounds`` fresh nodes, each with 1,000 live pods (200 if quick) before 500 (100) more are measured."""
    live, measured = (200, 100) if quick else (1000, 500)
    runs: list[dict[str, Any]] = []

    def ours() -> Sample:
        runs.append(work(live, measured))
        return Sample(runs[-1]["add"]["per_second"])

    with names_in_memory() as moved:
        series = interleave({"glasshive": ours, "ip command": lambda: by_iproute2(20)}, rounds, progress)
    result = Result(f"pods: namespace and CNI ADD at {live:,} live pods on one node", "pods/s", series)
    best = max(runs, key=lambda one: one["add"]["per_second"])
    result.facts = {
        "ADD p50 ms (best run)": best["add"]["median_ms"],
        "ADD p99 ms (best run)": best["add"]["p99_ms"],
        "of this the CNI request alone, p50 ms": best["add_alone"]["median_ms"],
        "CNI requests alone per second, and p99 ms": _pair(best["add_alone"]),
        "namespaces made beside the ADDs: pods per second, and p99 ms": _pair(best["add_overlapped"]),
        "ADD p99 ms (lowest of all runs)": min(one["add"]["p99_ms"] for one in runs),
        "newest pod reachable in every run": str(all(one["reachable"] for one in runs)),
        "DEL per second (best)": max(one["delete"]["per_second"] for one in runs),
        "DEL per second until the kernel is rid of them (best)": max(map(_until_gone, runs)),
        "/run/netns": "on a disk here; measured with one in memory, both" if moved else "in memory",
        "goal: 500 ADD/s, p99 under 5 ms": "reached"
        if any(o["add"]["per_second"] >= 500 and o["add"]["p99_ms"] < 5 for o in runs)
        else "NOT reached",
        "goal: 1,000 DEL/s": "reached" if any(o["delete"]["per_second"] >= 1000 for o in runs) else "NOT reached",
    }
    return [result]


def bench_load(*, rounds: int, quick: bool, progress: Callable[[int, int], None] | None = None) -> list[Result]:
    """Load and attach all objects in ``rounds`` fresh nodes; then what the agents of a standing cluster hold."""
    del quick
    series = Series("objects loaded and attached", lower_is_better=True)
    cpu: list[float] = []
    for turn in range(rounds):
        one = work(1, 1)
        series.samples.append(Sample(one["load_ms"]))
        cpu.append(one["load_cpu_ms"])
        if progress:
            progress(turn + 1, rounds)
    result = Result("load: all objects of a node loaded and attached", "ms", [series])
    result.facts["CPU time of it, ms (best)"] = min(cpu)
    result.facts["goal: at most 80 ms"] = "reached" if series.best <= 80 else "NOT reached"
    with cluster("load", "--nodes", "3") as name:
        said = json.loads(command("status", "--cluster", name, "-o", "json"))
    resident = [one["rss_bytes"] / (1 << 20) for one in said["processes"] if one["role"] in ("agent", "node")]
    result.facts["agent resident MiB (largest of 3)"] = max(resident)
    result.facts["goal: agent under 110 MiB"] = "reached" if max(resident) < 110 else "NOT reached"
    return [result]

"""`bench api`: writes per second, how soon watchers hear of them, and what objects cost in memory.

Every slice has a fresh server. Who takes part, and what is fair about it, is told in ``api_peers``.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict

from glasshive.bench import api_peers, http_load
from glasshive.bench.api_peers import Store
from glasshive.bench.measure import Result, Sample, Series, compare, interleave
from glasshive.errors import ProcessError

CLIENTS = (1, 8, 32)
GOAL_WRITES_PER_SECOND = 1500
WATCHERS, WATCH_RATE = 100, 50.0
GOAL_LATENCY_MS = 50.0
OBJECTS = 10_000
PEERS = {
    "etcd": "stores bytes: no validation, defaults or tables; its JSON gateway on loopback, data in memory",
    "SQLite alone": "the same rows in groups of as many as there are clients, no HTTP: the ceiling",
}
Progress = Callable[[int, int], None]
_Open = Callable[[], AbstractContextManager[Store]]


def contenders() -> dict[str, _Open]:
    """Our server, and etcd where it is installed."""
    found: dict[str, _Open] = {"glasshive": api_peers.api_server}
    if api_peers.etcd_program():
        found["etcd"] = api_peers.etcd
    return found


def bench(*, rounds: int, quick: bool, progress: Progress | None = None) -> list[Result]:
    """Writes by 1, 8 and 32 clients; latency of 100 watchers; memory of 10,000 objects (quick: shorter, 2,000)."""
    seconds = 0.5 if quick else 2.0
    found = [_writes(clients, seconds, rounds, progress) for clients in CLIENTS]
    found.append(_watch(100 if quick else 400, rounds, progress))
    found.append(_memory(OBJECTS // 5 if quick else OBJECTS))
    if "etcd" not in contenders():
        found[0].facts["etcd"] = "not measured: it is not installed (Debian: etcd-server; or GLASSHIVE_ETCD=path)"
    return found


# --- writes ---


def _writes(clients: int, seconds: float, rounds: int, progress: Progress | None) -> Result:
    turns: dict[str, Callable[[], Sample]] = {
        name: lambda opened=opened: _slice(opened, clients, seconds)  # type: ignore[misc]
        for name, opened in contenders().items()
    }
    turns["SQLite alone"] = lambda: _ceiling(clients, seconds)
    series = interleave(turns, rounds, progress)
    title = f"api: new ConfigMaps by {clients} client{'s' if clients > 1 else ''}, each waiting for its answer"
    result = Result(title, "writes/s", series)
    ours, *peers = series
    result.ratios = [compare(ours, peer) for peer in peers]
    result.facts = {peer.name: PEERS[peer.name] for peer in peers} if clients == CLIENTS[0] else {}
    good = ours.median >= GOAL_WRITES_PER_SECOND
    result.facts[f"goal: {GOAL_WRITES_PER_SECOND:,} writes/s (median)"] = "reached" if good else "NOT reached"
    return result


def _slice(opened: _Open, clients: int, seconds: float) -> Sample:
    with opened() as store:
        asyncio.run(http_load.write_for(store.address, clients, seconds / 10, lambda n: store.write(n + 10**6, "warm")))
        before = api_peers.cpu_seconds(store.process.pid)
        done = asyncio.run(http_load.write_for(store.address, clients, seconds, lambda n: store.write(n, "v" * 50)))
        spent = api_peers.cpu_seconds(store.process.pid) - before
    return Sample(done / seconds, spent, done)


def _ceiling(clients: int, seconds: float) -> Sample:
    done, spent = api_peers.sqlite_alone(clients, seconds)
    return Sample(done / seconds, spent, done)


# --- watches ---


def _watch(events: int, rounds: int, progress: Progress | None) -> Result:
    collected: dict[str, list[list[float]]] = {name: [] for name in contenders()}

    def turn(name: str, opened: _Open) -> Sample:
        found = sorted(_latencies(opened, events))
        collected[name].append(found)
        return Sample(_quantile(found, 0.99))

    turns: dict[str, Callable[[], Sample]] = {
        name: lambda name=name, opened=opened: turn(name, opened)  # type: ignore[misc]
        for name, opened in contenders().items()
    }
    series = interleave(turns, rounds, progress, lower_is_better=True)
    deliveries = WATCHERS * WATCH_RATE
    title = f"api: {WATCHERS} watchers at {WATCH_RATE:g} writes/s ({deliveries:,.0f} deliveries/s), p99 from sending"
    result = Result(title, "ms", series)
    result.ratios = [compare(series[0], peer) for peer in series[1:]]
    for name, runs in collected.items():
        median = sorted(runs, key=lambda run: _quantile(run, 0.99))[len(runs) // 2]
        result.facts[f"{name}: p50 ms (median slice)"] = _quantile(median, 0.5)
        result.facts[f"{name}: longest ms (median slice)"] = median[-1]
    good = series[0].median < GOAL_LATENCY_MS
    result.facts[f"goal: p99 under {GOAL_LATENCY_MS:g} ms (median)"] = "reached" if good else "NOT reached"
    return result


def _latencies(opened: _Open, events: int) -> list[float]:
    """Milliseconds from a write's sending to each watcher's reading of it."""
    with opened() as store:
        spec = {
            "request": store.watch().decode(), "address": asdict(store.address), "watchers": WATCHERS, "events": events,
            "timeout": events / WATCH_RATE + 30,
        }  # fmt: skip
        argv = [sys.executable, "-m", "glasshive.bench.http_load", json.dumps(spec)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watchers:
            assert watchers.stdout
            if watchers.stdout.readline() != "ready\n":
                raise ProcessError(f"the watchers of {store.name} did not start")
            asyncio.run(
                http_load.write_at(store.address, WATCH_RATE, events, lambda n: store.write(n, http_load.stamp()))
            )
            told = watchers.stdout.readline()
        if not told:
            raise ProcessError(f"the watchers of {store.name} did not see all {events} events")
        found: list[float] = json.loads(told)
    return found


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


# --- memory ---


def _memory(objects: int) -> Result:
    """Resident memory that ``objects`` new ConfigMaps add; history for watches to resume from is part of it."""
    series = []
    for name, opened in contenders().items():
        with opened() as store:
            asyncio.run(http_load.write_all(store.address, [store.write(n + 10**6, "warm") for n in range(200)]))
            before = api_peers.resident_bytes(store.process.pid)
            asyncio.run(http_load.write_all(store.address, (store.write(n, "v" * 50) for n in range(objects))))
            added = api_peers.resident_bytes(store.process.pid) - before
        series.append(Series(name, [Sample(added / objects * OBJECTS / (1 << 20))], lower_is_better=True))
    title = f"api: resident memory per {OBJECTS:,} ConfigMaps of about 300 bytes (measured with {objects:,})"
    result = Result(title, "MiB", series)
    result.ratios = [compare(series[0], peer) for peer in series[1:]]
    return result

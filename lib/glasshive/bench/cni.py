"""How many pods a node can attach and detach per second, without Kubernetes: only what is the node's own work.

Runs in a process that is in a prepared node's network namespace (``eth0`` with the node's addresses). One ADD counts
from making the sandbox's namespace to a reachable pod: namespace, link, addresses, routes, endpoint, programs, maps.
"""

from __future__ import annotations

import asyncio
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from glasshive.agent.cni import CniServer
from glasshive.agent.config import AgentConfig
from glasshive.agent.datapath import Datapath
from glasshive.errors import GlasshiveError
from glasshive.model.address import render
from glasshive.model.endpoint import PodRef
from glasshive.model.node import NodeFacts
from glasshive.net import netns

BENCH_IDENTITY = 300


@dataclass(frozen=True, slots=True)
class Rate:
    """Operations done one after the other, and how long one took (ms)."""

    count: int
    per_second: float
    median_ms: float
    p99_ms: float
    longest_ms: float


@dataclass(frozen=True, slots=True)
class PodRates:
    """``live`` pods were there before the measured ones. ADD includes making the namespace, DEL deleting it."""

    live: int
    add: Rate
    add_alone: Rate
    """The CNI request alone, without making the namespace."""
    add_overlapped: Rate
    """As ``add``, but the next namespace is made while the last pod is attached, as for pods started together."""
    reachable: bool
    """Whether the newest pod answered a ping from the node."""
    delete: Rate
    delete_trailing_ms: float
    """From the last answer to a DEL until the last device has gone."""
    load_ms: float
    load_cpu_ms: float
    """CPU time of the same: what other programs on the machine leave as it is."""

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)


def measure(
    config: AgentConfig, node: NodeFacts, *, live: int, adds: int, own: Callable[[str], None] | None = None
) -> PodRates:
    """Attach ``live`` pods, then measure ``adds`` more and the deletion of those. Everything is taken away again.

    ``own`` is told the name of every network namespace before it is made (inventory).
    """
    return asyncio.run(_measure(config, node, live, adds, own or (lambda _: None)))


async def _measure(config: AgentConfig, node: NodeFacts, live: int, adds: int, own: Callable[[str], None]) -> PodRates:
    datapath = Datapath(config, node)
    datapath.start()

    async def identity_of(_: PodRef) -> int:
        return BENCH_IDENTITY

    bench = _Bench(config, CniServer(datapath, identity_of), own)
    try:
        await bench.add_many(live)
        times = await bench.add_many(adds)
        whole = [one + two for one, two in times]
        overlapped, seconds = await bench.add_overlapped(adds)
        reachable = _answers(datapath, bench.names[-1])
        last = bench.names[live:]
        removal = await bench.delete_many(last)
        began = time.perf_counter()
        await datapath.departures.drained()
        trailing = time.perf_counter() - began
        return PodRates(
            live=live,
            add=_rate(whole, sum(whole)),
            add_overlapped=_rate(overlapped, seconds),
            add_alone=_rate([two for _, two in times], sum(two for _, two in times)),
            reachable=reachable,
            delete=removal,
            delete_trailing_ms=round(trailing * 1000, 1),
            load_ms=datapath.timing_ms["load_and_attach"],
            load_cpu_ms=datapath.timing_ms["load_and_attach_cpu"],
        )
    finally:
        await bench.delete_many(list(bench.names))
        await datapath.stop()


def _answers(datapath: Datapath, container_id: str) -> bool:
    endpoint = datapath.endpoints.find(container_id, "eth0")
    assert endpoint
    ping = ["ping", "-c", "1", "-W", "2", render(endpoint.addresses[0])]
    return subprocess.run(ping, capture_output=True, check=False).returncode == 0


class _Bench:
    """Sandboxes and the requests about them."""

    def __init__(self, config: AgentConfig, cni: CniServer, own: Callable[[str], None]) -> None:
        self._prefix = f"gh-{config.cluster}-pod-{config.node}"
        self._cni = cni
        self._own = own
        self.names: list[str] = []

    async def add_many(self, count: int) -> list[tuple[float, float]]:
        """(seconds for the namespace, seconds for the ADD) of each."""
        times = []
        for _ in range(count):
            name = f"{self._prefix}-{len(self.names):05d}"
            self._own(name)
            began = time.perf_counter()
            netns.create(name)
            self.names.append(name)
            made = time.perf_counter()
            await self._ask("ADD", name)
            times.append((made - began, time.perf_counter() - made))
        return times

    async def add_overlapped(self, count: int) -> tuple[list[float], float]:
        """As a runtime that starts pods side by side: the next namespace is made while the last one is attached.

        Seconds of each, from the beginning of its namespace to a reachable pod, and of all together.
        """
        names = [f"{self._prefix}-{len(self.names) + number:05d}" for number in range(count)]
        made: queue.Queue[tuple[str, float]] = queue.Queue(maxsize=1)

        def runtime() -> None:
            for name in names:
                self._own(name)
                began = time.perf_counter()
                netns.create(name)
                made.put((name, began))

        times = []
        first = time.perf_counter()
        maker = threading.Thread(target=runtime, daemon=True)
        maker.start()
        for _ in names:
            name, began = made.get()
            self.names.append(name)
            await self._ask("ADD", name)
            times.append(time.perf_counter() - began)
        maker.join()
        return times, time.perf_counter() - first

    async def delete_many(self, names: Sequence[str]) -> Rate:
        """Detach and remove sandboxes, one after the other."""
        times: list[float] = []
        for name in names:
            began = time.perf_counter()
            await self._ask("DEL", name)
            netns.delete(name, missing_ok=True)
            times.append(time.perf_counter() - began)
            await asyncio.sleep(0)  # a request's end: the loop turns, as it does between requests of a socket
        gone = set(names)
        self.names = [name for name in self.names if name not in gone]
        return _rate(times, sum(times))

    async def _ask(self, command: str, name: str) -> None:
        answer = await self._cni.handle(
            {
                "command": command,
                "containerId": name,
                "netns": str(netns.path_of(name)),
                "ifname": "eth0",
                "args": {"K8S_POD_NAME": name, "K8S_POD_NAMESPACE": "bench"},
                "config": {},
            }
        )
        if "code" in answer:
            raise GlasshiveError(f"CNI {command} of {name}: {answer['msg']}")


def _rate(times: Sequence[float], seconds: float) -> Rate:
    ordered = sorted(times) or [0.0]
    return Rate(
        count=len(times),
        per_second=round(len(times) / seconds, 1) if seconds else 0.0,
        median_ms=round(ordered[len(ordered) // 2] * 1000, 3),
        p99_ms=round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000, 3),
        longest_ms=round(ordered[-1] * 1000, 3),
    )

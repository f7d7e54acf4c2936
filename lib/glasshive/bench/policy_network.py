"""Policy where its users feel it: how soon an applied policy is in force everywhere, and what an allow list costs.

Latency: from the moment in which the API is asked to store a policy until the endpoints of three nodes, read from the
kernels' own tables, are under it. Allow lists of 10, 1,000 and 5,000 rules: connections per second, and per second of
CPU time, beside iptables and nftables with one rule for each allowed peer. Everybody's rule for the client that asks
stands in the middle of the list.
"""

from __future__ import annotations

import asyncio
import ipaddress
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from glasshive.agent.config import BPFFS
from glasshive.api.cilium_identity import CILIUM_IDENTITY
from glasshive.api.cilium_policy_schema import CILIUM_NETWORK_POLICY
from glasshive.bench.clusters import RUN_ROOT, ask, cluster, endpoint, pod
from glasshive.bench.measure import Result, Series, compare, interleave
from glasshive.bench.network import pod_path
from glasshive.bench.peers import Peers, run
from glasshive.bench.traffic import PORT, Load, TrafficPath
from glasshive.bpf import Map
from glasshive.errors import ApiError, DeadlineError
from glasshive.kube.client import Client

Progress = Callable[[int, int], None]

SIZES = (10, 1_000, 5_000)
GOAL_P99_MS, GOAL_FACTOR = 50.0, 2.0
SERVED = PORT + 2
"""Where the load program's server answers connections of one question each."""
NODES = ("node1", "node2", "node3")
PATIENCE_SECONDS = 60.0
_FIRST_IDENTITY = 20_000
_PEERS_NET = ipaddress.ip_network("10.88.0.0/16")


# --- from the API to the tables ---


class Watched:
    """The policy number of one pod, read from its node's kernel."""

    def __init__(self, cluster_name: str, node: str, pod_name: str) -> None:
        self._map = Map.open(f"{BPFFS}/{cluster_name}/{node}/maps/endpoints")
        self._key = endpoint(cluster_name, node, pod_name).addresses[0]

    def number(self) -> int:
        """The number now; 0: no policy."""
        value = self._map.get(self._key)
        return int(value["policy"]) if value is not None else 0

    def close(self) -> None:
        """Let go of the map."""
        self._map.close()


def bench_latency(*, times: int, progress: Progress) -> Result:
    """A policy is applied again and again, each time with another peer."""
    with ExitStack() as stack:
        pods = [pod(f"target-{node}", node) for node in NODES]
        for one in pods:
            one["metadata"]["labels"]["app"] = "target"
        name = stack.enter_context(cluster("apply", "--nodes", str(len(NODES)), objects=pods))
        watched = [Watched(name, node, f"target-{node}") for node in NODES]
        for each in watched:
            stack.callback(each.close)
        taken = sorted(asyncio.run(_apply_again_and_again(name, watched, times, progress)))
    p50, p99 = taken[len(taken) // 2], taken[min(len(taken) - 1, int(len(taken) * 0.99))]
    facts = {
        "p50 ms": p50, "p99 ms": p99, "worst ms": taken[-1], "times": len(taken),
        f"goal p99 below {GOAL_P99_MS:g} ms": "reached" if p99 < GOAL_P99_MS else "NOT reached",
    }  # fmt: skip
    return Result("policy: from the API to the tables of three nodes", "ms", facts=facts)


async def _apply_again_and_again(name: str, watched: Sequence[Watched], times: int, progress: Progress) -> list[float]:
    taken = []
    async with Client(socket=RUN_ROOT / name / "api.sock") as client:
        for turn in range(times + 3):  # the first ones warm up
            before = [one.number() for one in watched]
            began = time.perf_counter()
            task = asyncio.create_task(client.apply(CILIUM_NETWORK_POLICY, latency_policy(turn)))
            while any(one.number() in (0, old) for one, old in zip(watched, before, strict=True)):
                await asyncio.sleep(0.0003)
                if time.perf_counter() - began > PATIENCE_SECONDS:
                    raise DeadlineError(f"a policy was not in force on all nodes after {PATIENCE_SECONDS:g} s")
            if turn >= 3:
                taken.append((time.perf_counter() - began) * 1000)
            await task
            await asyncio.sleep(0.05)
            progress(turn + 1, times + 3)
    return taken


def latency_policy(turn: int) -> dict[str, Any]:
    """Another peer every time."""
    peers = [{"matchLabels": {"turn": str(turn)}}]
    spec = {"endpointSelector": {"matchLabels": {"app": "target"}}, "ingress": [{"fromEndpoints": peers}]}
    return CILIUM_NETWORK_POLICY.object("latency", "default", spec=spec)


# --- allow lists ---


def bench_lists(
    *, sizes: Sequence[int] = SIZES, slices: int, seconds: float = 0.25, progress: Progress
) -> list[Result]:
    """Every size beside the peers' lists of the same size, all in one run."""
    with ExitStack() as stack:
        pods = [pod("a", "node1"), *(pod(f"b{size}", "node1") for size in sizes)]
        name = stack.enter_context(cluster("lists", "--nodes", "1", objects=pods))
        asyncio.run(allow_lists(name, sizes))
        for size in sizes:
            _rows_written(name, size)
        peers = stack.enter_context(Lists())
        load = stack.enter_context(Load("policy"))
        results = []
        for at, size in enumerate(sizes):
            ours = pod_path(f"glasshive {size}", name, ("node1", "a"), ("node1", f"b{size}"))
            paths = [ours, *peers.paths(size)]
            for path in paths:
                load.serve(path)
            contenders = {path.name: partial(load.run, path, "crr", seconds) for path in paths}
            done = partial(_part, progress, at * slices, len(sizes) * slices)
            results.append(judge(size, interleave(contenders, slices, done)))
        return results


def judge(size: int, series: list[Series]) -> Result:
    """Compare ours with every peer. The goal is for lists of 5,000, by CPU time: machines are shared."""
    goal = GOAL_FACTOR if size >= SIZES[-1] else None
    ours, *others = series
    wanted = [compare(ours, one, goal=None if "set" in one.name else goal, goal_on="per_cpu") for one in others]
    return Result(f"policy: an allow list of {size:,} rules, connections", "connections/s", series, wanted)


def _part(progress: Progress, before: int, whole: int, done: int, _: int) -> None:
    progress(before + done, whole)


async def allow_lists(name: str, sizes: Sequence[int]) -> None:
    """Identities for all peers, and a policy of each size."""
    async with Client(socket=RUN_ROOT / name / "api.sock") as client:
        limit = asyncio.Semaphore(32)

        async def make(number: int) -> None:
            labels = {"k8s:peer": f"p{number}", "k8s:io.kubernetes.pod.namespace": "default"}
            body = {"apiVersion": CILIUM_IDENTITY.api_version, "kind": CILIUM_IDENTITY.kind,
                    "metadata": {"name": str(_FIRST_IDENTITY + number)}, "security-labels": labels}  # fmt: skip
            async with limit:
                try:
                    await client.create(CILIUM_IDENTITY, body)
                except ApiError as error:
                    if error.code != 409:
                        raise

        await asyncio.gather(*(make(number) for number in range(max(sizes))))
        for size in sizes:
            await client.apply(CILIUM_NETWORK_POLICY, list_policy(size))


def _rows_written(name: str, size: int) -> None:
    """Wait until a target's policy has a row for every peer, by what its agent reads from the kernel."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(ask(name, "node1", f"/v1/policy/map?endpoint=default/b{size}")) <= size:
        if time.monotonic() > deadline:
            raise DeadlineError(f"a policy of {size} rules is not in force after {PATIENCE_SECONDS:g} s")
        time.sleep(0.1)


def list_policy(size: int) -> dict[str, Any]:
    """``size`` rules; the one for pod a is in the middle."""
    ports = [{"ports": [{"port": str(SERVED), "protocol": "TCP"}]}]
    labels = [{"peer": f"p{number}"} for number in range(size)]
    labels[size // 2] = {"bench": "a"}
    rules = [{"fromEndpoints": [{"matchLabels": one}], "toPorts": ports} for one in labels]
    spec = {"endpointSelector": {"matchLabels": {"bench": f"b{size}"}}, "ingress": rules}
    return CILIUM_NETWORK_POLICY.object(f"list-{size}", "default", spec=spec)


class Lists(Peers):
    """Router namespaces with an allow list each: what kube-router, Calico and others leave in the kernel."""

    def paths(self, size: int) -> list[TrafficPath]:
        """The paths through lists of this size: iptables, nftables rule by rule, and an nftables set."""
        found = [self._filtered(f"{_iptables()} {size}", f"ipt{size}", partial(_iptables_rules, size=size))]
        if shutil.which("nft"):
            found.append(self._filtered(f"nftables {size}", f"nft{size}", partial(_nft_rules, size=size)))
            found.append(self._filtered(f"nftables set {size}", f"set{size}", partial(_nft_set, size=size)))
        return found

    def _filtered(self, name: str, role: str, rules: Callable[[str], None]) -> TrafficPath:
        a, b, middle = (self.namespace(f"{role}{end}") for end in ("a", "b", ""))
        self._sysctl(middle, "net.ipv4.ip_forward=1")
        self._attach(middle, a, "p1", "10.9.5")
        self._attach(middle, b, "p2", "10.9.6")
        rules(middle)
        return self._path(name, a, b, "10.9.6.2")


_CLIENT = "10.9.5.2"


def sources(size: int) -> list[str]:
    """Allowed addresses, the client's in the middle."""
    found = [str(_PEERS_NET[number + 1]) for number in range(size)]
    found[size // 2] = _CLIENT
    return found


def _iptables() -> str:
    """The classic back end where the machine has it; it is named in the result."""
    return "iptables-legacy" if shutil.which("iptables-legacy") and Path("/proc/net/ip_tables_names").exists() else (
        "iptables"
    )  # fmt: skip


def _iptables_rules(space: str, size: int) -> None:
    lines = ["*filter", ":FORWARD DROP [0:0]", "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"]
    lines += [f"-A FORWARD -s {one}/32 -p tcp -m tcp --dport {SERVED} -j ACCEPT" for one in sources(size)]
    _inside(space, [f"{_iptables()}-restore"], [*lines, "COMMIT"])


def _nft_rules(space: str, size: int) -> None:
    rules = [f"ip saddr {one} tcp dport {SERVED} accept" for one in sources(size)]
    _inside(space, ["nft", "-f", "-"], _nft_table(rules))


def _nft_set(space: str, size: int) -> None:
    known = f"set allowed {{ type ipv4_addr; elements = {{ {', '.join(sources(size))} }}; }}"
    _inside(space, ["nft", "-f", "-"], _nft_table([f"ip saddr @allowed tcp dport {SERVED} accept"], known))


def _nft_table(rules: Iterable[str], more: str = "") -> list[str]:
    chain = "chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept;"
    return ["table inet filter {", more, chain, *rules, "}", "}"]


def _inside(space: str, argv: Sequence[str], lines: Iterable[str]) -> None:
    run("ip", "netns", "exec", space, *argv, stdin="\n".join(lines) + "\n")


def bench(*, quick: bool, progress: Progress) -> list[Result]:
    """Both parts."""
    found = [bench_latency(times=20 if quick else 300, progress=progress)]
    sizes = SIZES[:2] if quick else SIZES
    return found + bench_lists(sizes=sizes, slices=2 if quick else 8, progress=progress)

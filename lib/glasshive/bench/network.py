"""`bench stream|rr|crr`: pods of real clusters beside plain kernel networks, one slice each in turn.

Ours has every feature of a standing cluster on: connection tracking, identities, counters, drop records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from glasshive.bench.clusters import cluster, endpoint, pod
from glasshive.bench.measure import Result, Sample, Series, compare, interleave
from glasshive.bench.peers import Peers
from glasshive.bench.traffic import Load, Mode, TrafficPath
from glasshive.model.address import is_ipv4, render

OURS, OURS_TWO_NODES, OURS_VXLAN = "glasshive", "glasshive, 2 nodes", "glasshive vxlan, 2 nodes"
UNITS: dict[Mode, str] = {"stream": "Gbit/s", "rr": "transactions/s", "crr": "connections/s"}
TITLES: dict[Mode, str] = {
    "stream": "stream: one TCP connection, bulk",
    "rr": "rr: one byte there and back",
    "crr": "crr: connect, one byte there and back, close",
}
# (ours, peer, mode) -> what the issue asks, per CPU second; pairs without a goal are reported all the same.
GOALS: dict[tuple[str, str, Mode], float] = {
    (OURS, "direct veth", "stream"): 0.98,
    (OURS, "bridge", "stream"): 1.0,
    (OURS, "direct veth", "rr"): 0.95,
    (OURS, "direct veth", "crr"): 0.93,
    (OURS, "routing+conntrack", "rr"): 1.15,
    (OURS, "routing+conntrack", "crr"): 1.15,
    (OURS_VXLAN, "kernel vxlan, 2 nodes", "stream"): 1.0,
    (OURS_VXLAN, "kernel vxlan, 2 nodes", "rr"): 1.0,
    (OURS_VXLAN, "kernel vxlan, 2 nodes", "crr"): 1.0,
}
PAIRS = (
    (OURS, "direct veth"),
    (OURS, "bridge"),
    (OURS, "routing+conntrack"),
    (OURS_TWO_NODES, "routing+conntrack, 2 nodes"),
    (OURS_VXLAN, "kernel vxlan, 2 nodes"),
)


def pod_path(name: str, cluster_name: str, client: tuple[str, str], server: tuple[str, str]) -> TrafficPath:
    """The way between two pods, each given as (node, pod name), over IPv4."""
    here, there = endpoint(cluster_name, *client), endpoint(cluster_name, *server)
    address = next(render(one) for one in there.addresses if is_ipv4(one))
    return TrafficPath(name, here.netns, there.netns, address)


def our_paths(stack: ExitStack) -> list[TrafficPath]:
    """Two clusters of two nodes, native and tunnel, and the ways between their pods."""
    pods = [pod("a", "node1"), pod("b", "node1"), pod("c", "node2")]
    native = stack.enter_context(cluster("native", "--nodes", "2", objects=pods))
    tunnel = stack.enter_context(cluster("tunnel", "--nodes", "2", "--routing", "tunnel", objects=pods))
    return [
        pod_path(OURS, native, ("node1", "a"), ("node1", "b")),
        pod_path(OURS_TWO_NODES, native, ("node1", "a"), ("node2", "c")),
        pod_path(OURS_VXLAN, tunnel, ("node1", "a"), ("node2", "c")),
    ]


def bench(
    modes: Sequence[Mode],
    *,
    slices: int,
    seconds: float = 0.25,
    progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """Every mode over all paths, ``slices`` rounds of ``seconds`` each."""
    with ExitStack() as stack:
        peers = stack.enter_context(Peers())
        load = stack.enter_context(Load("network"))
        paths = our_paths(stack)
        paths += [peers.veth(), peers.bridge(), peers.routing(), peers.native(), peers.vxlan()]
        for path in paths:
            load.serve(path)

        def slice_of(path: TrafficPath, mode: Mode) -> Sample:
            return load.run(path, mode, seconds)

        results = []
        for mode in modes:
            contenders = {path.name: partial(slice_of, path, mode) for path in paths}
            results.append(judge(mode, interleave(contenders, slices, progress)))
        return results


def judge(mode: Mode, series: list[Series]) -> Result:
    """Compare the pairs that the issue names."""
    by_name = {one.name: one for one in series}
    ratios = [
        compare(by_name[ours], by_name[peer], goal=GOALS.get((ours, peer, mode)), goal_on="per_cpu")
        for ours, peer in PAIRS
    ]
    return Result(TITLES[mode], UNITS[mode], series, ratios)

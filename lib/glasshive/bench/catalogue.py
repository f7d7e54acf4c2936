"""All benchmarks by name, and how long each measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from glasshive.bench import api, network, pods, policy_compute, policy_network, policy_verdict, services, up
from glasshive.bench.measure import Result
from glasshive.bench.traffic import Mode
from glasshive.errors import UsageError

Progress = Callable[[int, int], None]
NAMES = ("load", "up", "pods", "api", "policy", "services", "stream", "rr", "crr")
_MODES: tuple[Mode, ...] = ("stream", "rr", "crr")


def run(names: Sequence[str], *, quick: bool, progress: Callable[[str], Progress]) -> Iterator[Result]:
    """Run the named benchmarks (none named: all), giving each result as it is ready. Raises UsageError.

    ``progress(name)`` gives the function that is told (round, rounds) of that benchmark.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise UsageError(f"no benchmark is called {unknown[0]!r}", hint=f"one of {', '.join(NAMES)}")
    wanted = [name for name in NAMES if name in (names or NAMES)]
    rounds = 2 if quick else 5
    if "load" in wanted:
        yield from pods.bench_load(rounds=rounds, quick=quick, progress=progress("load"))
    if "up" in wanted:
        yield from up.bench(rounds=rounds, quick=quick, progress=progress("up"))
    if "pods" in wanted:
        yield from pods.bench_pods(rounds=rounds, quick=quick, progress=progress("pods"))
    if "api" in wanted:
        yield from api.bench(rounds=rounds, quick=quick, progress=progress("api"))
    if "policy" in wanted:
        yield from policy_compute.bench(rounds=rounds, quick=quick, progress=progress("policy"))
        yield from policy_verdict.bench(rounds=rounds, quick=quick, progress=progress("policy"))
        yield from policy_network.bench(quick=quick, progress=progress("policy"))
    if "services" in wanted:
        yield from services.bench(rounds=rounds, quick=quick, progress=progress("services"))
    modes = [mode for mode in _MODES if mode in wanted]
    if modes:
        slices = 4 if quick else 12
        yield from network.bench(modes, slices=slices, progress=progress(" ".join(modes)))

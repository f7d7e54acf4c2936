"""How every benchmark measures: contenders take turns in short slices, and best and median are compared.

The machines are shared and noisy, so a figure of one contender means little alone. Slices of all contenders are
interleaved; a ratio is taken twice, from the best slices and as the median of the ratios within each round, and both
are printed. CPU time is that of the cgroup in which the load ran: on kernels that charge softirq time to the running
task this covers the data path.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """One slice: ``value`` in the series' unit, ``cpu_seconds`` spent for ``work`` units (0: not measured)."""

    value: float
    cpu_seconds: float = 0.0
    work: float = 0.0

    @property
    def per_cpu_second(self) -> float:
        """Work per second of CPU time; 0 if CPU time was not measured."""
        return self.work / self.cpu_seconds if self.cpu_seconds > 0 else 0.0


@dataclass(slots=True)
class Series:
    """All slices of one contender."""

    name: str
    samples: list[Sample] = field(default_factory=list)
    lower_is_better: bool = False

    @property
    def best(self) -> float:
        """The best slice's value."""
        values = [sample.value for sample in self.samples]
        return min(values) if self.lower_is_better else max(values)

    @property
    def median(self) -> float:
        """The median slice's value."""
        return statistics.median(sample.value for sample in self.samples)

    @property
    def best_per_cpu(self) -> float:
        """The most work per CPU second in any slice."""
        return max(sample.per_cpu_second for sample in self.samples)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours divided by a peer (peer divided by ours where lower is better, so that above 1 is always good for us)."""

    ours: str
    peer: str
    best: float
    median: float
    per_cpu: float  # median over rounds of work per CPU second; 0 if not measured
    goal: float | None = None  # what the issue asks of ``goal_on``
    goal_on: str = "best"

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        return None if self.goal is None else getattr(self, self.goal_on) >= self.goal


@dataclass(slots=True)
class Result:
    """One benchmark's outcome, printable and JSON-able."""

    title: str
    unit: str
    series: list[Series] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)  # single figures: {"agent resident MiB": 71.2}

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``-o json``."""
        return {
            "title": self.title,
            "unit": self.unit,
            "series": [
                {
                    "name": s.name,
                    "best": s.best,
                    "median": s.median,
                    "best_per_cpu_second": s.best_per_cpu,
                    "slices": len(s.samples),
                }
                for s in self.series
            ],
            "ratios": [
                {
                    "ours": r.ours,
                    "peer": r.peer,
                    "best": r.best,
                    "median": r.median,
                    "per_cpu": r.per_cpu,
                    "goal": r.goal,
                    "goal_on": r.goal_on,
                    "reached": r.reached,
                }
                for r in self.ratios
            ],
            "facts": self.facts,
        }


def interleave(
    contenders: Mapping[str, Callable[[], Sample]],
    slices: int,
    progress: Callable[[int, int], None] | None = None,
    *,
    lower_is_better: bool = False,
) -> list[Series]:
    """Run every contender once per round, ``slices`` rounds, the order turning by one each round."""
    names = list(contenders)
    series = {name: Series(name, lower_is_better=lower_is_better) for name in names}
    for turn in range(slices):
        for offset in range(len(names)):
            name = names[(turn + offset) % len(names)]
            series[name].samples.append(contenders[name]())
        if progress:
            progress(turn + 1, slices)
    return list(series.values())


def compare(ours: Series, peer: Series, *, goal: float | None = None, goal_on: str = "best") -> Ratio:
    """Ratio of ours to a peer over the same rounds."""

    def quotient(a: float, b: float) -> float:
        if ours.lower_is_better:
            a, b = b, a
        return a / b if b else 0.0

    rounds: Sequence[tuple[Sample, Sample]] = list(zip(ours.samples, peer.samples, strict=True))
    per_cpu = [a.per_cpu_second / b.per_cpu_second for a, b in rounds if b.per_cpu_second]
    return Ratio(
        ours=ours.name,
        peer=peer.name,
        best=quotient(ours.best, peer.best),
        median=statistics.median(quotient(a.value, b.value) for a, b in rounds),
        per_cpu=statistics.median(per_cpu) if per_cpu else 0.0,
        goal=goal,
        goal_on=goal_on,
    )

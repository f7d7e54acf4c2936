"""Benchmark results as a table for people and as JSON for machines."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from glasshive.bench.measure import Ratio, Result


def number(value: float) -> str:
    """Three significant figures, thousands grouped."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def show(result: Result, console: Console) -> None:
    """Print one result: the contenders' figures, the ratios with their goals, and single facts."""
    table = Table(title=f"{result.title} ({result.unit})", title_justify="left")
    for heading in ("contender", "best", "median", "per CPU second", "slices"):
        table.add_column(heading, justify="left" if heading == "contender" else "right")
    for series in result.series:
        per_cpu = number(series.best_per_cpu) if series.best_per_cpu else "-"
        table.add_row(series.name, number(series.best), number(series.median), per_cpu, str(len(series.samples)))
    if result.series:
        console.print(table)
    for ratio in result.ratios:
        console.print(f"  {ratio.ours} / {ratio.peer}: {_ratio(ratio)}")
    for name, value in result.facts.items():
        console.print(f"  {name}: {number(value) if isinstance(value, int | float) else value}")


def _ratio(ratio: Ratio) -> str:
    text = f"best {ratio.best:.2f}, median {ratio.median:.2f}"
    if ratio.per_cpu:
        text += f", per CPU second {ratio.per_cpu:.2f}"
    if ratio.goal is not None:
        text += f"   goal {ratio.goal:.2f} on {ratio.goal_on.replace('_', ' ')}: "
        text += "reached" if ratio.reached else "NOT reached"
    return text


def as_json(results: Sequence[Result]) -> str:
    """All results with the machine they were measured on."""
    machine = {"kernel": platform.release(), "cpus": os.cpu_count(), "load1": os.getloadavg()[0]}
    return json.dumps({"machine": machine, "results": [result.to_json() for result in results]}, indent=2)

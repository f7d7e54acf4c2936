"""``glasshive bench``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glasshive.errors import PermissionNeededError

if TYPE_CHECKING:
    from glasshive.bench.measure import Result


@click.command()
@click.argument("names", nargs=-1)
@click.option("--quick", is_flag=True, help="Fewer and smaller rounds: shows that it works, says little about speed.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Form of the output.")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Also write the JSON to this file.")
def bench(names: tuple[str, ...], output: str, save: Path | None, *, quick: bool) -> None:
    """Measure beside peers in one run: load, up, pods, api, policy, services, stream, rr, crr (default: all).

    Contenders take turns in short slices; best, median and work per CPU second are shown. If they are named,
    ``labs`` measures how long checks take, ``notebooks`` what a notebook costs beyond its cells.
    """
    from rich.console import Console

    from glasshive.bench import report

    if os.geteuid() != 0:
        raise PermissionNeededError("benchmarks make namespaces and load programs", hint="run as root")
    console = Console(soft_wrap=True)
    results = []
    for result in _results(names, quick=quick):
        results.append(result)
        if output == "text":
            report.show(result, console)
    text = report.as_json(results)
    if output == "json":
        click.echo(text)
    if save is not None:
        save.write_text(text + "\n", encoding="utf-8")


def _results(names: tuple[str, ...], *, quick: bool) -> Iterator[Result]:
    """Those of the catalogue; labs stand above it, and are no part of "all"."""
    from glasshive.bench import catalogue
    from glasshive.lab import measure, measure_notebooks

    others = tuple(name for name in names if name not in (measure.NAME, measure_notebooks.NAME))
    if others or not names:
        yield from catalogue.run(others, quick=quick, progress=_progress)
    if measure.NAME in names:
        yield measure.bench(quick=quick, progress=_progress(measure.NAME))
    if measure_notebooks.NAME in names:
        yield from measure_notebooks.bench(quick=quick, progress=_progress(measure_notebooks.NAME))


def _progress(name: str) -> Callable[[int, int], None]:
    def show(done: int, of: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{name}: round {done} of {of} ", nl=done == of, err=True)

    return show

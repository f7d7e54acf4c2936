"""``glasshive connectivity test``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glasshive.cli.options import cluster_option, find_cluster, output_option
from glasshive.cli.output import print_json, print_table

if TYPE_CHECKING:
    from glasshive.connectivity import Report
    from glasshive.connectivity.run import Step

_WORDS = {"pass": "ok", "fail": "FAILED", "skipped": "not applicable"}


@click.group()
def connectivity() -> None:
    """Check that the network does what a CNI promises."""


@connectivity.command("test")
@cluster_option
@output_option
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write the report as JUnit XML as well.")
@click.option("--parallel", type=click.IntRange(1, 64), default=4, show_default=True, help="Probers at once.")
@click.argument("tests", nargs=-1, metavar="[TEST]...")
def test(cluster: str | None, output: str, junit: Path | None, parallel: int, tests: tuple[str, ...]) -> int:
    """Send canaries between pods, nodes and the world, and check who answers what.

    TEST is the beginning of a test's name or a pattern: pod-to-pod, 'pod-to-*', '*/ipv6'. Exit status 1 if one failed.
    """
    from glasshive import connectivity as room

    report = room.examine(find_cluster(cluster), only=tests, at_once=parallel, follow=_Display())
    if junit is not None:
        from glasshive.connectivity.junit import to_junit

        junit.write_text(to_junit(report), encoding="utf-8")
    if output == "json":
        print_json(report)
    else:
        _show(report)
    return 0 if report.passed else 1


def _show(report: Report) -> None:
    rows = [(row.test, _WORDS.get(row.verdict.value, row.verdict.value), row.detail) for row in report.rows]
    print_table(rows, ["TEST", "RESULT", "DETAIL"])
    counts = {word: sum(row[1] == word for row in rows) for word in _WORDS.values()}
    shown = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    click.echo(f"\n{report.cluster}: {shown} in {report.seconds:.1f} s")


class _Display:
    """Progress on stderr: one line that is written over at a terminal, else a line for each step."""

    def __call__(self, step: Step) -> None:
        counted = f"[{step.done}/{step.total}] " if step.total > 1 else ""
        failed = f" ({step.failed} failed)" if step.failed else ""
        text = f"{counted}{step.text}{failed}"
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{text}", nl=step.done == step.total == 1, err=True)
        else:
            click.echo(text, err=True)

"""``glasshive lab``: what learners need. Open, see how tasks stand, reset, and take progress along."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from glasshive.cli.options import output_option

if TYPE_CHECKING:
    from glasshive.lab.progress.store import ProgressStore
    from glasshive.lab.status import TaskStatus

_CLUSTER = click.option("--cluster", default="lab", show_default=True, help="Cluster that the lab is on.")
_SIGNS = {"green": "●", "red": "○", "grey": "?", "off": " "}  # green and red differ in form, not only in colour


@click.command("open")
@click.argument("lab_id", metavar="LAB")
@_CLUSTER
@click.option("--nodes", default=3, show_default=True, help="Nodes of the cluster, if it has to be made.")
def open_(lab_id: str, cluster: str, nodes: int) -> int:
    """Bring the cluster up and open JupyterLab on LAB's notebook."""
    from glasshive.lab import commands

    return commands.start(cluster=cluster, nodes=nodes, headless_run=False, say=click.echo, lab=lab_id)


@click.command()
@click.argument("labs", nargs=-1, metavar="[LAB]...")
@_CLUSTER
@click.option("--watch", is_flag=True, help="Go on looking, and say what changes, until Ctrl-C.")
@click.option("--every", default=2.0, show_default=True, help="Seconds between two looks of --watch.")
@output_option
def status(labs: tuple[str, ...], cluster: str, every: float, output: str, *, watch: bool) -> int:
    """Show how the tasks of LABS (all, if none is named) stand: right now on the cluster, and before."""
    from glasshive.cli.output import print_json, print_table
    from glasshive.lab import commands
    from glasshive.lab import status as standing

    entries = commands.chosen(labs)
    if watch:
        for lines in standing.watch(lambda: standing.look_everywhere(cluster, entries), pace_s=every):
            for line in lines:
                click.echo(line)
        return 0
    tasks = standing.look_everywhere(cluster, entries)
    if output == "json":
        print_json([_plain(one) for one in tasks])
    else:
        print_table([_cells(one) for one in tasks], ["", "LAB", "TASK", "BEST", "HINTS", "NOW"])
    return 0


@click.command()
@click.argument("lab_id", metavar="LAB")
@_CLUSTER
def reset(lab_id: str, cluster: str) -> int:
    """Remove everything that LAB has made on the cluster; progress stays."""
    from glasshive.lab import clusters
    from glasshive.lab.kit import Lab
    from glasshive.lab.manifest import find_lab

    entry = find_lab(lab_id)
    click.echo(Lab.on(clusters.find(entry, cluster), entry, base=cluster).reset())
    return 0


@click.command()
@click.option(
    "--format", "form", type=click.Choice(["json", "csv", "xapi", "junit"]), default="json", show_default=True
)
@click.option("--output", "-o", "target", type=click.Path(path_type=Path), help="File to write; else it is printed.")
@click.option("--lab", "lab_id", default="", help="Only this lab.")
def export(form: str, target: Path | None, lab_id: str) -> int:
    """Write progress down in another form (--format); JSON, which is the default, can be imported again."""
    from glasshive.lab.manifest import find_lab
    from glasshive.lab.progress import export as exporting

    kept = _progress()
    text = exporting.write(kept.events(find_lab(lab_id).id if lab_id else ""), form)
    if target is None:
        click.echo(text, nl=False)
    else:
        target.write_text(text, encoding="utf-8")
    return 0


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def import_(file: Path) -> int:
    """Add the progress that FILE holds, as `lab export` wrote it; what is there already is left as it is."""
    from glasshive.lab.progress import export as exporting

    events = exporting.from_json(file.read_text(encoding="utf-8"), str(file))
    new = _progress().add(events)
    click.echo(f"{new} of {len(events)} events are new")
    return 0


def _progress() -> ProgressStore:
    """The progress file; what became of a damaged one is told on stderr, for standard output is data."""
    from glasshive.lab.progress import store

    kept = store.required()
    if kept.notice:
        click.echo(f"glasshive: warning: {kept.notice}", err=True)
        kept.notice = ""
    return kept


def _cells(one: TaskStatus) -> list[str]:
    best = "" if one.standing.best is None else f"{one.standing.best:g}"
    return [_SIGNS[one.light], one.lab, one.title, best, str(one.standing.hints), one.now]


def _plain(one: TaskStatus) -> dict[str, object]:
    past = one.standing
    return {
        "lab": one.lab, "task": one.task, "title": one.title, "points": one.points, "seed": one.seed,
        "light": one.light, "now": one.now, "result": one.result.to_json() if one.result else None,
        "attempts": past.attempts, "hints": past.hints, "best": past.best, "passedAt": past.passed_at,
    }  # fmt: skip


COMMANDS = (open_, status, reset, export, import_)

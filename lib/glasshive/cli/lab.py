"""``glasshive lab``: what authors need (new, build, check, verify, prove) and how labs are started.

``lab_learner`` has what learners need.
"""

from __future__ import annotations

from pathlib import Path

import click

from glasshive.cli import lab_learner
from glasshive.cli.options import output_option

_IDS = click.argument("labs", nargs=-1, metavar="[LAB]...")


def _cluster_option() -> click.Option:
    return click.Option(["--cluster"], default="lab", show_default=True, help="Cluster to work on; made if missing.")


def _with_cluster(command: click.Command) -> click.Command:
    command.params.append(_cluster_option())
    return command


@click.group()
def lab() -> None:
    """Work with labs."""


@lab.command("list")
@output_option
def list_(output: str) -> int:
    """Show the labs and whether this machine can run them."""
    from glasshive.cli.output import print_json, print_table
    from glasshive.lab import commands

    rows = commands.list_labs()
    if output == "json":
        print_json(rows)
    else:
        words = {"open": "yes", "reduced": "yes, reduced", "unsure": "cannot tell", "closed": "no"}
        cells = [
            [row["id"], row["title"], f"{row['minutes']} min", words[row["state"]], " ".join(row["missing"])]
            for row in rows
        ]
        print_table(cells, ["LAB", "TITLE", "TIME", "RUNS HERE", "LACKS"])
    return 0


@lab.command()
@click.argument("number")
@click.argument("topic")
@click.option("--title", required=True, help="What learners read first.")
def new(number: str, topic: str, title: str) -> int:
    """Begin lab NUMBER (two digits) about TOPIC: source, manifest entry and a module for its tasks."""
    from glasshive.lab import create

    for path in create.new_lab(number, topic, title):
        click.echo(f"wrote {path}")
    click.echo(f"next: write it, then glasshive lab build {number}, lab check {number}, lab prove {number}")
    return 0


@_with_cluster
@lab.command()
@_IDS
@click.option("--lang", default="", metavar="LANG", help="Only the notebooks in this language; runs nothing.")
@click.option("--prose", is_flag=True, help="The code is as it was: keep the outputs, run nothing.")
def build(labs: tuple[str, ...], cluster: str, lang: str, *, prose: bool) -> int:
    """Generate and run the notebooks of LABS (all, if none is named) from labs/src."""
    from glasshive.lab import commands

    return commands.build(labs, cluster=cluster, say=click.echo, language=lang, prose=prose)


@lab.command()
@_IDS
def check(labs: tuple[str, ...]) -> int:
    """Hold the committed notebooks to the rules and to their sources; runs nothing."""
    from glasshive.lab import commands

    return commands.check(labs, say=click.echo)


@_with_cluster
@lab.command()
@_IDS
def verify(labs: tuple[str, ...], cluster: str) -> int:
    """Run the solved notebooks under nbval and compare what they show."""
    from glasshive.lab import commands

    return commands.verify(labs, cluster=cluster, say=click.echo)


@lab.command()
def sanitize() -> int:
    """Print the table of what may differ between two runs, as nbval reads it (--nbval-sanitize-with)."""
    from glasshive.lab.sanitize import nbval_file

    click.echo(nbval_file(), nl=False)
    return 0


@_with_cluster
@lab.command()
@_IDS
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1, 1000), help="Seeds 0 to N-1.")
@output_option
def prove(labs: tuple[str, ...], cluster: str, seeds: int, output: str) -> int:
    """Hold the tasks of LABS to their word: pristine 0, solutions 100, mutants caught, set-up and reset clean."""
    from glasshive.cli.output import print_json
    from glasshive.lab import proving

    say = (lambda _: None) if output == "json" else click.echo
    cases = proving.prove_labs(labs, cluster=cluster, seeds=range(seeds), say=say)
    if output == "json":
        print_json([case.to_json() for case in cases])
    return 1 if any(case.trouble for case in cases) else 0


@_with_cluster
@lab.command()
@_IDS
@click.option("--results", type=click.Path(path_type=Path), help="Folder for notebooks with their outputs and reports.")
@click.option("--unsolved", is_flag=True, help="Run the learner's notebook instead of the solved one.")
@click.option("--seed", type=click.IntRange(0), help="What the tasks draw from.")
@click.option("--tier", type=click.IntRange(0, 3), help="How practised one is: fewer hints from 2 on.")
def run(
    labs: tuple[str, ...], cluster: str, results: Path | None, seed: int | None, tier: int | None, *, unsolved: bool
) -> int:
    """Run LABS (all, if none is named) without a browser, and write a report of each.

    Exit status 0 when every cell and every check went well.
    """
    from glasshive.lab import commands

    where = results or commands.results_folder()
    return commands.run(labs, cluster=cluster, results=where, say=click.echo, solved=not unsolved, seed=seed, tier=tier)


@_with_cluster
@lab.command()
@click.option("--nodes", default=3, show_default=True, help="Nodes of the cluster, if it has to be made.")
@click.option("--headless", is_flag=True, help="Run the tour instead of opening JupyterLab.")
def start(cluster: str, nodes: int, *, headless: bool) -> int:
    """Bring a cluster up and open JupyterLab on the labs."""
    from glasshive.lab import commands

    return commands.start(cluster=cluster, nodes=nodes, headless_run=headless, say=click.echo)


for command in lab_learner.COMMANDS:
    lab.add_command(command)

"""``glasshive stop`` and ``start``: components of a cluster by their names in ``glasshive status``."""

from __future__ import annotations

import click

from glasshive.cli.options import cluster_option, find_cluster, output_option

_NAMES = """COMPONENT is a name of `glasshive status`: control-plane, node1 (the agent of that node), node1-dns (its
    resolver), node1-zygote (which makes its pods), world, world-dns."""


@click.command(
    help=f"""Stop components on purpose; they stay stopped until `glasshive start`, or until the next `up`.

    {_NAMES}"""
)
@cluster_option
@output_option
@click.option("--kill", is_flag=True, help="At once (SIGKILL), as in a crash; else asked to end first.")
@click.argument("components", nargs=-1, required=True, metavar="COMPONENT...")
def stop(cluster: str | None, output: str, components: tuple[str, ...], *, kill: bool) -> None:
    """See above."""
    found = find_cluster(cluster)
    for component in components:
        found.stop(component, kill=kill)
    _report(output, components, "stopped")


@click.command(
    help=f"""Start components that were stopped; returns when they are ready.

    {_NAMES}"""
)
@cluster_option
@output_option
@click.argument("components", nargs=-1, required=True, metavar="COMPONENT...")
def start(cluster: str | None, output: str, components: tuple[str, ...]) -> None:
    """See above."""
    found = find_cluster(cluster)
    for component in components:
        found.start(component)
    _report(output, components, "ready")


def _report(output: str, components: tuple[str, ...], state: str) -> None:
    if output == "json":
        from glasshive.cli.output import print_json

        print_json(dict.fromkeys(components, state))
        return
    for component in components:
        click.echo(f"{component} is {state}")

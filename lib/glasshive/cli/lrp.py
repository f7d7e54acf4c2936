"""``glasshive lrp``: local redirect policies, with what each does on each node."""

from __future__ import annotations

import click

from glasshive.cli.options import cluster_option, find_cluster, output_option
from glasshive.cli.output import print_json, print_rows


@click.group()
def lrp() -> None:
    """Show local redirect policies."""


@lrp.command("list")
@cluster_option
@output_option
@click.argument("node", required=False, default="")
def lrp_list(cluster: str | None, node: str, output: str) -> None:
    """List policies with their frontends and backends on NODE (default: all nodes)."""
    rows = find_cluster(cluster).redirects(node)
    if output == "json":
        print_json(list(rows))
    else:
        print_rows(rows)

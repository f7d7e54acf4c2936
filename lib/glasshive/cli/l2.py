"""``glasshive l2``: who answers ARP and neighbour discovery for services."""

from __future__ import annotations

import click

from glasshive.cli.options import cluster_option, find_cluster, output_option
from glasshive.cli.output import print_json, print_rows


@click.group()
def l2() -> None:
    """Show L2 announcements."""


@l2.command("list")
@cluster_option
@output_option
@click.argument("node", required=False, default="")
def l2_list(cluster: str | None, node: str, output: str) -> None:
    """List the addresses that NODE (default: all nodes) answers for, and how often it did."""
    rows = find_cluster(cluster).announcements(node)
    if output == "json":
        print_json(list(rows))
    else:
        print_rows(rows)

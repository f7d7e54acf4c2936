"""``glasshive service``: what clients may call, who answers, and why."""

from __future__ import annotations

import click

from glasshive.cli.options import cluster_option, find_cluster, output_option

node_option = click.option("--node", default="", metavar="NODE", help="As this node sees it (default: the first one).")


@click.group()
def service() -> None:
    """Show services as the nodes' tables have them."""


@service.command("list")
@cluster_option
@output_option
@node_option
def service_list(cluster: str | None, output: str, node: str) -> None:
    """Show frontends with their backends, and what is remarkable about services."""
    from glasshive.cli.output import print_json, print_rows

    found = find_cluster(cluster)
    rows, remarks = found.services(node), found.service_remarks(node)
    if output == "json":
        print_json({"frontends": list(rows), "remarks": list(remarks)})
        return
    print_rows(rows)
    if remarks:
        click.echo()
        print_rows(remarks)


@service.command("get")
@cluster_option
@output_option
@node_option
@click.argument("name", metavar="SERVICE|ID")
def service_get(cluster: str | None, output: str, node: str, name: str) -> None:
    """Show one service: namespace/name, a name in default, or a frontend's id."""
    from glasshive.cli.output import print_json, print_rows

    found = find_cluster(cluster).service(name, node)
    if output == "json":
        print_json(found.record)
        return
    for line in found.lines:
        click.echo(line)
    print_rows(found.frontends)


@service.command("why")
@cluster_option
@output_option
@node_option
@click.option("--from", "source", metavar="ADDRESS", help="A caller outside of the cluster, at this address.")
@click.argument("words", nargs=-1, required=True, metavar="[POD] ADDRESS:PORT/PROTO")
def service_why(cluster: str | None, output: str, node: str, source: str | None, words: tuple[str, ...]) -> None:
    """Tell which frontend a call meets, which backends may be chosen for it, and why the others may not.

    With POD (namespace/name, or a name in default) the call comes from there; without, from outside of the cluster.
    """
    from glasshive.cli.output import print_json
    from glasshive.cluster.services import why_lines
    from glasshive.errors import UsageError

    if len(words) > 2:
        raise UsageError(f"{len(words)} words where [POD] ADDRESS:PORT/PROTO is expected")
    if len(words) == 2 and source is not None:
        raise UsageError("a call comes from POD or --from ADDRESS, not from both")
    pod = words[0] if len(words) == 2 else ""
    found = find_cluster(cluster).service_why(words[-1], pod=pod, source=source or "", node=node)
    if output == "json":
        print_json(found)
        return
    for line in why_lines(found):
        click.echo(line)

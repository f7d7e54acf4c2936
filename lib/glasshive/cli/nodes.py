"""``glasshive node exec``, ``dataplane``, ``maps``, ``drops``."""

from __future__ import annotations

import click

from glasshive.cli.options import cluster_option, find_cluster, output_option
from glasshive.cli.output import print_json, print_records


@click.group()
def node() -> None:
    """Work on a node."""


@node.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@cluster_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="json: collect the output.")
@click.argument("name")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
def node_exec(cluster: str | None, name: str, output: str, argv: tuple[str, ...]) -> None:
    """Become a command in the network namespace of node NAME: glasshive node exec node1 ip route."""
    found = find_cluster(cluster)
    if argv[0] == "--":
        argv = argv[1:]
    if output == "json":
        print_json(found.node_exec(name, argv))
        return
    found.backend.node_command(name, argv)


@node.command("show")
@cluster_option
@output_option
@click.argument("name")
@click.argument("what", type=click.Choice(["devices", "routes", "neighbours"]), default="devices")
def node_show(cluster: str | None, name: str, what: str, output: str) -> None:
    """Show the devices, routes or neighbours of node NAME."""
    rows = find_cluster(cluster).survey(name, what)
    if output == "json":
        print_json(rows)
    else:
        print_records([{key: " ".join(v) if isinstance(v, list) else v for key, v in row.items()} for row in rows])


@node.command("status")
@cluster_option
@click.argument("name")
def node_status(cluster: str | None, name: str) -> None:
    """Show what the agent of node NAME says of itself, as JSON."""
    print_json(find_cluster(cluster).backend.node_request(name, "GET", "/v1/status"))


@node.command("config")
@cluster_option
@output_option
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[SETTING=VALUE]...")
def node_config(cluster: str | None, name: str, settings: tuple[str, ...], output: str) -> None:
    """Show or change settings of node NAME until its agent ends: PolicyEnforcement=always, PolicyAuditMode=Enabled."""
    from glasshive.cli.endpoint import pairs

    method, body = ("PATCH", pairs(settings)) if settings else ("GET", None)
    found = find_cluster(cluster).backend.node_request(name, method, "/v1/config", body)
    if output == "json":
        print_json(found)
        return
    for key, value in found.items():
        click.echo(f"{key}: {value}")


@node.command("dataplane")
@cluster_option
@click.argument("name")
@click.argument("wanted", required=False, default="", metavar="[ebpf|iptables|nftables]")
def node_dataplane(cluster: str | None, name: str, wanted: str) -> None:
    """Show what carries the packets of node NAME, or change it: eBPF, or kube-proxy's rules. Pods keep running."""
    click.echo(f"{name}: {find_cluster(cluster).dataplane(name, wanted)}")


@click.command()
@cluster_option
@output_option
@click.argument("node_name", metavar="NODE")
@click.argument("name", required=False, default="")
def maps(cluster: str | None, node_name: str, name: str, output: str) -> None:
    """List the BPF maps of NODE, or show the rows of map NAME."""
    rows = find_cluster(cluster).maps(node_name, name)
    if output == "json":
        print_json(rows)
    else:
        print_records(rows)


@click.command()
@cluster_option
@output_option
@click.argument("nodes", nargs=-1)
def drops(cluster: str | None, nodes: tuple[str, ...], output: str) -> None:
    """Show packets dropped by our programs on NODES (default: all), by reason and direction."""
    found = find_cluster(cluster)
    names = nodes or tuple(node.name for node in found.topology().nodes)
    rows = [{"node": name, **row} for name in names for row in found.drops(name)]
    if output == "json":
        print_json(rows)
    elif rows:
        print_records(rows)
    else:
        click.echo("no packet was dropped")

"""``glasshive endpoint``, ``identity`` and ``config``: who is who, and what policy does for whom."""

from __future__ import annotations

from typing import Any

import click

from glasshive.cli.options import cluster_option, find_cluster, output_option
from glasshive.cli.output import print_json, print_rows


@click.group()
def endpoint() -> None:
    """Show endpoints, set their options."""


@endpoint.command("list")
@cluster_option
@output_option
@click.argument("node", required=False, default="")
def endpoint_list(cluster: str | None, node: str, output: str) -> None:
    """List the endpoints of NODE (default: all nodes)."""
    rows = find_cluster(cluster).endpoints(node)
    if output == "json":
        print_json(list(rows))
    else:
        print_rows(rows)


@endpoint.command("get")
@cluster_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="json", hidden=True)
@click.argument("name", metavar="NODE/ID|NAMESPACE/POD")
def endpoint_get(cluster: str | None, name: str, output: str) -> None:  # noqa: ARG001 - JSON either way
    """Show an endpoint with the rows of its policy, as JSON."""
    print_json(find_cluster(cluster).endpoint(name))


@endpoint.command("config")
@cluster_option
@output_option
@click.argument("name", metavar="NODE/ID|NAMESPACE/POD")
@click.argument("settings", nargs=-1, metavar="[OPTION=VALUE]...")
def endpoint_config(cluster: str | None, name: str, settings: tuple[str, ...], output: str) -> None:
    """Show or set an endpoint's options: glasshive endpoint config node1/3 PolicyAuditMode=Enabled."""
    from glasshive.cluster import policies

    found = find_cluster(cluster)
    node, number = policies.place(found.backend, [one.name for one in found.topology().nodes], name)
    method, body = ("PATCH", pairs(settings)) if settings else ("GET", None)
    row = found.backend.node_request(node, method, f"/v1/endpoints/{number}", body)
    if output == "json":
        print_json(row["options"])
    elif settings:
        click.echo(f"Endpoint {row['id']} configuration updated successfully")
    else:
        for key, value in row["options"].items():
            click.echo(f"{key}: {value}")


@click.group()
def identity() -> None:
    """Show security identities."""


@identity.command("list")
@cluster_option
@output_option
def identity_list(cluster: str | None, output: str) -> None:
    """List all identities: reserved ones and those of pods."""
    rows = find_cluster(cluster).identities()
    if output == "json":
        print_json(list(rows))
    else:
        print_rows(rows)


@identity.command("get")
@cluster_option
@output_option
@click.argument("number", type=int)
def identity_get(cluster: str | None, number: int, output: str) -> None:
    """Show the labels of identity NUMBER."""
    from glasshive.cluster.rows import Rows
    from glasshive.errors import NotFoundError

    rows = find_cluster(cluster).identities()
    found = [row for row in rows if row["number"] == number]
    if not found:
        hint = "glasshive identity list; those of address blocks are a node's own: glasshive bpf identity list NODE"
        raise NotFoundError(f"there is no identity {number}", hint=hint)
    if output == "json":
        print_json(found[0])
    else:
        print_rows(Rows(rows.caption, rows.columns, found))


@click.group()
def config() -> None:
    """Show and change settings of the whole cluster while it runs (ConfigMap kube-system/cilium-config)."""


@config.command("view")
@cluster_option
@output_option
def config_view(cluster: str | None, output: str) -> None:
    """Show what was set."""
    found = _settings(find_cluster(cluster))
    if output == "json":
        print_json(found)
        return
    for key, value in sorted(found.items()):
        click.echo(f"{key}: {value}")


@config.command("set")
@cluster_option
@click.argument("key")
@click.argument("value")
def config_set(cluster: str | None, key: str, value: str) -> None:
    """Set KEY: enable-policy (default, always, never) or policy-audit-mode (true, false). Agents follow at once."""
    from glasshive.agent.policy import settings

    settings.merged(settings.PolicySettings(), {key: value}, settings.MODE_KEY, settings.AUDIT_KEY)
    if key not in (settings.MODE_KEY, settings.AUDIT_KEY):
        raise click.UsageError(f"{key}: no such setting; there are {settings.MODE_KEY} and {settings.AUDIT_KEY}")
    meta = {"name": settings.CONFIG_NAME, "namespace": settings.CONFIG_NAMESPACE}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
    found = find_cluster(cluster)
    found.apply([{**body, "data": {**_settings(found), key: value}}])
    click.echo(f"{key}: {value}")


def pairs(settings: tuple[str, ...]) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping."""
    found = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{text!r} is not OPTION=VALUE")
        found[name] = value
    return found


def _settings(cluster: Any) -> dict[str, str]:
    from glasshive.agent.policy.settings import CONFIG_NAME, CONFIG_NAMESPACE

    for one in cluster.get("ConfigMap", namespace=CONFIG_NAMESPACE):
        if one["metadata"]["name"] == CONFIG_NAME:
            return dict(one.get("data") or {})
    return {}

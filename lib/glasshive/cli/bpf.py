"""``glasshive bpf``: the kernel's tables in the words and columns that people know from cilium-dbg."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, TypeVar

import click

from glasshive.cli.options import cluster_option, find_cluster, output_option
from glasshive.cli.output import print_json, print_rows, print_table

F = TypeVar("F", bound=Callable[..., Any])

_FLAGS = {1: "in-cluster", 2: "tunnel", 4: "onlink"}
_PROTOCOLS = {
    socket.IPPROTO_TCP: "TCP",
    socket.IPPROTO_UDP: "UDP",
    socket.IPPROTO_ICMP: "ICMP",
    socket.IPPROTO_ICMPV6: "ICMPv6",
    socket.IPPROTO_SCTP: "SCTP",
}


@click.group()
def bpf() -> None:
    """Look into the datapath's tables on a node."""


@bpf.group()
def policy() -> None:
    """Rows of policies, with packets and bytes that each has decided."""


@policy.command("get")
@cluster_option
@output_option
@click.option("-n", "--numeric", is_flag=True, help="Identities as numbers.")
@click.argument("node")
@click.argument("endpoint", metavar="ENDPOINT")
def policy_get(cluster: str | None, node: str, endpoint: str, output: str, *, numeric: bool) -> None:
    """Show the rows that judge ENDPOINT (id, or namespace/pod) of NODE."""
    _policy(cluster, node, endpoint, output, numeric=numeric)


@policy.command("list")
@cluster_option
@output_option
@click.option("-n", "--numeric", is_flag=True, help="Identities as numbers.")
@click.argument("node")
def policy_list(cluster: str | None, node: str, output: str, *, numeric: bool) -> None:
    """Show the rows of all policies of NODE. Endpoints of equal rules share a policy."""
    _policy(cluster, node, "", output, numeric=numeric)


def _policy(cluster: str | None, node: str, endpoint: str, output: str, *, numeric: bool) -> None:
    from glasshive.cluster import policies

    rows = policies.policy_map(find_cluster(cluster).backend, node, endpoint)
    if output == "json":
        print_json(list(rows))
        return
    if not endpoint:
        rows.columns = {"policy": "NUMBER", **rows.columns}
    if numeric:
        rows.columns = {("identity" if key == "peer" else key): head for key, head in rows.columns.items()}
        rows.columns["identity"] = "IDENTITY"
    print_rows(rows)


@bpf.group()
def ipcache() -> None:
    """Which identity addresses have."""


@ipcache.command("list")
@cluster_option
@output_option
@click.argument("node")
def ipcache_list(cluster: str | None, node: str, output: str) -> None:
    """Show the ipcache of NODE."""
    rows = find_cluster(cluster).backend.node_request(node, "GET", "/v1/ipcache")
    if output == "json":
        print_json(rows)
    else:
        print_table(
            [[row["prefix"], _ipcache_text(row), row["source"]] for row in rows],
            ["IP PREFIX/ADDRESS", "IDENTITY", "SOURCE"],
        )


@ipcache.command("get")
@cluster_option
@output_option
@click.argument("node")
@click.argument("address")
def ipcache_get(cluster: str | None, node: str, address: str, output: str) -> None:
    """Show the entry that an ADDRESS meets on NODE: the longest prefix around it."""
    import ipaddress

    from glasshive.errors import NotFoundError, UsageError

    try:
        wanted = ipaddress.ip_address(address)
    except ValueError:
        raise UsageError(f"{address!r} is not an IP address") from None
    rows = find_cluster(cluster).backend.node_request(node, "GET", "/v1/ipcache")
    around = [row for row in rows if wanted in ipaddress.ip_network(row["prefix"])]
    if not around:
        raise NotFoundError(f"nothing is known of {address} on {node}")
    found = max(around, key=lambda row: ipaddress.ip_network(row["prefix"]).prefixlen)
    if output == "json":
        print_json(found)
    else:
        click.echo(f"{address} maps to identity {found['identity']} ({found['prefix']}): {', '.join(found['labels'])}")


def _ipcache_text(row: dict[str, Any]) -> str:
    flags = ",".join(word for bit, word in _FLAGS.items() if row["flags"] & bit) or "<none>"
    tunnel = row["node"] if row["flags"] & 2 else "0.0.0.0"  # noqa: S104 - how "none" is written
    return f"identity={row['identity']} encryptkey=0 tunnelendpoint={tunnel} flags={flags}"


@bpf.group("ct")
def connections() -> None:
    """Connections."""


@connections.command("list")
@cluster_option
@output_option
@click.argument("node")
def ct_list(cluster: str | None, node: str, output: str) -> None:
    """Show the connections that NODE tracks, each from its opener's side."""
    rows = find_cluster(cluster).backend.node_request(node, "GET", "/v1/ct")
    if output == "json":
        print_json(rows)
        return
    for row in rows:
        source, destination = _end(row["source"], row["sourcePort"]), _end(row["destination"], row["destinationPort"])
        cut = " [ Cut by policy ]" if row["cut"] else ""
        click.echo(
            f"{_PROTOCOLS.get(row['protocol'], row['protocol'])} {source} -> {destination} State={row['state']} "
            f"Age={row['ageSeconds']}s Idle={row['idleSeconds']}s Flags=0x{row['flags']:04x} "
            f"SourceSecurityID={row['sourceIdentity']}{cut}"
        )


@bpf.group("identity")
def identities() -> None:
    """Identities as a node's policy tables know them, those of address blocks included."""


@identities.command("list")
@cluster_option
@output_option
@click.argument("node")
def identity_list(cluster: str | None, node: str, output: str) -> None:
    """Show every identity that the ipcache of NODE gives, with its labels and prefixes."""
    from glasshive.cluster.rows import Rows

    rows = find_cluster(cluster).backend.node_request(node, "GET", "/v1/ipcache")
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        one = found.setdefault(row["identity"], {"id": row["identity"], "labels": row["labels"], "prefixes": []})
        one["prefixes"].append(row["prefix"])
    listed = [found[number] for number in sorted(found)]
    if output == "json":
        print_json(listed)
    else:
        print_rows(Rows("identities", {"id": "ID", "labels": "LABELS", "prefixes": "IP PREFIX/ADDRESS"}, listed))


@bpf.group("lb")
def load_balancer() -> None:
    """Services as they are in the kernel."""


@load_balancer.command("list")
@cluster_option
@output_option
@click.option("--frontends", "table", flag_value="frontends", help="Frontends without their backends.")
@click.option("--backends", "table", flag_value="backends", help="Backends by number, those that rest included.")
@click.option("--revnat", "table", flag_value="revnat", help="Frontends' ids, and the addresses that answers bear.")
@click.option("--maglev", "table", flag_value="maglev", help="Maglev tables: how many slots each backend has.")
@click.option("--affinity", "table", flag_value="affinity", help="Clients that go back to the backend they had.")
@click.option("--source-ranges", "table", flag_value="source-ranges", help="From where services may be called.")
@click.argument("node")
def lb_list(cluster: str | None, node: str, output: str, table: str | None) -> None:
    """Show the service tables of NODE: every frontend with the backends in its slots."""
    rows = find_cluster(cluster).load_balancer(node, table or "services")
    if output == "json":
        print_json(list(rows))
    else:
        print_rows(rows)


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

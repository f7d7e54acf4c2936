"""``glasshive policy``: check policies before they are applied, see what they do, and ask why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from glasshive.cli.options import cluster_option, find_cluster, output_option


@click.group()
def policy() -> None:
    """Work with network policies."""


@policy.command(short_help="Check policies in files, line by line.")
@output_option
@click.option("--node-selectors", is_flag=True, help="Allow fromNodes and toNodes (enable-node-selector-labels).")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def validate(files: tuple[str, ...], output: str, *, node_selectors: bool) -> int:
    """Check the policies in FILEs (or folders; - is the standard input) without a cluster.

    Prints one line per finding, with file and line. The exit status is 1 if there is an error.
    """
    from glasshive.api import policy_file
    from glasshive.api.policy_reading import Options
    from glasshive.cli.output import print_json
    from glasshive.errors import ManifestError

    checked = policy_file.check(_texts(files), Options(node_selectors=node_selectors))
    if not checked:
        raise ManifestError(f"{', '.join(files)}: no policy in there", hint="nothing was checked")
    failed = not all(one.valid for one in checked)
    if output == "json":
        print_json([_record(one) for one in checked])
        return int(failed)
    for line in policy_file.report_lines(checked):
        click.echo(line)
    counts = {"error": 0, "warning": 0}
    for finding in (finding for one in checked for finding in one.findings):
        counts[finding.severity] += 1
    objects = sum(one.policy is not None for one in checked)
    parts = [_count(objects, "object") + " checked", *(_count(number, word) for word, number in counts.items())]
    click.echo(", ".join(parts), err=True)
    return int(failed)


@policy.command("get", short_help="Show policy objects as the nodes understand them.")
@cluster_option
@output_option
def policy_get(cluster: str | None, output: str) -> None:
    """Show the policy objects as the nodes understand them, with the revision of their tables."""
    from glasshive.cli.output import print_json, print_rows

    rows = find_cluster(cluster).policy()
    if output == "json":
        print_json(list(rows))
        return
    print_rows(rows)
    click.echo(rows.caption.replace("policies (revision ", "Revision: ").removesuffix(")"))


@policy.command("selectors", short_help="Show the peers that rules name, and who they are.")
@cluster_option
@output_option
@click.argument("node")
def policy_selectors(cluster: str | None, node: str, output: str) -> None:
    """Show the peers that rules name on NODE, and which identities they mean now."""
    from glasshive.cli.output import print_json, print_rows
    from glasshive.cluster import policies

    rows = policies.selectors(find_cluster(cluster).backend, node)
    if output == "json":
        print_json(list(rows))
    else:
        print_rows(rows)


@policy.command("trace", short_help="Would this connection pass? From the objects.")
@cluster_option
@output_option
@click.option("-f", "--file", "files", multiple=True, metavar="FILE", help="Objects, as if they were applied.")
@click.option("--offline", is_flag=True, help="Only the objects of the files, no cluster.")
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.argument("packet", metavar="PORT/PROTO")
def policy_trace(  # noqa: PLR0917 - what the command line says
    cluster: str | None, output: str, files: tuple[str, ...], source: str, destination: str, packet: str,
    *, offline: bool,
) -> int:  # fmt: skip
    """Say from the objects whether a connection would pass, and why. Exit status 1: it would not.

    SRC and DST: [namespace/]pod (or a workload), an address, node/NAME, or labels as in default:app=web,tier=front.
    """
    from glasshive.agent.policy.answers import to_json
    from glasshive.cli.output import print_json
    from glasshive.cluster.policy_trace import Scene, of_files, traced

    if offline:
        found = traced(Scene((), files=of_files(files)), source, destination, packet)
    else:
        found = find_cluster(cluster).policy_trace(source, destination, packet, files)
    if output == "json":
        sides = {name: to_json(one) if one else None for name, one in
                 (("egress", found.egress), ("ingress", found.ingress))}  # fmt: skip
        print_json({"allowed": found.allowed, **sides})
    else:
        click.echo(found.text())
    return 0 if found.allowed else 1


@policy.command("explain", short_help="Why did that flow pass or not? From the kernels.")
@cluster_option
@output_option
@click.option("--refused", is_flag=True, help="Only flows that policy has refused (or would have, in audit mode).")
@click.argument("source", metavar="[SRC", required=False, default="")
@click.argument("destination", metavar="DST", required=False, default="")
@click.argument("packet", metavar="PORT/PROTO]", required=False, default="")
def policy_explain(
    cluster: str | None, output: str, source: str, destination: str, packet: str, *, refused: bool
) -> None:
    """Say why the last such flow passed or was refused, from what the kernels did: both sides' words.

    SRC and DST: [namespace/]pod (or a workload), node or address. Without any: the last flow that was refused.
    """
    from glasshive.cli.output import print_json
    from glasshive.cluster.policy_flows import flow_line

    found = find_cluster(cluster).policy_explain(source, destination, packet, refused=refused or not source)
    if output == "json":
        print_json(found)
        return
    for one in found:
        click.echo(flow_line(one["flow"]))
        click.echo(one["text"])
        if one["flow"]["audited"]:
            click.echo("  (audit mode: it passed all the same)")
        if one["changed"]:
            click.echo("  (policies have changed since: this is what they say now)")
        click.echo("")


def _texts(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Names and contents of files; folders give their .yaml, .yml and .json files."""
    from glasshive.errors import ManifestError

    found = []
    for name in names:
        if name == "-":
            found.append(("-", sys.stdin.read()))
            continue
        path = Path(name)
        inside = sorted(one for one in path.rglob("*") if one.suffix in {".yaml", ".yml", ".json"})
        for file in inside if path.is_dir() else [path]:
            try:
                found.append((str(file), file.read_text(encoding="utf-8")))
            except OSError as error:
                raise ManifestError(f"{file}: cannot be read: {error.strerror}") from None
            except UnicodeDecodeError:
                raise ManifestError(f"{file}: cannot be read: is not text") from None
    return found


def _record(one: Any) -> dict[str, Any]:
    ref = one.policy.ref if one.policy else None
    return {
        "file": one.file,
        "line": one.line,
        "kind": ref.kind if ref else "",
        "namespace": ref.namespace if ref else "",
        "name": ref.name if ref else "",
        "valid": one.valid,
        "rules": len(one.policy.rules) if one.policy else 0,
        "findings": [
            {"severity": f.severity, "line": f.line, "path": f.path, "message": f.message} for f in one.findings
        ],
    }


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"

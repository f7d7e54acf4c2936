"""``glasshive policy``: check policies before they are applied."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from glasshive.cli.options import output_option


@click.group()
def policy() -> None:
    """Work with network policies."""


@policy.command()
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

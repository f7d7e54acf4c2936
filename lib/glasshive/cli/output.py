"""Tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from glasshive.cluster.rows import Rows


def print_json(value: Any) -> None:
    """Print as indented JSON; dataclasses become objects."""
    click.echo(json.dumps(value, indent=2, default=_plain))


def print_table(rows: Iterable[Sequence[object]], header: Sequence[str], *, indent: str = "") -> None:
    """Print aligned columns, three spaces apart, without padding at the end of lines."""
    lines = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(header), *lines]) for column in range(len(header))]
    for row in [list(header), *lines]:
        click.echo((indent + "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip())


def print_rows(rows: Rows) -> None:
    """Print a table of the library, cells of several lines included."""
    from glasshive.cluster.rows import table_lines

    for line in table_lines(list(rows.columns.values()), rows.cells()):
        click.echo(line)


def print_records(records: Sequence[Mapping[str, Any]]) -> None:
    """Print like-shaped mappings as a table; nested values as compact JSON."""
    header = list(dict.fromkeys(key for record in records for key in record))
    if not header:
        click.echo("(empty)")
        return
    print_table([[_cell(record.get(key, "")) for key in header] for record in records], [key.upper() for key in header])


def size(number: int) -> str:
    """Return a number of bytes in MiB."""
    return f"{number / (1 << 20):.1f} MiB"


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)

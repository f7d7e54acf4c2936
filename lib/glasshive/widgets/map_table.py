"""A BPF map's entries as a table to sort and to search."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from glasshive.widgets.view import STATIC, View

MOST_ROWS = 1000
_ROWS_IN_TEXT = 20


class MapTable(View):
    """Entries of a map. Column heads are buttons that sort; the search field keeps rows that contain its words."""

    _esm = STATIC / "map_table.js"
    _css = STATIC / "view.css"

    def __init__(self, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.title = title
        super().__init__(table(title, rows), text(title, rows))

    def __len__(self) -> int:
        return int(self.state["count"])

    def update(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show newer entries; sorting and search stay."""
        self.put(table(self.title, rows), text(self.title, rows))


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the columns in the order in which they first appear."""
    return list(dict.fromkeys(name for row in rows for name in row))


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give the browser's part what it shows: at most 1,000 rows, and how many there are."""
    columns = columns_of(rows)
    return {
        "title": title,
        "columns": columns,
        "rows": [[_plain(row.get(name, "")) for name in columns] for row in rows[:MOST_ROWS]],
        "count": len(rows),
    }


def text(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Give the table as text: the first 20 rows, columns aligned."""
    columns = columns_of(rows)
    head = f"{title}: {len(rows)} {'entry' if len(rows) == 1 else 'entries'}"
    cells = [columns, *([str(_plain(row.get(name, ""))) for name in columns] for row in rows[:_ROWS_IN_TEXT])]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in cells)
    lines = [f"  {'  '.join(line)}".rstrip() for line in padded]
    more = [f"  ... and {len(rows) - _ROWS_IN_TEXT} more"] if len(rows) > _ROWS_IN_TEXT else []
    return "\n".join([head, *(lines if columns else []), *more])


def _plain(value: Any) -> Any:
    """Keep numbers, truth and text; write the rest as compact JSON. Numbers JavaScript would round become text."""
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return value
    return json.dumps(value, separators=(",", ":"), default=str)

"""A table for notebooks: a list of mappings that shows itself as HTML and as stable text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any


class Rows(list[dict[str, Any]]):
    """Rows with a caption. ``columns`` are shown, in this order: field -> head. ``pandas.DataFrame(rows)`` works."""

    def __init__(self, caption: str, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> None:
        super().__init__(dict(row) for row in rows)
        self.caption = caption
        self.columns = dict(columns)

    def cells(self) -> list[list[str]]:
        """What is shown, row by row."""
        return [[text_of(row.get(field, "")) for field in self.columns] for row in self]

    def __repr__(self) -> str:
        return "\n".join([f"{self.caption}: {len(self)}", *table_lines(list(self.columns.values()), self.cells())])

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col" style="text-align:left">{escape(one)}</th>' for one in self.columns.values())
        body = "".join(
            "<tr>" + "".join(f'<td style="text-align:left">{_breaking(cell)}</td>' for cell in row) + "</tr>"
            for row in self.cells()
        )
        caption = f'<caption style="text-align:left">{escape(self.caption)}: {len(self)}</caption>'
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def text_of(value: Any) -> str:
    """A cell as text; lists have one line per item."""
    if isinstance(value, list | tuple):
        return "\n".join(str(one) for one in value)
    return "" if value is None else str(value)


def table_lines(head: Sequence[str], rows: Iterable[Sequence[str]], gap: str = "   ") -> list[str]:
    """Aligned lines; a cell of several lines makes its row as high."""
    high = [[cell.split("\n") for cell in row] for row in [list(head), *rows]]
    flat = [
        [cell[at] if at < len(cell) else "" for cell in row]
        for row in high
        for at in range(max((len(cell) for cell in row), default=0))
    ]
    widths = [max(len(line[at]) for line in flat) for at in range(len(head))]
    return [gap.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in flat]


def _breaking(cell: str) -> str:
    return escape(cell).replace("\n", "<br>")

"""Prose of a lab in another language: ``src/NN_topic.ko.md`` holds it cell by cell, the code exists once.

::

    <!-- cell c02 of 3fa2be1c90d4 -->
    ## 클러스터 ...

names the cell and the state of the English text (``Cell.mark``) that was translated. When the English cell changes, the
translation is stale: ``glasshive lab check`` says so, and the builder shows English there until somebody has looked.
A cell that only moved is found by its mark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glasshive.errors import ManifestError
from glasshive.lab.cells import Cell
from glasshive.lab.manifest import LabEntry

_HEAD = re.compile(r"^<!-- cell (\S+) of ([0-9a-f]{12}) -->$")
_LANGUAGE = re.compile(r"[a-z]{2}(-[A-Z]{2})?")


@dataclass(frozen=True)
class Passage:
    """The translation of one cell: ``mark`` is that of the English text it was made from."""

    cell: str
    mark: str
    text: str
    line: int


def languages(entry: LabEntry) -> list[str]:
    """The languages that a lab has besides English."""
    found = entry.source.parent.glob(f"{entry.name}.*.md")
    return sorted(path.name.removeprefix(f"{entry.name}.").removesuffix(".md") for path in found)


def path_of(entry: LabEntry, language: str) -> Path:
    """Where a lab's prose in a language stands. Raises ManifestError for what is no language's name."""
    if not _LANGUAGE.fullmatch(language):
        raise ManifestError(f"{language!r} is no language", hint="two letters, as in ko")
    return entry.source.with_name(f"{entry.name}.{language}.md")


def read(path: Path) -> list[Passage]:
    """Read a file of translations. Raises ManifestError with file and line."""
    found: list[Passage] = []
    head: tuple[str, str, int] | None = None
    kept: list[str] = []
    for number, line in enumerate([*path.read_text(encoding="utf-8").splitlines(), ""], 1):
        at = _HEAD.match(line)
        if at is None and line.startswith("<!-- cell"):
            raise ManifestError(f"{path}:{number}: not understood: {line}", hint="<!-- cell c01 of 0123456789ab -->")
        if at is None:
            if head is None and line.strip():
                raise ManifestError(f"{path}:{number}: text before the first cell")
            kept.append(line)
            continue
        if head is not None:
            found.append(Passage(head[0], head[1], "\n".join(kept).strip(), head[2]))
        head, kept = (at[1], at[2], number), []
    if head is not None:
        found.append(Passage(head[0], head[1], "\n".join(kept).strip(), head[2]))
    return found


def match(path: Path, passages: Sequence[Passage], cells: Sequence[Cell]) -> tuple[dict[int, Passage], list[str]]:
    """Find the passage of each cell of prose (by the cell's number), and say what is stale, missing or of no cell."""
    prose = [cell for cell in cells if cell.kind == "markdown"]
    fitting: dict[int, Passage] = {}
    left: list[Passage] = []
    for one in passages:
        same = [cell for cell in prose if cell.mark == one.mark and cell.number not in fitting]
        same.sort(key=lambda cell: cell.key != one.cell)
        if same:
            fitting[same[0].number] = one
        else:
            left.append(one)
    stale = {}
    complaints: dict[int, str] = {}
    for one in left:
        named = [cell for cell in prose if cell.key == one.cell and cell.number not in fitting]
        if named and one.cell not in stale:
            stale[one.cell] = one
            now = f"<!-- cell {one.cell} of {named[0].mark} -->"
            why = f"is stale: the English text (line {named[0].line} of the source) has changed; once it fits: {now}"
            complaints[one.line] = f"{path}:{one.line}: cell {one.cell} {why}"
        else:
            complaints[one.line] = f"{path}:{one.line}: cell {one.cell} is of no cell of the source: remove it"
    missing = [cell for cell in prose if cell.number not in fitting and cell.key not in stale]
    said = [f"{path}:1: lacks <!-- cell {one.key} of {one.mark} --> (line {one.line} of the source)" for one in missing]
    return fitting, [complaints[line] for line in sorted(complaints)] + said

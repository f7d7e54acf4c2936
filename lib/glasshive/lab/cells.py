"""From an author's source (jupytext percent) to cells with roles, and the learner's and solved forms of them.

A cell's role stands in its marker, under the schema of ``roles``::

    # %% glasshive={"role": "exercise", "id": "reach"}

``%%bpf`` cells are written as comments, so that the source stays Python. In prose, ``[[term]]`` becomes a link to where
a term of the glossary lives (``glossary``).

A solution stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION``. The learner sees a place to write in; or what
stands behind a line ``### INSTEAD`` in it: what the author gives them to begin with, such as a line that is wrong.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glasshive.errors import ManifestError
from glasshive.lab import roles
from glasshive.lab.kernels import spare_imports

_BEGIN, _INSTEAD, _END = "### BEGIN SOLUTION", "### INSTEAD", "### END SOLUTION"
_PLACE_FOR_ANSWER = "your turn: write here, then run this cell and the check below"


@dataclass(frozen=True)
class Cell:
    """One cell as the author wrote it: ``line`` is its first line in the source file, ``number`` its place, from 1."""

    kind: str
    text: str
    line: int
    role: str = ""
    id: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    number: int = 0

    @property
    def key(self) -> str:
        """The cell's id in notebooks and in translations: ``c07``, ``c09-mine``."""
        return f"c{self.number:02d}" + (f"-{self.id}" if self.id else "")

    @property
    def mark(self) -> str:
        """Name the state of the text: a translation keeps it to know whether it is stale."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    def solved(self) -> str:
        """Give the text with the solution in it, without the marks around it."""
        return "\n".join(line for line, where in _regions(self.text) if where in {"", _BEGIN})

    def for_learner(self) -> str:
        """Give the text with each solution replaced by what stands there instead, or by a place to write in."""
        place = ("// " if self.text.startswith("%%bpf") else "# ") + _PLACE_FOR_ANSWER
        kept: list[str] = []
        empty = True
        for line, where in _regions(self.text):
            if where == _END and empty:
                kept.append(line[: len(line) - len(line.lstrip())] + place)
            if where in {"", _INSTEAD}:
                kept.append(line)
            empty = where != _INSTEAD
        return "\n".join(kept)


def _regions(text: str) -> Iterator[tuple[str, str]]:
    """Each line with where it stands: outside (''), in a solution (its begin mark), instead of one; end marks as such.

    Begin marks and marks of what stands instead are left out.
    """
    where = ""
    for line in text.splitlines():
        mark = line.strip()
        if mark == _END:
            yield line, _END
            where = ""
        elif mark in {_BEGIN, _INSTEAD}:
            where = mark
        else:
            yield line, where


def read_source(path: Path) -> list[Cell]:
    """Read an author's source. Raises ManifestError with file and line."""
    spare_imports()
    import jupytext

    text = path.read_text(encoding="utf-8")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if re.match(r"# %%(\s|$)", line)]
    notebook = jupytext.reads(text, fmt="py:percent")
    if len(lines) != len(notebook.cells):
        raise ManifestError(f"{path}:1: text before the first '# %%' marker", hint="every cell needs a marker")
    pairs = enumerate(zip(lines, notebook.cells, strict=True), 1)
    cells = [_cell(path, number, line, raw) for number, (line, raw) in pairs]
    named: dict[tuple[str, str], int] = {}
    for one in cells:
        if one.id and named.setdefault((one.role, one.id), one.line) != one.line:
            where = f"{path}:{one.line}"
            raise ManifestError(f"{where}: line {named[one.role, one.id]} has the id {one.id!r} in this role already")
    return cells


def _cell(path: Path, number: int, line: int, raw: Any) -> Cell:
    where = f"{path}:{line}"
    metadata = dict(raw.metadata)
    given = metadata.pop("glasshive", {})
    trouble = roles.complaint(given)
    if trouble:
        raise ManifestError(f"{where}: {trouble}", hint="see glasshive/lab/roles.py")
    role = str(given.get("role", ""))
    text = _uncomment(where, raw.source) if raw.source.startswith("%%bpf") else raw.source
    begins, ends = text.count(_BEGIN), text.count(_END)
    if begins != ends:
        raise ManifestError(f"{where}: {begins} '{_BEGIN}' but {ends} '{_END}'")
    if bool(begins) != (role == "exercise"):
        raise ManifestError(f"{where}: an exercise has a solution region, and nothing else has one")
    if role and raw.cell_type != "code":
        raise ManifestError(f"{where}: prose has no role", hint="an id may stand there alone")
    return Cell(raw.cell_type, text, line, role, str(given.get("id", "")), metadata, number)


def _uncomment(where: str, text: str) -> str:
    """Take a ``%%bpf`` cell out of its comments; jupytext has done so for the first line."""
    first, *rest = text.splitlines()
    for offset, line in enumerate(rest, 1):
        if line and not line.startswith("#"):
            what = f"{where}: line {offset + 1} of a %%bpf cell is not a comment"
            raise ManifestError(what, hint="start it with '# '")
    return "\n".join([first, *(line.removeprefix("#").removeprefix(" ") for line in rest)])

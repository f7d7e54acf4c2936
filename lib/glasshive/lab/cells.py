"""From an author's source (jupytext percent) to cells with roles, and the learner's and solved forms of them.

A cell's role stands in its marker, under one versioned schema::

    # %% glasshive={"role": "exercise", "id": "reach"}

Roles: ``exercise`` (has a solution region), ``check`` (shows a verdict on the real state), ``view`` (a picture whose
content differs from run to run; the only cells whose output may go uncompared), ``refused`` (a ``%%bpf`` cell that is
meant to be refused), ``reset``. ``%%bpf`` cells are written as comments, so that the source stays Python.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glasshive.errors import ManifestError

SCHEMA = 1
ROLES = ("exercise", "check", "view", "refused", "reset")
_KEYS = {"role", "id"}
_BEGIN, _END = "### BEGIN SOLUTION", "### END SOLUTION"
_PLACE_FOR_ANSWER = "# your turn: write here, then run this cell and the check below"


@dataclass(frozen=True)
class Cell:
    """One cell as the author wrote it: ``line`` is its first line in the source file."""

    kind: str
    text: str
    line: int
    role: str = ""
    id: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    def solved(self) -> str:
        """Give the text with the solution in it, without the marks around it."""
        return "\n".join(line for line in self.text.splitlines() if line.strip(" #") not in {_BEGIN[4:], _END[4:]})

    def for_learner(self) -> str:
        """Give the text with each solution region replaced by a place for the learner's own."""
        kept: list[str] = []
        inside = False
        for line in self.text.splitlines():
            if _BEGIN in line:
                inside = True
                kept.append(line[: len(line) - len(line.lstrip())] + _PLACE_FOR_ANSWER)
            elif _END in line:
                inside = False
            elif not inside:
                kept.append(line)
        return "\n".join(kept)


def read_source(path: Path) -> list[Cell]:
    """Read an author's source. Raises ManifestError with file and line."""
    import jupytext

    text = path.read_text(encoding="utf-8")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if re.match(r"# %%(\s|$)", line)]
    notebook = jupytext.reads(text, fmt="py:percent")
    if len(lines) != len(notebook.cells):
        raise ManifestError(f"{path}:1: text before the first '# %%' marker", hint="every cell needs a marker")
    return [_cell(path, line, raw) for line, raw in zip(lines, notebook.cells, strict=True)]


def _cell(path: Path, line: int, raw: Any) -> Cell:
    where = f"{path}:{line}"
    metadata = dict(raw.metadata)
    given = metadata.pop("glasshive", {})
    if not isinstance(given, dict) or set(given) - _KEYS:
        allowed = ", ".join(sorted(_KEYS))
        raise ManifestError(f"{where}: glasshive={given!r} is not understood", hint=f"allowed keys: {allowed}")
    role = str(given.get("role", ""))
    if role and role not in ROLES:
        raise ManifestError(f"{where}: unknown role {role!r}", hint=f"allowed: {', '.join(ROLES)}")
    text = _uncomment(where, raw.source) if raw.source.startswith("%%bpf") else raw.source
    begins, ends = text.count(_BEGIN), text.count(_END)
    if begins != ends:
        raise ManifestError(f"{where}: {begins} '{_BEGIN}' but {ends} '{_END}'")
    if bool(begins) != (role == "exercise"):
        raise ManifestError(f"{where}: an exercise has a solution region, and nothing else has one")
    if role in {"exercise", "check"} and not given.get("id"):
        raise ManifestError(f"{where}: a cell of role {role!r} needs an id")
    return Cell(raw.cell_type, text, line, role, str(given.get("id", "")), metadata)


def _uncomment(where: str, text: str) -> str:
    """Take a ``%%bpf`` cell out of its comments; jupytext has done so for the first line."""
    first, *rest = text.splitlines()
    for offset, line in enumerate(rest, 1):
        if line and not line.startswith("#"):
            what = f"{where}: line {offset + 1} of a %%bpf cell is not a comment"
            raise ManifestError(what, hint="start it with '# '")
    return "\n".join([first, *(line.removeprefix("#").removeprefix(" ") for line in rest)])

"""From a lab's source to its two notebooks, and telling whether the committed ones are still those.

Generating is pure: the same source gives the same notebook, cell ids included. Outputs are added by ``execute``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from glasshive.lab.cells import SCHEMA, Cell, read_source
from glasshive.lab.manifest import LabEntry

Form = Literal["learner", "solved"]
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def generate(entry: LabEntry, form: Form) -> Any:
    """Make a notebook (nbformat 4.5), without outputs."""
    import nbformat

    cells = [_notebook_cell(number, cell, form) for number, cell in enumerate(read_source(entry.source), 1)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata = {
        "kernelspec": _KERNEL,
        "language_info": {"name": "python"},
        "glasshive": {"schema": SCHEMA, "lab": entry.id, "form": form, "source": source_mark(entry)},
    }
    return nbformat.from_dict(notebook)


def source_mark(entry: LabEntry) -> str:
    """Name the state of a lab's source."""
    return hashlib.sha256(entry.source.read_bytes()).hexdigest()[:16]


def _notebook_cell(number: int, cell: Cell, form: Form) -> dict[str, Any]:
    import nbformat

    text = cell.solved() if form == "solved" else cell.for_learner()
    made = nbformat.v4.new_markdown_cell(text) if cell.kind == "markdown" else nbformat.v4.new_code_cell(text)
    made["id"] = f"c{number:02d}" + (f"-{cell.id}" if cell.id else "")
    made["metadata"] = {**cell.metadata}
    if cell.role:
        made["metadata"]["glasshive"] = {"schema": SCHEMA, "role": cell.role, "id": cell.id}
    return dict(made)


def path_of(entry: LabEntry, form: Form) -> Path:
    """Give where a form of a lab is committed."""
    return entry.solution if form == "solved" else entry.notebook


def write(path: Path, notebook: Any) -> None:
    """Write a notebook in nbformat's own way: keys sorted, a line of text on a line of its own."""
    import nbformat

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook, version=4) + "\n", encoding="utf-8")


def differences(entry: LabEntry, form: Form) -> list[str]:
    """Say how the committed notebook differs from what the source gives now, outputs aside; [] if it does not."""
    import nbformat

    path = path_of(entry, form)
    if not path.exists():
        return [f"{path} is missing: make labs"]
    committed = nbformat.read(path, as_version=4)
    wanted = generate(entry, form)
    if len(committed.cells) != len(wanted.cells):
        return [f"{path} has {len(committed.cells)} cells, its source {len(wanted.cells)}: make labs"]
    found = [
        f"{path}: cell {number} ({new.id}) is not what {entry.source.name} says: make labs"
        for number, (old, new) in enumerate(zip(committed.cells, wanted.cells, strict=True), 1)
        if (old.id, old.cell_type, old.source, _roles(old)) != (new.id, new.cell_type, new.source, _roles(new))
    ]
    if not found and committed.metadata.get("glasshive") != wanted.metadata["glasshive"]:
        found.append(f"{path} was generated from another state of {entry.source.name}: make labs")
    return found


def _roles(cell: Any) -> dict[str, Any]:
    return dict(cell.metadata.get("glasshive", {}))

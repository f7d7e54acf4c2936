"""From a lab's source to its notebooks, and telling whether the committed ones are still those.

Generating is pure: the same source gives the same notebook, cell ids included. Outputs are added by ``execute``; the
learner's notebook in another language (``NN_topic.ko.ipynb``) has the code, and so the outputs, of the English one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from glasshive.errors import ManifestError
from glasshive.lab import glossary, roles, translations
from glasshive.lab.cells import Cell, read_source
from glasshive.lab.manifest import LabEntry

Form = Literal["learner", "solved"]
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def generate(entry: LabEntry, form: Form, language: str = "") -> Any:
    """Make a notebook (nbformat 4.5), without outputs. A passage that is stale or missing stays English."""
    import nbformat

    source = read_source(entry.source)
    texts = {cell.number: cell.text for cell in source if cell.kind == "markdown"}
    places = {cell.number: f"{entry.source}:{cell.line}" for cell in source}
    if language:
        path = _existing(entry, language)
        for number, passage in translations.match(path, translations.read(path), source)[0].items():
            texts[number], places[number] = passage.text, f"{path}:{passage.line}"
    terms = glossary.read(entry.folder)
    prose = {number: glossary.expand(text, terms, places[number]) for number, text in texts.items()}
    cells = [_notebook_cell(cell, form, prose) for cell in source if cell.role != "solution" or form == "solved"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    made = {"schema": roles.SCHEMA, "lab": entry.id, "form": form, "source": source_mark(entry)}
    notebook.metadata = {
        "kernelspec": _KERNEL,
        "language_info": {"name": "python"},
        "glasshive": {**made, "lang": language, "prose": prose_mark(entry, language)} if language else made,
    }
    return nbformat.from_dict(notebook)


def _existing(entry: LabEntry, language: str) -> Path:
    path = translations.path_of(entry, language)
    if not path.exists():
        known = ", ".join(translations.languages(entry)) or "English only"
        raise ManifestError(f"lab {entry.id} has no prose in {language!r}: there is no {path}", hint=f"it has: {known}")
    return path


def source_mark(entry: LabEntry) -> str:
    """Name the state of a lab's source."""
    return hashlib.sha256(entry.source.read_bytes()).hexdigest()[:16]


def prose_mark(entry: LabEntry, language: str) -> str:
    """Name the state of a lab's prose in a language."""
    return hashlib.sha256(translations.path_of(entry, language).read_bytes()).hexdigest()[:16]


def _notebook_cell(cell: Cell, form: Form, prose: dict[int, str]) -> dict[str, Any]:
    import nbformat

    if cell.kind == "markdown":
        text = prose[cell.number]
        # Solved notebooks lie one folder deeper.
        made = nbformat.v4.new_markdown_cell(text.replace("](../", "](../../") if form == "solved" else text)
    else:
        made = nbformat.v4.new_code_cell(cell.solved() if form == "solved" else cell.for_learner())
    made["id"] = cell.key
    made["metadata"] = {**cell.metadata}
    given = roles.metadata(cell.role, cell.id)
    if given:
        made["metadata"]["glasshive"] = given
    if cell.role in roles.UNEDITABLE:
        made["metadata"] |= {"editable": False, "deletable": False}
    return dict(made)


def path_of(entry: LabEntry, form: Form, language: str = "") -> Path:
    """Give where a form of a lab is committed."""
    if language:
        return entry.notebook.with_name(f"{entry.name}.{language}.ipynb")
    return entry.solution if form == "solved" else entry.notebook


def write(path: Path, notebook: Any) -> None:
    """Write a notebook in nbformat's own way: keys sorted, a line of text on a line of its own."""
    import nbformat

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook, version=4) + "\n", encoding="utf-8")


def reword(entry: LabEntry, form: Form, language: str = "") -> Path:
    """Write a notebook anew with the outputs of the committed one: for prose that changed, or another language.

    Raises ManifestError with file and line when the code has changed: then the outputs are not this code's any more.
    """
    import nbformat

    before = path_of(entry, form)
    if not before.exists():
        raise ManifestError(f"{before} is missing: make labs", hint="the outputs come from there")
    run = {cell.id: cell for cell in nbformat.read(before, as_version=4).cells if cell.cell_type == "code"}
    notebook = generate(entry, form, language)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    lines = {cell.key: cell.line for cell in read_source(entry.source)}
    # By what the cells say, in order: prose that was added or taken away moves their ids.
    for cell, old in zip(cells, run.values(), strict=False):
        if cell.source != old.source:
            raise ManifestError(f"{entry.source}:{lines[cell.id]}: the code has changed since it was run: make labs")
        cell.outputs, cell.execution_count = old.outputs, old.execution_count
    if len(cells) != len(run):
        raise ManifestError(f"{entry.source}:1: has {len(cells)} cells of code, {before} {len(run)}: make labs")
    path = path_of(entry, form, language)
    write(path, notebook)
    return path


def differences(entry: LabEntry, form: Form, language: str = "") -> list[str]:
    """Say how the committed notebook differs from what the source gives now, outputs aside; [] if it does not."""
    import nbformat

    path = path_of(entry, form, language)
    if not path.exists():
        return [f"{path} is missing: make labs"]
    committed = nbformat.read(path, as_version=4)
    wanted = generate(entry, form, language)
    if len(committed.cells) != len(wanted.cells):
        return [f"{path} has {len(committed.cells)} cells, its source {len(wanted.cells)}: make labs"]
    lines = {cell.key: cell.line for cell in read_source(entry.source)}
    found = [
        f"{entry.source}:{lines[new.id]}: cell {number} ({new.id}) of {path} is not what stands here: make labs"
        for number, (old, new) in enumerate(zip(committed.cells, wanted.cells, strict=True), 1)
        if (old.id, old.cell_type, old.source, old.metadata) != (new.id, new.cell_type, new.source, new.metadata)
    ]
    if not found and committed.metadata.get("glasshive") != wanted.metadata["glasshive"]:
        found.append(f"{path} was generated from another state of {entry.source.name}: make labs")
    if not found and language and _shown(committed) != _shown(nbformat.read(entry.notebook, as_version=4)):
        found.append(f"{path} shows other outputs than {entry.notebook.name}: glasshive lab build --lang {language}")
    return found


def _shown(notebook: Any) -> list[Any]:
    return [(cell.execution_count, cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]

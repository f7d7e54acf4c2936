"""The rules that every committed notebook keeps, each named in its complaint (shared/style.md, section 5).

A rule complains with file, cell and what to do; where the source's lines are known, the complaint names file and line
of the source, because that is where it is mended. ``lint`` looks at one notebook; nothing is executed.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glasshive.lab import glossary, roles
from glasshive.lab.kernels import spare_imports

MOST_LINES_IN_CELL, MOST_CODE_CELLS = 15, 25
MOST_BYTES_IN_CELL, MOST_BYTES = 20_000, 300_000
_NETWORK_MODULES = {"requests", "urllib", "http", "httpx", "aiohttp", "socket", "ftplib", "wget"}
_NETWORK_COMMANDS = re.compile(r"^\s*[!%]\s*(?:pip|conda|curl|wget|apt|apt-get|git|npm|docker)\b", re.MULTILINE)
_URL = re.compile(r"https?://(?!\{|127\.0\.0\.1|localhost|\[?::1|10\.|\[?fd00:)", re.IGNORECASE)
_PICTURE = re.compile(r"!\[([^\]]*)\]\(")
_IMG = re.compile(r"<img\b([^>]*)>", re.IGNORECASE)
_IGNORED = re.compile(r"NBVAL_IGNORE_OUTPUT|NBVAL_SKIP|nbval-ignore-output|nbval-skip|raises-exception")

Complaints = Iterator[tuple[str, str]]
"""(cell id or '', complaint)."""


def lint(
    path: Path,
    *,
    terms: Sequence[glossary.Term] = (),
    source: Path | None = None,
    lines: Mapping[str, int] | None = None,
) -> list[str]:
    """Give all complaints about one notebook, as ``file: cell: complaint``.

    With ``source`` and its ``lines`` (cell id -> line) as ``source:line: cell of file: complaint``. ``terms`` are those
    that have to be linked.
    """
    spare_imports()
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (json.JSONDecodeError, nbformat.ValidationError, nbformat.reader.NotJSONError) as trouble:
        return [f"{path}: not a notebook: {str(trouble).splitlines()[0]}"]
    complaints = [pair for rule in RULES for pair in rule(notebook)]
    prose = [(cell.id, cell.source) for cell in notebook.cells if cell.cell_type == "markdown"]
    complaints += glossary.unlinked(prose, terms)
    size = path.stat().st_size
    if size > MOST_BYTES:
        complaints.append(("", f"{size} bytes, at most {MOST_BYTES}: show less"))
    return [f"{_place(path, cell, source, lines or {})}: {text}" for cell, text in complaints]


def _place(path: Path, cell: str, source: Path | None, lines: Mapping[str, int]) -> str:
    if source is None:
        return f"{path}: {cell or 'whole'}"
    return f"{source}:{lines.get(cell, 1)}: {cell or 'whole'} of {path.parent.name}/{path.name}"


def code_cells(notebook: Any) -> list[Any]:
    """Give the code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _counts(notebook: Any) -> Complaints:
    """Every code cell has a count, in order: nbval does not compare a cell without one."""
    for number, cell in enumerate(code_cells(notebook), 1):
        if cell.execution_count is None:
            yield cell.id, "has not been executed: make labs"
        elif cell.execution_count != number:
            yield cell.id, f"has execution count {cell.execution_count}, not {number}: make labs"


def _errors(notebook: Any) -> Complaints:
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error":
                yield cell.id, f"shows an error: {output.ename}: {output.evalue}"
            if output.output_type == "stream" and output.name == "stderr":
                yield cell.id, "writes to stderr, which is compared word by word"


def _sizes(notebook: Any) -> Complaints:
    cells = code_cells(notebook)
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    if len(cells) > MOST_CODE_CELLS:
        yield "", f"{len(cells)} code cells, at most {MOST_CODE_CELLS}"
    if len(prose) < len(cells):
        yield "", f"{len(prose)} cells of prose for {len(cells)} of code: say what each is for"
    for cell in cells:
        lines = len(cell.source.splitlines())
        # A %%bpf cell is a program, which has its own limit (60 lines).
        limit = 60 if cell.source.startswith("%%bpf") else MOST_LINES_IN_CELL
        if lines > limit:
            yield cell.id, f"{lines} lines, at most {limit}: move code into the library"
        size = len(json.dumps(cell.outputs))
        if size > MOST_BYTES_IN_CELL:
            yield cell.id, f"output of {size} bytes, at most {MOST_BYTES_IN_CELL}: show less"


def _no_helpers(notebook: Any) -> Complaints:
    for cell in code_cells(notebook):
        for node in ast.walk(_parsed(cell.source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield cell.id, f"defines {node.name}: what two labs could need belongs in the library"


def _no_network(notebook: Any) -> Complaints:
    for cell in code_cells(notebook):
        if _URL.search(cell.source) or _NETWORK_COMMANDS.search(cell.source):
            yield cell.id, "reaches for a network"
        for node in ast.walk(_parsed(cell.source)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                if name.split(".")[0] in _NETWORK_MODULES:
                    yield cell.id, f"imports {name}: labs need no network"


def _public_names(notebook: Any) -> Complaints:
    """Labs import only glasshive's public names."""
    for cell in code_cells(notebook):
        for node in ast.walk(_parsed(cell.source)):
            private = isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
            if private or (isinstance(node, ast.ImportFrom) and any(one.name.startswith("_") for one in node.names)):
                yield cell.id, "uses a private name"


def _alternatives(notebook: Any) -> Complaints:
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for words in _PICTURE.findall(cell.source):
                if len(words.strip()) < 3:
                    yield cell.id, "a picture without alternative text"
            for attributes in _IMG.findall(cell.source):
                if not re.search(r'\balt="[^"]{3,}"', attributes):
                    yield cell.id, "a picture without alternative text"
            continue
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            pictured = [
                kind for kind in data if kind.startswith("image/") or kind.endswith(("svg+xml", "plotly.v1+json"))
            ]
            twin = data.get("text/plain", "")
            if pictured and (not twin or twin.startswith("<")):
                yield cell.id, f"a picture ({pictured[0]}) without a text twin"


def _claims(notebook: Any) -> Complaints:
    """Only a view may go uncompared, and only what is said to be one."""
    for cell in code_cells(notebook):
        words = cell.source + " ".join(cell.metadata.get("tags", []))
        if _IGNORED.search(words) and cell.metadata.get("glasshive", {}).get("role") != "view":
            yield cell.id, "is not compared, but is not marked as a view"


def _roles(notebook: Any) -> Complaints:
    for cell in notebook.cells:
        trouble = roles.complaint(cell.metadata.get("glasshive", {}))
        if trouble:
            yield cell.id, trouble


def _skeleton(notebook: Any) -> Complaints:
    """Goal first, reset last."""
    if not notebook.cells or not notebook.cells[0].source.startswith("# "):
        yield "", "the first cell is not prose with a title"
    cells = code_cells(notebook)
    if not cells or cells[-1].metadata.get("glasshive", {}).get("role") != "reset":
        yield "", "the last code cell is not the one with the role 'reset'"


RULES: tuple[Callable[[Any], Complaints], ...] = (
    _counts, _errors, _sizes, _no_helpers, _no_network, _public_names, _alternatives, _claims, _roles, _skeleton,
)  # fmt: skip


def _parsed(source: str) -> ast.Module:
    """Parse a cell's Python; magics count as empty lines, a cell of another language as nothing."""
    if source.startswith("%%"):
        return ast.Module(body=[], type_ignores=[])
    plain = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())
    try:
        return ast.parse(plain)
    except SyntaxError:
        return ast.Module(body=[], type_ignores=[])  # running the cell shows it better

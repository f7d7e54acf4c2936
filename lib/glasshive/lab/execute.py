"""Running a notebook and keeping what it showed, in a form that is committed: no times, no widget handles."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glasshive.errors import DeadlineError, GlasshiveError

CELL_SECONDS = 60
QUIET = ["--log-level=ERROR"]  # the kernel would warn about its sockets, which are on loopback and guarded by a key
_WIDGET = "application/vnd.jupyter.widget-view+json"

OnCell = Callable[[int, int, str], None]
"""(number of the code cell, how many there are, its first line)."""


class CellFailedError(GlasshiveError):
    """A cell raised; the text names notebook, cell and the last line of the error."""


def execute(notebook: Any, folder: Path, *, cluster: str, name: str, on_cell: OnCell | None = None) -> Any:
    """Run all cells in ``folder`` with GLASSHIVE_CLUSTER set; the notebook is changed in place and given back.

    Raises CellFailedError or DeadlineError (60 s a cell), with the notebook's and cell's name.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    # Counted again each run: the committed notebook reads as if run from top to bottom once, which it was.
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        store_widget_state=False,
        extra_arguments=QUIET,
    )
    code = [at for at, cell in enumerate(notebook.cells) if cell.cell_type == "code"]

    def started(cell: Any, cell_index: int) -> None:
        if on_cell is not None and cell_index in code:
            on_cell(code.index(cell_index) + 1, len(code), (cell.source.splitlines() or [""])[0])

    client.on_cell_start = started
    try:
        client.execute(env={**os.environ, "GLASSHIVE_CLUSTER": cluster, "GLASSHIVE_PROGRESS": "off"})
    except CellExecutionError as failure:
        where = next((cell.id for cell in notebook.cells if _raised(cell)), "?")
        raise CellFailedError(f"{name}: cell {where} failed: {failure.ename}: {failure.evalue}") from failure
    except CellTimeoutError as late:
        raise DeadlineError(f"{name}: a cell ran longer than {CELL_SECONDS} s") from late
    except DeadKernelError as dead:
        raise GlasshiveError(f"{name}: the notebook's kernel died") from dead
    tidy(notebook)
    return notebook


def tidy(notebook: Any) -> None:
    """Take out of the outputs what a reader of the file cannot use and what differs in every run by itself."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            # A widget's handle is dead once its kernel is gone; its text twin stays and is what is compared.
            data.pop(_WIDGET, None)
            if output.get("output_type") in {"display_data", "execute_result"}:
                output["metadata"] = {}


def _raised(cell: Any) -> bool:
    return any(output.get("output_type") == "error" for output in cell.get("outputs", []))

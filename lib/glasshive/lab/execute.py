"""Running a notebook and keeping what it showed, in a form that is committed: no times, no widget handles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from glasshive.errors import DeadlineError, GlasshiveError
from glasshive.lab.kernels import KernelPool, Warm

CELL_SECONDS = 60
_WIDGET = "application/vnd.jupyter.widget-view+json"

OnCell = Callable[[int, int, str], None]
"""(number of the code cell, how many there are, its first line)."""


class CellFailedError(GlasshiveError):
    """A cell raised; the text names notebook, cell and the last line of the error."""


def execute(
    notebook: Any,
    folder: Path,
    *,
    cluster: str,
    name: str,
    on_cell: OnCell | None = None,
    pool: KernelPool | None = None,
) -> Any:
    """Run all cells in ``folder`` with GLASSHIVE_CLUSTER set; the notebook is changed in place and given back.

    The kernel is one of the ``pool``. Raises CellFailedError or DeadlineError (60 s a cell), with the notebook's and
    cell's name.
    """
    if pool is None:
        with KernelPool(spare=False) as own:
            return execute(notebook, folder, cluster=cluster, name=name, on_cell=on_cell, pool=own)
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    class Client(Warm, NotebookClient):
        pass

    with pool.kernel(folder, environment(cluster)) as manager:
        # Counted again each run: the committed notebook reads as if run from top to bottom once, which it was.
        client = Client(notebook, km=manager, timeout=CELL_SECONDS, record_timing=False, store_widget_state=False)
        code = [at for at, cell in enumerate(notebook.cells) if cell.cell_type == "code"]

        def started(cell: Any, cell_index: int) -> None:
            if on_cell is not None and cell_index in code:
                on_cell(code.index(cell_index) + 1, len(code), (cell.source.splitlines() or [""])[0])

        client.on_cell_start = started
        try:
            client.execute()
        except CellExecutionError as failure:
            where = next((cell.id for cell in notebook.cells if _raised(cell)), "?")
            raise CellFailedError(f"{name}: cell {where} failed: {failure.ename}: {failure.evalue}") from failure
        except CellTimeoutError as late:
            raise DeadlineError(f"{name}: a cell ran longer than {CELL_SECONDS} s") from late
        except DeadKernelError as dead:
            raise GlasshiveError(f"{name}: the notebook's kernel died") from dead
        finally:
            client.let_go()
    tidy(notebook)
    return notebook


def environment(cluster: str) -> dict[str, str]:
    """What a notebook's kernel is told: which cluster it works on, and that nobody's progress is kept."""
    return {"GLASSHIVE_CLUSTER": cluster, "GLASSHIVE_PROGRESS": "off"}


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

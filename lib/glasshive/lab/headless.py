"""Running a lab's notebook without a browser, by papermill: one line for each cell, and a verdict at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glasshive.lab.execute import CELL_SECONDS, QUIET
from glasshive.lab.manifest import LabEntry

_ENGINE = "glasshive"


def run(entry: LabEntry, *, cluster: str, results: Path, say: Callable[[str], None], solved: bool = True) -> bool:
    """Run a notebook with papermill, keep the result below ``results``, and tell whether every cell went well."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    _register_engine(say)
    source = entry.solution if solved else entry.notebook
    results.mkdir(parents=True, exist_ok=True)
    target = results / f"{entry.name}.ipynb"
    began = time.monotonic()
    say(f"lab {entry.id} {entry.title}: running {source.name} on cluster {cluster}")
    kept = os.environ.get("GLASSHIVE_CLUSTER")
    os.environ["GLASSHIVE_CLUSTER"] = cluster
    try:
        notebook = papermill.execute_notebook(
            str(source),
            str(target),
            engine_name=_ENGINE,
            kernel_name="python3",
            cwd=str(entry.folder),
            progress_bar=False,
            execution_timeout=CELL_SECONDS,
            extra_arguments=QUIET,
        )
    except PapermillExecutionError as failure:
        say(f"  cell {failure.cell_index} failed: {failure.ename}: {failure.evalue}")
        say(f"lab {entry.id}: FAILED after {time.monotonic() - began:.1f} s; what it showed: {target}")
        return False
    finally:
        if kept is None:
            os.environ.pop("GLASSHIVE_CLUSTER", None)
        else:
            os.environ["GLASSHIVE_CLUSTER"] = kept
    refused = failed_checks(notebook)
    for text in refused:
        say(f"  {text}")
    verdict = "FAILED" if refused else "done"
    say(f"lab {entry.id}: {verdict} in {time.monotonic() - began:.1f} s; what it showed: {target}")
    return not refused


def failed_checks(notebook: Any) -> list[str]:
    """Give the first line of every check cell's output that is not a pass."""
    found = []
    for cell in notebook.cells:
        if cell.metadata.get("glasshive", {}).get("role") == "check":
            texts = [output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])]
            first = [text.splitlines()[0].strip("'\"") for text in texts if text]
            found += [line for line in first if not line.startswith("pass")]
    return found


def _register_engine(say: Callable[[str], None]) -> None:
    """Give papermill an engine that says which cell it is at."""
    from papermill.engines import NBClientEngine, papermill_engines

    class Saying(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
            code = [at for at, cell in enumerate(nb_man.nb.cells) if cell.cell_type == "code"]
            start = nb_man.cell_start

            def cell_start(cell: Any, cell_index: int, **more: Any) -> Any:
                if cell_index in code:
                    first = (cell.source.splitlines() or [""])[0]
                    say(f"  [{code.index(cell_index) + 1}/{len(code)}] {first[:90]}")
                return start(cell, cell_index=cell_index, **more)

            nb_man.cell_start = cell_start
            return super().execute_managed_notebook(nb_man, kernel_name, **options)

    papermill_engines.register(_ENGINE, Saying)

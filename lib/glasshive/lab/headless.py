"""Running a lab's notebook without a browser, by papermill: one line for each cell, a verdict, a report page.

The notebook as it was run, ``NN_topic.html`` and its twin ``NN_topic.txt`` (``report``) are left in the results folder.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glasshive.lab import report as reports
from glasshive.lab.execute import CELL_SECONDS, environment
from glasshive.lab.kernels import KernelPool, Warm, spare_imports
from glasshive.lab.manifest import LabEntry

_ENGINE = "glasshive"


def run(
    entry: LabEntry,
    *,
    cluster: str,
    results: Path,
    say: Callable[[str], None],
    solved: bool = True,
    seed: int | None = None,
    tier: int | None = None,
    pool: KernelPool | None = None,
) -> bool:
    """Run a notebook with papermill, keep what it showed below ``results``, and tell whether all of it went well.

    ``seed`` and ``tier`` as in ``glasshive.lab``; they are the run's parameters, as ``cluster`` is. All cells must run,
    and all checks pass.
    """
    if pool is None:
        with KernelPool(spare=False) as own:
            return run(entry, cluster=cluster, results=results, say=say, solved=solved, seed=seed, tier=tier, pool=own)
    spare_imports()
    import papermill
    from papermill.exceptions import PapermillExecutionError

    source = entry.solution if solved else entry.notebook
    results.mkdir(parents=True, exist_ok=True)
    target = results / f"{entry.name}.ipynb"
    began = time.monotonic()
    say(f"lab {entry.id} {entry.title}: running {source.name} on cluster {cluster}")
    chosen = {"cluster": cluster, "seed": seed, "tier": tier}
    parameters = {name: value for name, value in chosen.items() if value is not None}
    failure = ""
    # Labs have no cell of defaults: what is injected is read by glasshive.lab(...), see ``parameters``.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    with pool.kernel(entry.folder, environment(cluster)) as manager:
        _register_engine(say, manager)
        try:
            papermill.execute_notebook(
                str(source), str(target), parameters=parameters, engine_name=_ENGINE, kernel_name="python3",
                cwd=str(entry.folder), progress_bar=False, execution_timeout=CELL_SECONDS,
            )  # fmt: skip
        except PapermillExecutionError as error:
            failure = f"cell {error.cell_index} failed: {error.ename}: {error.evalue}"
    done = _report(entry, target, failure, source.name)
    for line in [done.failure, *(f"{one.verdict}: {one.title}" for one in done.tasks if one.verdict != "pass")]:
        if line:
            say(f"  {line}")
    say(f"lab {entry.id}: {'done' if done.went_well else 'FAILED'} in {time.monotonic() - began:.1f} s")
    say(f"  what it showed: {target}; report: {target.with_suffix('.html')}")
    return done.went_well


def _report(entry: LabEntry, target: Path, failure: str, name: str) -> reports.Report:
    """Write the report beside the notebook that was run."""
    import nbformat

    notebook = nbformat.read(target, as_version=4)
    failed = [text for text in failed_checks(notebook) if not reports.tasks_in(text + "\n")]
    made = reports.read(
        notebook,
        lab=entry.id,
        title=entry.title,
        name=name,
        environment=reports.environment(),
        failure=failure or "; ".join(failed),
    )
    target.with_suffix(".html").write_text(reports.to_html(made), encoding="utf-8")
    target.with_suffix(".txt").write_text(reports.to_text(made), encoding="utf-8")
    return made


def failed_checks(notebook: Any) -> list[str]:
    """Give the first line of every check cell's output that is not a pass."""
    found = []
    for cell in notebook.cells:
        if cell.metadata.get("glasshive", {}).get("role") == "check":
            texts = [output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])]
            first = [text.splitlines()[0].strip("'\"") for text in texts if text]
            found += [line for line in first if not line.startswith("pass")]
    return found


def _register_engine(say: Callable[[str], None], manager: Any) -> None:
    """Give papermill an engine that uses a kernel that is ready, and says which cell it is at."""
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines

    class Client(Warm, PapermillNotebookClient):
        pass

    class Saying(Engine):
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
            client = Client(nb_man, km=manager, kernel_name=kernel_name, timeout=options["execution_timeout"])
            try:
                return client.execute()
            finally:
                client.let_go()

    papermill_engines.register(_ENGINE, Saying)

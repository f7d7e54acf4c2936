"""Runs without a browser: warm kernels, parameters as papermill injects them, reports. No cluster."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from glasshive.errors import GlasshiveError, UsageError
from glasshive.lab import kernels, measure_notebooks, parameters, report
from glasshive.lab.execute import CellFailedError, execute
from glasshive.lab.kernels import KernelPool

SHOWN = """pass: Plug in (100 of 100 points)
  pass: it is there
    observed: mine is ready
fail: Mend it (40 of 60 points; could not be assessed: flow)
  fail: it answers
    observed: nothing came
    wanted: an answer
  skipped: nobody else
    because: not assessed
skipped: Later (not assessed)
next: lab.hint("mend")"""


def notebook(*sources: str) -> Any:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in sources])


def ran(*cells: tuple[str, str, float], parameters: dict[str, Any] | None = None) -> Any:
    """A notebook as papermill leaves it: (source, what a check cell showed or '', seconds)."""
    made = notebook(*(source for source, _, _ in cells))
    for cell, (_, shown, seconds) in zip(made.cells, cells, strict=True):
        cell.metadata["papermill"] = {"duration": seconds}
        if shown:
            cell.metadata["glasshive"] = {"schema": 2, "role": "check", "id": "x"}
            cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": shown}, execution_count=1)]
    made.metadata["papermill"] = {
        "start_time": "2026-11-28T00:30:00.123+00:00", "duration": 3.25, "parameters": parameters or {},
    }  # fmt: skip
    return made


# kernels ------------------------------------------------------------------------------------------------------------


def test_each_notebook_gets_a_kernel_of_its_own_in_its_folder(tmp_path: Path) -> None:
    with KernelPool() as pool:
        made = []
        for number in range(2):
            folder = tmp_path / str(number)
            folder.mkdir()
            source = "import os\nn = globals().get('n', 0) + 1\nprint(n, os.getcwd(), os.getenv('GLASSHIVE_CLUSTER'))"
            run = execute(notebook(source, "1 + 1"), folder, cluster=f"c{number}", name="x", pool=pool)
            assert [cell.execution_count for cell in run.cells] == [1, 2]
            assert run.cells[1].outputs[0]["data"]["text/plain"] == "2"
            made.append(run.cells[0].outputs[0]["text"])
        assert made == [f"1 {tmp_path / str(number)} c{number}\n" for number in range(2)]
        with pytest.raises(CellFailedError, match="ZeroDivisionError"):
            execute(notebook("1 / 0"), tmp_path, cluster="c", name="x", pool=pool)
        managers = [*pool._managers]
    assert not any(one.is_alive() for one in managers)


def test_a_kernel_that_cannot_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_PRELOAD", "import no_such_module")
    with KernelPool() as pool, pytest.raises(GlasshiveError, match=r"no kernel could be started.*no_such_module"):
        pool.take(tmp_path, {})


def test_sparing_an_import_leaves_no_trace() -> None:
    before = dict(sys.modules)
    with kernels._absent("no_such_module"), pytest.raises(ImportError):
        import no_such_module  # noqa: F401
    assert "no_such_module" not in sys.modules
    with kernels._absent("json"):
        import json  # what is there already stays
    assert sys.modules["json"] is json
    assert before.keys() <= sys.modules.keys()


# parameters ---------------------------------------------------------------------------------------------------------


def test_parameters_are_those_that_papermill_injected() -> None:
    cell = "# Parameters\ncluster = 'demo'\nseed = 3\n"
    assert parameters.read({"In": ["", cell], "cluster": "demo", "seed": 3}) == {"cluster": "demo", "seed": 3}
    assert parameters.read({"In": ["", "import glasshive"], "cluster": object(), "seed": "mine"}) == {}
    assert parameters.read({"In": [""]}) == {}
    with pytest.raises(UsageError, match="the parameter seed is 'three', not a whole number"):
        parameters.read({"In": ["", cell], "seed": "three"})
    assert parameters.injected() == {}  # no notebook here


def test_papermill_itself_sets_them(tmp_path: Path) -> None:
    import papermill

    source = tmp_path / "in.ipynb"
    made = notebook("from glasshive.lab.parameters import injected\ninjected()")
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, source)
    values = {"cluster": "demo", "seed": 7, "tier": 1, "other": "x"}
    done = papermill.execute_notebook(
        str(source), str(tmp_path / "out.ipynb"), parameters=values, progress_bar=False, extra_arguments=kernels.QUIET
    )
    assert done.cells[-1].outputs[0]["data"]["text/plain"] == "{'cluster': 'demo', 'seed': 7, 'tier': 1}"


# reports ------------------------------------------------------------------------------------------------------------


def read(failure: str = "", *cells: tuple[str, str, float], **given: Any) -> report.Report:
    shown = ran(*(cells or (("import glasshive", "", 0.5), ("lab.check()", SHOWN, 2.25))), **given)
    return report.read(
        shown, lab="01", title="A <lab>", name="01_lab.ipynb", environment={"kernel": "Linux 6.18"}, failure=failure
    )


def test_results_by_task_are_read_off_the_check_cells() -> None:
    tasks = read().tasks
    assert [(one.verdict, one.title, one.earned, one.points) for one in tasks] == [
        ("pass", "Plug in", 100, 100),
        ("fail", "Mend it", 40, 60),
        ("skipped", "Later", 0, 0),
    ]
    assert tasks[1].checks == (("fail", "it answers", "nothing came"), ("skipped", "nobody else", ""))


def test_the_text_says_it_all() -> None:
    text = report.to_text(read(parameters={"cluster": "demo", "seed": 3}))
    assert text.startswith("lab 01 A <lab>\nFAILED: 1 of 3 tasks done, 3.2 s\n\npass: Plug in (100 of 100 points)\n")
    for line in ("  pass: it is there: mine is ready", "seed: 3", "kernel: Linux 6.18", "began: 2026-11-28 00:30:00",
                 "     2.25  lab.check()"):  # fmt: skip
        assert line in text.splitlines()


def test_the_page_stands_alone_and_escapes_what_it_shows() -> None:
    page = report.to_html(read("cell 3 failed: <b>", parameters={"seed": 3}))
    assert "<title>Lab 01: A &lt;lab&gt;</title>" in page
    assert "cell 3 failed: &lt;b&gt;" in page
    assert "<script" not in page
    assert "http" not in page


@pytest.mark.parametrize(
    ("failure", "shown", "well", "verdict"),
    [
        ("", "pass: Plug in (100 of 100 points)", True, "done: 1 of 1 tasks done, 3.2 s"),
        ("", "", True, "done: no task to grade, 3.2 s"),
        ("cell 1 failed", "pass: Plug in (100 of 100 points)", False, "FAILED: 1 of 1 tasks done, 3.2 s"),
        ("", "skipped: Plug in (not assessed)", False, "FAILED: 0 of 1 tasks done, 3.2 s"),
    ],
)
def test_a_run_went_well_when_all_ran_and_all_is_done(failure: str, shown: str, well: bool, verdict: str) -> None:
    made = read(failure, ("x", shown, 1.0))
    assert (made.went_well, made.verdict) == (well, verdict)


def test_a_warm_kernel_is_not_waited_for_twice(tmp_path: Path) -> None:
    """The pool has one ready before it is asked: what is asked for then is there at once, by its own account."""
    with KernelPool() as pool:
        deadline = time.monotonic() + kernels.START_SECONDS
        while pool._ready.empty():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        ready = pool._ready.queue[0]
        with pool.kernel(tmp_path) as manager:
            assert manager is ready


def test_what_a_notebook_costs_beyond_its_cells_is_measured_side_by_side() -> None:
    shown: list[tuple[int, int]] = []
    made = measure_notebooks._beyond_cells(1, lambda done, of: shown.append((done, of)))
    assert [(one.name, len(one.samples)) for one in made.series] == [("warm kernel", 1), ("nbclient", 1)]
    assert [(one.ours, one.peer) for one in made.ratios] == [("warm kernel", "nbclient")]
    assert shown == [(1, 1)]

"""``glasshive bench notebooks``: what a notebook costs beyond its cells, what the panel's news costs, what labs take.

A notebook's cost beyond its cells is the time of a run less the time in which the kernel was busy with its cells, with
a warm kernel of the pool beside a kernel that nbclient starts itself. The panel's latency is the time from a change
being so (the API has taken it, or the pod is ready) until a browser would hear of it.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from glasshive.bench.measure import Result, Sample, compare, interleave
from glasshive.cluster import Cluster
from glasshive.errors import DeadlineError
from glasshive.lab import headless
from glasshive.lab.kernels import QUIET, KernelPool, Warm, spare_imports
from glasshive.lab.kit import Lab
from glasshive.lab.manifest import find_lab, read_labs
from glasshive.lab.panel import client
from glasshive.lab.panel.client import listen

NAME = "notebooks"
GOAL_SECONDS, LAB_GOAL_SECONDS = 0.25, 90.0
_CELLS = ("import glasshive.lab.kit, glasshive.widgets.topology", "1 + 1", "print('two')", "[n for n in range(3)]")
_READY_SECONDS, _PANEL_LAB = 60.0, "01"


def bench(*, quick: bool, progress: Callable[[int, int], None]) -> list[Result]:
    """Measure all three, on a cluster of its own."""
    results = [_beyond_cells(3 if quick else 10, progress)]
    name = f"bench-books-{os.getpid()}"
    with Cluster(name, nodes=3) as cluster:
        results.append(_panel(cluster, 2 if quick else 8))
        if not quick:
            results.append(_labs(cluster))
    return results


def _beyond_cells(rounds: int, progress: Callable[[int, int], None]) -> Result:
    spare_imports()
    from nbclient import NotebookClient

    class Client(Warm, NotebookClient):
        pass

    with KernelPool() as pool:

        def warm() -> Sample:
            _wait(pool.ready)
            notebook, began = _notebook(), time.monotonic()
            with pool.kernel(Path.cwd()) as manager:
                client = Client(notebook, km=manager)
                client.execute()
                client.let_go()
            return Sample(time.monotonic() - began - _busy_s(notebook))

        def cold() -> Sample:
            notebook, began = _notebook(), time.monotonic()
            NotebookClient(notebook, kernel_name="python3", extra_arguments=QUIET).execute()
            return Sample(time.monotonic() - began - _busy_s(notebook))

        series = interleave({"warm kernel": warm, "nbclient": cold}, rounds, progress, lower_is_better=True)
    ours, peer = series
    facts = {"goal s": GOAL_SECONDS, "warm median within goal": "yes" if ours.median <= GOAL_SECONDS else "no"}
    return Result("Notebooks: seconds beyond their cells", "s", series, [compare(ours, peer)], facts)


def _notebook() -> Any:
    import nbformat

    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in _CELLS])


def _busy_s(notebook: Any) -> float:
    """How long the kernel was busy with the cells, by its own account."""
    times = [cell.metadata["execution"] for cell in notebook.cells]
    spans = [(_at(one["iopub.status.idle"]) - _at(one["iopub.status.busy"])).total_seconds() for one in times]
    return sum(spans)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _wait(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not so():
        if time.monotonic() > deadline:
            raise DeadlineError(f"nothing was ready after {_READY_SECONDS:g} s")
        time.sleep(0.02)


def _panel(cluster: Cluster, rounds: int) -> Result:
    """Make and delete the pod that a task asks for, and hear of it."""
    lab = Lab.on(cluster, find_lab(_PANEL_LAB))
    task = lab.task("plug-in")
    address = client.start(cluster.name, _PANEL_LAB)
    heard = listen(address)
    _until(heard, "fail")
    green, red = [], []
    for _ in range(rounds):
        lab.pod(task["pod"], node=task["node"])
        began = time.monotonic()
        _until(heard, "pass")
        green.append(time.monotonic() - began)
        cluster.delete("pod", task["pod"], lab.namespace)
        cluster.wait("pod", task["pod"], "deleted", namespace=lab.namespace)
        began = time.monotonic()
        _until(heard, "fail")
        red.append(time.monotonic() - began)
    address.rest()
    lab.reset()
    return Result(
        "Progress panel: from a change to the browser",
        "s",
        facts={
            "changes": 2 * rounds,
            "green: median s": round(statistics.median(green), 2),
            "green: longest s": round(max(green), 2),
            "red: median s": round(statistics.median(red), 2),
            "red: longest s": round(max(red), 2),
        },
    )


def _until(heard: Any, verdict: str) -> None:
    for name, content in heard:
        if name == "board" and content["tasks"][0]["verdict"] == verdict:
            return
    raise DeadlineError(f"the panel ended before it said {verdict}")


def _labs(cluster: Cluster) -> Result:
    """Run every solved lab that this machine can."""
    from glasshive.bpf import probe

    machine = probe.machine()
    took: dict[str, float] = {}
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="gh-bench-") as results, KernelPool() as pool:
        for entry in read_labs():
            if machine.missing(entry.needs):
                facts[f"{entry.name}"] = "not run: this machine lacks what it needs"
                continue
            began = time.monotonic()
            well = headless.run(entry, cluster=cluster.name, results=Path(results), say=lambda _: None, pool=pool)
            took[entry.name] = time.monotonic() - began
            facts[f"{entry.name} s"] = f"{took[entry.name]:.1f}" + ("" if well else " (FAILED)")
    facts["longest s"] = round(max(took.values()), 1)
    facts["all within goal"] = (
        "yes" if max(took.values()) <= LAB_GOAL_SECONDS else "no"
    ) + f" ({LAB_GOAL_SECONDS:g} s)"
    return Result("Labs: each solved notebook, from start to end", "s", facts=facts)

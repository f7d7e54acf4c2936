"""A JupyterLab with a notebook of given cells, for tests that look at it in a browser (``browser.py``)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat

from browser import Page

TOKEN = "only-for-this-test"
_TRIES = 120
_KERNEL = """(async () => {
  const found = await (await fetch("/api/sessions?token=%s")).json(), kernel = found[0]?.kernel;
  const shown = document.querySelector(".jp-Notebook-ExecutionIndicator")?.dataset.status;
  return kernel?.connections ? kernel.execution_state + " " + shown : "no kernel";
})()"""
"""The state of the notebook's kernel, by its server and by the page, whose word alone is "idle" before there is one: a
cell that is run then opens a dialog instead."""


@contextmanager
def jupyterlab(cluster: str, folder: Path, cells: Sequence[str]) -> Iterator[str]:
    """The address of a JupyterLab whose labs are worked on ``cluster``; ``open_notebook`` opens the cells."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, folder / "p.ipynb")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).parent / "jupyter-lab"), "--no-browser", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={TOKEN}",
        "--allow-root", "--log-level=ERROR", "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    variables = {**os.environ, "GLASSHIVE_CLUSTER": cluster, "GLASSHIVE_PROGRESS": "off"}
    child = subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(30)


def open_notebook(page: Page, address: str, cells: int) -> None:
    """Open it and wait for its kernel, however long the server takes to come up."""
    page.send("Page.enable")
    for _ in range(_TRIES):
        page.open(f"{address}/lab/tree/p.ipynb?token={TOKEN}")
        try:
            page.wait("document.querySelectorAll('.jp-CodeCell').length", lambda found: found == cells)
        except AssertionError:
            continue  # the server is not up yet
        page.wait(_KERNEL % TOKEN, "idle idle".__eq__)
        return


def run_next_cell(page: Page) -> None:
    """Run the chosen cell and choose the next, as Shift-Enter does."""
    page.run("window.jupyterapp.commands.execute('notebook:run-cell-and-select-next').then(() => 1), 0")

"""The panel in a real JupyterLab and a real browser: it lives while a cell runs, and after a restart of the kernel."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from browser import PROGRAM, WITHOUT, Page, browser
from glasshive.cluster import Cluster
from glasshive.lab.kit import Lab
from glasshive.lab.manifest import find_lab

CLUSTER = f"browser-{os.getpid()}"
TOKEN = "only-for-this-test"
CELLS = ("import glasshive\nlab = glasshive.lab('01')\nlab.panel()", "import time\ntime.sleep(600)")
KERNEL = """(async () => {
  const found = await (await fetch("/api/sessions?token=%s")).json(), kernel = found[0]?.kernel;
  const shown = document.querySelector(".jp-Notebook-ExecutionIndicator")?.dataset.status;
  return kernel?.connections ? kernel.execution_state + " " + shown : "no kernel";
})()"""
"""The state of the notebook's kernel, by its server and by the page, whose word alone is "idle" before there is one: a
cell that is run then opens a dialog instead."""
VERDICT = "document.querySelector('.gh-task')?.dataset.verdict ?? ''"

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: labs run on a cluster of network namespaces"),
    pytest.mark.skipif(PROGRAM is None, reason=WITHOUT),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(CLUSTER, nodes=3) as made:
        yield made


@pytest.fixture
def jupyter(cluster: Cluster, tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab with the two cells."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in CELLS])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, tmp_path / "p.ipynb")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).parent / "jupyter-lab"), "--no-browser", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", f"--ServerApp.root_dir={tmp_path}", f"--IdentityProvider.token={TOKEN}",
        "--allow-root", "--log-level=ERROR", "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    variables = {**os.environ, "GLASSHIVE_CLUSTER": cluster.name, "GLASSHIVE_PROGRESS": "off"}
    child = subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(30)


def open_notebook(page: Page, address: str) -> None:
    deadline = 120
    for _ in range(deadline):
        page.open(f"{address}/lab/tree/p.ipynb?token={TOKEN}")
        try:
            page.wait("document.querySelectorAll('.jp-CodeCell').length", lambda found: found == 2)
        except AssertionError:
            continue  # the server is not up yet
        return


def run_next_cell(page: Page) -> None:
    """Run the chosen cell and choose the next, as Shift-Enter does."""
    page.run("window.jupyterapp.commands.execute('notebook:run-cell-and-select-next').then(() => 1), 0")


def test_the_panel_lives_without_the_kernel(cluster: Cluster, jupyter: str) -> None:
    lab = Lab.on(cluster, find_lab("01"))
    task = lab.task("plug-in")
    with browser() as page:
        page.send("Page.enable")
        open_notebook(page, jupyter)
        page.wait(KERNEL % TOKEN, "idle idle".__eq__)
        run_next_cell(page)
        page.wait(VERDICT, "fail".__eq__)
        run_next_cell(page)
        busy = "document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')[1].textContent"
        page.wait(busy, lambda words: "*" in words)

        lab.pod(task["pod"], node=task["node"])
        page.wait(VERDICT, "pass".__eq__)
        assert "*" in page.run(busy)  # the cell runs all the while
        assert page.run("document.querySelector('.gh-task .gh-word').textContent") == "done"
        page.wait("document.querySelector('.gh-panel [role=status]').textContent", lambda words: "done" in words)

        page.run("document.querySelector('.gh-task').focus()")
        page.press("Enter", "ArrowDown", "ArrowDown")
        assert page.run("document.activeElement.dataset.key") == "plug-in/plugged"

        cluster.delete("pod", task["pod"], lab.namespace)
        page.wait(VERDICT, "fail".__eq__)
        assert page.run("document.querySelector('.gh-task .gh-word').textContent") == "broken again"
        assert page.run("document.activeElement.dataset.key") == "plug-in/plugged"  # the focus was not taken away

        restart = """(async () => {
          const query = "?token=%s", kernels = await (await fetch("/api/kernels" + query)).json();
          const cross = (document.cookie.match(/_xsrf=([^;]*)/) || [])[1] || "";
          const url = `/api/kernels/${kernels[0].id}/restart${query}`;
          return (await fetch(url, {method: "POST", headers: {"X-XSRFToken": cross}})).status;
        })()"""
        assert page.run(restart % TOKEN) == 200
        lab.pod(task["pod"], node=task["node"])
        page.wait(VERDICT, "pass".__eq__)
        lab.reset()
        page.wait(
            "document.querySelector('.gh-panel .gh-foot').textContent", lambda words: "the lab was reset" in words
        )

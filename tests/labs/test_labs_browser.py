"""The panel in a real JupyterLab and a real browser: it lives while a cell runs, and after a restart of the kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import PROGRAM, WITHOUT, browser
from glasshive.cluster import Cluster
from glasshive.lab.kit import Lab
from glasshive.lab.manifest import find_lab
from jupyter import TOKEN, jupyterlab, open_notebook, run_next_cell

CLUSTER = f"browser-{os.getpid()}"
CELLS = ("import glasshive\nlab = glasshive.lab('01')\nlab.panel()", "import time\ntime.sleep(600)")
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
    with jupyterlab(cluster.name, tmp_path, CELLS) as address:
        yield address


def test_the_panel_lives_without_the_kernel(cluster: Cluster, jupyter: str) -> None:
    lab = Lab.on(cluster, find_lab("01"))
    task = lab.task("plug-in")
    with browser() as page:
        open_notebook(page, jupyter, len(CELLS))
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

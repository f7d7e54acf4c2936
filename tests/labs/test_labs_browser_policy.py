"""Views of policy in a real JupyterLab and a real browser: rows that decide light up, pods change bubbles."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from browser import PROGRAM, WITHOUT, browser
from glasshive.cluster import Cluster
from glasshive.lab import doors
from glasshive.lab.kit import Lab
from glasshive.lab.manifest import find_lab
from jupyter import jupyterlab, open_notebook, run_next_cell

CELLS = (
    "import glasshive\nlab = glasshive.lab('07')\nlab.identities(live=True)",
    "lab.policy_view('web', live=True)",
    "import time\ntime.sleep(600)",
)
BUBBLES = """[...document.querySelectorAll('.gh-bubble')].map((one) => {
  const chips = [...one.querySelectorAll('.gh-chip')].map((chip) => chip.textContent);
  return one.querySelector('.gh-bubble-labels').textContent + ': ' + chips.join(' ');
})"""
LIT = """[...document.querySelectorAll('.gh-policy tr[data-lit]')].map((row) => row.dataset.verdict + ' '
  + row.querySelector('.gh-policy-peer').textContent)"""
EVER = """(window.seen ??= new Set(), %s.forEach((row) => window.seen.add(row)), [...window.seen].sort())"""
"""A light goes out again: what was seen is kept."""

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: labs run on a cluster of network namespaces"),
    pytest.mark.skipif(PROGRAM is None, reason=WITHOUT),
]


def test_rows_light_up_and_pods_change_bubbles_while_a_cell_runs(tmp_path: Path) -> None:
    with Cluster(f"lights-{os.getpid()}", nodes=3) as cluster:
        lab = Lab.on(cluster, find_lab("07"))
        for name, node in (("web", "node1"), ("bee", "node2"), ("wasp", "node3")):
            lab.pod(name, node=node)
        with jupyterlab(cluster.name, tmp_path, CELLS) as address, browser() as page:
            open_notebook(page, address, len(CELLS))
            run_next_cell(page)
            page.wait(BUBBLES, ["app=bee: bee", "app=wasp: wasp", "app=web: web"].__eq__)
            run_next_cell(page)
            page.wait(
                "document.querySelector('.gh-policy')?.innerText ?? ''", lambda words: "nothing is refused" in words
            )
            run_next_cell(page)  # and the kernel is busy from here on

            lab.policy(doors.door("door", "web", {"app": "bee"}))
            page.wait("document.querySelectorAll('.gh-policy tbody tr').length", (4).__eq__)
            assert page.run(LIT) == []
            while page.run(EVER % LIT) != ["allow app=bee", "deny any"]:
                lab.reach([("bee", "web"), ("wasp", "web")])
            page.wait(LIT, [].__eq__)  # nobody sends: the lights go out

            lab.relabel("wasp", app="bee")
            page.wait(BUBBLES, ["app=bee: bee wasp", "app=web: web"].__eq__)
            said = "document.querySelector('.gh-identities [role=status]').textContent"
            assert page.run(said) == "wasp is now app=bee"
            lab.audit("web")
            page.wait("document.querySelector('.gh-policy').innerText", lambda words: "default deny, passes" in words)
        lab.reset()

"""The committed labs: they keep the rules, are what their sources say, and show under nbval what they show on paper.

One cluster serves all of them. A lab that needs what this machine lacks is skipped, with what is missing.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from glasshive.bpf import probe
from glasshive.lab import build, clusters, commands, compare, headless, lint, manifest, report
from glasshive.lab.kernels import KernelPool
from glasshive.lab.manifest import LabEntry
from glasshive.lab.tasks import tasks_of

LABS = manifest.read_labs()
CLUSTER = f"labs-{os.getpid()}"

needs_root = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: labs run on a cluster of network namespaces"),
]


@pytest.mark.parametrize("form", commands.FORMS)
@pytest.mark.parametrize("entry", LABS, ids=lambda entry: str(entry.name))
def test_the_committed_notebook_is_what_its_source_says(entry: LabEntry, form: build.Form) -> None:
    assert build.differences(entry, form) == []
    assert lint.lint(build.path_of(entry, form)) == []


def test_nothing_lies_about_that_is_not_in_the_manifest() -> None:
    said: list[str] = []
    assert commands.check([], say=said.append) == 0, "\n".join(said)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    from glasshive.cluster import Cluster

    with Cluster(CLUSTER, nodes=max(entry.nodes for entry in LABS)), clusters.swept(CLUSTER, LABS):
        yield CLUSTER


def skip_if_closed(entry: LabEntry) -> None:
    missing = probe.machine().missing(entry.needs)
    if missing:
        pytest.skip(f"this machine lacks {', '.join(missing)}: see glasshive doctor")


@pytest.fixture(scope="module")
def compared(cluster: str) -> dict[Path, compare.Compared]:
    """All solved notebooks that this machine can run, compared in one process."""
    open_here = [entry.solution for entry in LABS if not probe.machine().missing(entry.needs)]
    return compare.compare(open_here, cluster=cluster)


@pytest.mark.timeout(compare.NOTEBOOK_SECONDS * len(LABS))
@pytest.mark.parametrize("entry", [pytest.param(entry, marks=needs_root, id=entry.name) for entry in LABS])
def test_the_solved_notebook_shows_what_is_committed(entry: LabEntry, compared: dict[Path, compare.Compared]) -> None:
    skip_if_closed(entry)
    assert compared[entry.solution].same, compared[entry.solution].said


@pytest.fixture(scope="module")
def pool() -> Iterator[KernelPool]:
    with KernelPool() as made:
        yield made


@pytest.mark.parametrize("entry", [pytest.param(entry, marks=needs_root, id=entry.name) for entry in LABS])
def test_the_unsolved_notebook_scores_nothing(entry: LabEntry, cluster: str, pool: KernelPool, tmp_path: Path) -> None:
    """Every cell runs, every task of the lab is checked, and work that was not done earns exactly 0."""
    skip_if_closed(entry)
    said: list[str] = []
    went_well = headless.run(entry, cluster=cluster, results=tmp_path, say=said.append, solved=False, pool=pool)
    assert not [line for line in said if " failed: " in line], said
    shown = nbformat.read(tmp_path / f"{entry.name}.ipynb", as_version=4)
    told = [line for cell in shown.cells for line in report.check_lines(cell)]
    assert {one.title for one in told} == {one.title for one in tasks_of(entry.topic)}
    assert [one.earned for one in told] == [0.0] * len(told)
    assert went_well == (not told)
    page = (tmp_path / f"{entry.name}.html").read_text(encoding="utf-8")
    assert all(html.escape(one.title) in page for one in told)


@pytest.mark.parametrize("entry", [pytest.param(LABS[0], marks=needs_root, id=LABS[0].name)])
def test_the_tour_can_be_run_twice(entry: LabEntry, cluster: str, pool: KernelPool, tmp_path: Path) -> None:
    """Cells are idempotent: nothing of the first run is in the second one's way."""
    skip_if_closed(entry)
    for _ in range(2):
        said: list[str] = []
        assert headless.run(entry, cluster=cluster, results=tmp_path, say=said.append, pool=pool), said

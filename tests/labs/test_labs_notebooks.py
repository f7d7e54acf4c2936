"""The committed labs: they keep the rules, are what their sources say, and show under nbval what they show on paper.

One cluster serves all of them. A lab that needs what this machine lacks is skipped, with what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from glasshive.bpf import probe
from glasshive.lab import build, commands, compare, headless, lint, manifest
from glasshive.lab.manifest import LabEntry

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

    with Cluster(CLUSTER, nodes=max(entry.nodes for entry in LABS)):
        yield CLUSTER


def skip_if_closed(entry: LabEntry) -> None:
    missing = probe.machine().missing(entry.needs)
    if missing:
        pytest.skip(f"this machine lacks {', '.join(missing)}: see glasshive doctor")


@pytest.mark.parametrize("entry", [pytest.param(entry, marks=needs_root, id=entry.name) for entry in LABS])
def test_the_solved_notebook_shows_what_is_committed(entry: LabEntry, cluster: str) -> None:
    skip_if_closed(entry)
    same, said = compare.compare(entry.solution, cluster=cluster)
    assert same, said


@pytest.mark.parametrize("entry", [pytest.param(entry, marks=needs_root, id=entry.name) for entry in LABS])
def test_the_unsolved_notebook_passes_no_check(entry: LabEntry, cluster: str, tmp_path: os.PathLike[str]) -> None:
    """Every cell runs, and no check of work that was not done says pass."""
    from pathlib import Path

    skip_if_closed(entry)
    said: list[str] = []
    headless.run(entry, cluster=cluster, results=Path(tmp_path), say=said.append, solved=False)
    assert not [line for line in said if " failed: " in line], said
    import nbformat

    shown = nbformat.read(Path(tmp_path) / f"{entry.name}.ipynb", as_version=4)
    checks = [cell for cell in shown.cells if cell.metadata.get("glasshive", {}).get("role") == "check"]
    assert len(headless.failed_checks(shown)) == len(checks)


@pytest.mark.parametrize("entry", [pytest.param(LABS[0], marks=needs_root, id=LABS[0].name)])
def test_the_tour_can_be_run_twice(entry: LabEntry, cluster: str, tmp_path: os.PathLike[str]) -> None:
    """Cells are idempotent: nothing of the first run is in the second one's way."""
    from pathlib import Path

    skip_if_closed(entry)
    for _ in range(2):
        said: list[str] = []
        assert headless.run(entry, cluster=cluster, results=Path(tmp_path), say=said.append), said

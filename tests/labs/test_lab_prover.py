"""The prover is proved: tasks with one defect each, and what the matrix says of them.

A matrix that cannot fail is none. And the skeleton that ``lab new`` writes fails honestly until its author has written
the checks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from glasshive.cluster import Cluster
from glasshive.lab import create, tasks
from glasshive.lab.manifest import LabEntry, find_lab
from glasshive.lab.prove import Case, prove

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: labs run on a cluster of network namespaces"),
]
ENTRY = replace(find_lab("01"), id="93", topic="proved_tasks", nodes=1)
GOOD = """
from glasshive.lab.checks import invariant, state
from glasshive.lab.checks.outcome import good, judged
from glasshive.lab.task import Check, Hint, Mutant, Task

def draw(seed): return {"pod": seed.name()}
def setup(lab, given): lab.pod("web")
def ready(reader, given): return state.pod_ready(reader, "web")
def there(reader, given): return state.pod_ready(reader, given["pod"])
def alone(reader, given): return invariant.pods_are(reader, ["web", given["pod"]])
def pod(lab, given): lab.pod(given["pod"])
def run(lab, given): lab.kubectl("run", given["pod"], "--image=glasshive/echo")
def nothing(lab, given): pass
def misnamed(lab, given): lab.pod("other")
def too_many(lab, given): lab.pod(given["pod"]); lab.pod("other")

def task(**changes):
    fields = dict(
        id="small", title="A small task", points=1, text="make {pod}", draw=draw, setup=setup, ready=ready,
        checks=(Check("there", "it is there", 40, "probe", there),
                Check("alone", "nothing else", 60, "invariant", alone, needs=("there",), negative=True)),
        hints=(Hint("there", ("1", "2", "3")),), solutions=(pod, run),
        mutants=(Mutant(nothing, "there"), Mutant(misnamed, "there"), Mutant(too_many, "alone")))
    return Task(**{**fields, **changes})
"""
DEFECTS = {
    "good": ("TASKS = (task(),)", "", ""),
    "passes-when-nothing-was-done": (
        (
            'TASKS = (task(checks=(Check("there", "t", 100, "probe", lambda r, g: good("always"), negative=True),),'
            ' mutants=(Mutant(nothing, "there"), Mutant(misnamed, "there"), Mutant(too_many, "there"))),)'
        ),
        "pristine",
        "pristine scores 100",
    ),
    "cannot-be-solved": (
        (
            "TASKS = (task(solutions=(pod, nothing), mutants=(Mutant(run, 'there'), Mutant(misnamed, 'there'),"
            " Mutant(too_many, 'alone'))),)"
        ),
        "solution nothing",
        "scores 0 (there fail",
    ),
    "mutant-is-not-caught": (
        ("TASKS = (task(mutants=(Mutant(nothing, 'there'), Mutant(misnamed, 'there'), Mutant(too_many, 'there'))),)"),
        "mutant too_many",
        "check there says pass",
    ),
    "mutant-scores-too-well": (
        (
            'TASKS = (task(checks=(Check("there", "t", 80, "probe", there),'
            ' Check("alone", "a", 20, "invariant", alone, needs=("there",), negative=True))),)'
        ),
        "mutant too_many",
        "scores 80",
    ),
    "set-up-again-changes-something": (
        (
            "import itertools\ncount = itertools.count()\n"
            'def again(lab, given): lab.pod("web"); lab.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap",'
            ' "metadata": {"name": f"c{next(count)}"}}, lab.namespace)\n'
            "TASKS = (task(setup=again),)"
        ),
        "pristine",
        "setting up twice changes something: configmaps: new",
    ),
    "set-up-does-not-work": (
        (
            "TASKS = (task(setup=nothing, solutions=(pod, run), mutants=(Mutant(misnamed, 'there'),"
            " Mutant(too_many, 'alone'), Mutant(setup, 'there'))),)"
        ),
        "pristine",
        "could not be set up: there is no pod web",
    ),
    "leaves-something-behind": (
        (
            'def litter(lab, given): pod(lab, given); lab.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap",'
            ' "metadata": {"name": "litter"}}, "default")\n'
            "TASKS = (task(solutions=(pod, litter)),)"
        ),
        "reset",
        "resets leave behind: configmaps: new default/litter",
    ),
    "grades-by-chance": (
        (
            "import itertools\ncount = itertools.count()\n"
            'def chance(reader, given): return there(reader, given) and judged(next(count) == 0, "by chance", "luck")\n'
            'TASKS = (task(checks=(Check("there", "t", 100, "probe", chance, negative=True, within_s=0.01),),'
            " mutants=(Mutant(nothing, 'there'), Mutant(misnamed, 'there'), Mutant(setup, 'there'))),)"
        ),
        "solution pod",
        "graded twice",
    ),
    "checks-cannot-look": (
        (
            'TASKS = (task(checks=(Check("there", "t", 100, "probe", lambda r, g: 1 / 0, negative=True),),'
            " mutants=(Mutant(nothing, 'there'), Mutant(misnamed, 'there'), Mutant(setup, 'there'))),)"
        ),
        "pristine",
        "pristine scores nothing",
    ),
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(f"prover-{os.getpid()}", nodes=1) as made:
        yield made


def matrix(
    cluster: Cluster, entry: LabEntry, folder: Path, monkeypatch: pytest.MonkeyPatch, *, until: str = ""
) -> dict[str, Case]:
    """The matrix of a lab whose tasks lie in a folder; no further than one case."""
    import sys

    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(folder)])
    sys.modules.pop(f"glasshive.lab.tasks.{entry.topic}", None)
    cases = {}
    try:
        for case in prove(cluster, entry, [0]):
            cases[case.name] = case
            if case.name == until:
                break
        return cases
    finally:
        sys.modules.pop(f"glasshive.lab.tasks.{entry.topic}", None)


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found_and_named(
    defect: str, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, where, told = DEFECTS[defect]
    (tmp_path / "proved_tasks.py").write_text(GOOD + text + "\n", encoding="utf-8")
    cases = matrix(cluster, ENTRY, tmp_path, monkeypatch, until=where)
    cluster.delete("configmap", "litter", "default")
    if not where:
        assert [str(case) for case in cases.values() if case.trouble] == []
    else:
        assert told in cases[where].trouble


def test_a_new_lab_fails_the_matrix_until_it_is_written(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labs = tmp_path / "labs"
    (labs / "src").mkdir(parents=True)
    (labs / "labs.toml").write_text("", encoding="utf-8")
    create.new_lab("94", "unwritten", "Not written yet", folder=labs, task_folder=tmp_path)
    cases = matrix(cluster, find_lab("94", labs), tmp_path, monkeypatch, until="solution another_way")
    assert not cases["pristine"].trouble
    assert "nothing is looked at yet" in cases["solution one_way"].trouble
    assert "nothing is looked at yet" in cases["solution another_way"].trouble

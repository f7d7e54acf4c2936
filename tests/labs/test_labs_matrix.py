"""Every graded task on a real cluster: pristine 0, solutions 100, mutants caught, set-up and reset clean.

Two seeds share the solutions and mutants here, so that each is proved once in every run; GLASSHIVE_MATRIX=whole gives
all of them to both, and `glasshive lab prove --seeds 20` works more seeds through. One cluster serves all labs, one
after the other, but for those with a topology of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from glasshive.bpf import probe
from glasshive.lab import clusters
from glasshive.lab.manifest import LabEntry, read_labs
from glasshive.lab.prove import prove
from glasshive.lab.tasks import tasks_of

SEEDS = (0, 1)
LABS = [entry for entry in read_labs() if tasks_of(entry.topic)]

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: labs run on a cluster of network namespaces"),
]


@pytest.fixture(scope="module")
def cluster_of() -> Iterator[clusters.ClusterOf]:
    with clusters.lent(f"matrix-{os.getpid()}", LABS, lambda _: None) as lent:
        yield lent


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("entry", LABS, ids=lambda entry: str(entry.name))
def test_the_matrix(entry: LabEntry, seed: int, cluster_of: clusters.ClusterOf) -> None:
    missing = probe.machine().missing(entry.needs)
    if missing:
        pytest.skip(f"this machine lacks {', '.join(missing)}: see glasshive doctor")
    part = (0, 1) if os.environ.get("GLASSHIVE_MATRIX") == "whole" else (SEEDS.index(seed), len(SEEDS))
    cases = list(prove(cluster_of(entry), entry, [seed], part=part))
    assert not [str(case) for case in cases if case.trouble]
    acts = [len(found[part[0] :: part[1]]) for one in tasks_of(entry.topic) for found in (one.solutions, one.mutants)]
    assert len(cases) == sum(acts) + 2 * len(tasks_of(entry.topic))

"""``glasshive lab prove``: the matrix of several labs on one cluster, which is brought up if it is not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from glasshive.lab.clusters import lent
from glasshive.lab.manifest import find_lab, read_labs
from glasshive.lab.prove import Case, prove
from glasshive.lab.tasks import tasks_of


def prove_labs(ids: Sequence[str], *, cluster: str, seeds: Sequence[int], say: Callable[[str], None]) -> list[Case]:
    """Prove the labs named, or all that have tasks."""
    entries = [find_lab(one) for one in ids] if ids else [one for one in read_labs() if tasks_of(one.topic)]
    cases = []
    with lent(cluster, entries, say) as cluster_of:
        for entry in entries:
            for case in prove(cluster_of(entry), entry, seeds):
                say(str(case))
                cases.append(case)
    failed = sum(1 for case in cases if case.trouble)
    seconds = sum(case.seconds for case in cases)
    say(f"{len(cases)} cases of {len(entries)} labs in {seconds:.0f} s: {failed or 'none'} not as it should be")
    return cases

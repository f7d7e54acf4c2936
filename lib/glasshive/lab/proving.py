"""``glasshive lab prove``: the matrix of several labs on one cluster, which is brought up if it is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from glasshive.cluster import Cluster, connect
from glasshive.errors import CapabilityError, NotFoundError
from glasshive.lab.manifest import LabEntry, find_lab, read_labs
from glasshive.lab.prove import Case, prove
from glasshive.lab.tasks import tasks_of


def prove_labs(ids: Sequence[str], *, cluster: str, seeds: Sequence[int], say: Callable[[str], None]) -> list[Case]:
    """Prove the labs named, or all that have tasks."""
    entries = [find_lab(one) for one in ids] if ids else [one for one in read_labs() if tasks_of(one.topic)]
    cases = []
    with borrowed(cluster, entries, say) as found:
        for entry in entries:
            for case in prove(found, entry, seeds):
                say(str(case))
                cases.append(case)
    failed = sum(1 for case in cases if case.trouble)
    seconds = sum(case.seconds for case in cases)
    say(f"{len(cases)} cases of {len(entries)} labs in {seconds:.0f} s: {failed or 'none'} not as it should be")
    return cases


@contextmanager
def borrowed(name: str, entries: Sequence[LabEntry], say: Callable[[str], None]) -> Iterator[Cluster]:
    """The cluster of that name, with nodes enough; one that had to be brought up is taken down again."""
    nodes = max((entry.nodes for entry in entries), default=1)
    try:
        found = connect(name)
    except NotFoundError:
        say(f"bringing up cluster {name}")
        with Cluster(name, nodes=nodes) as ours:
            yield ours
        return
    if found.config.nodes < nodes:
        what = f"cluster {name} has {found.config.nodes} nodes, {nodes} are wanted"
        raise CapabilityError(what, hint=f"glasshive down {name}")
    yield found

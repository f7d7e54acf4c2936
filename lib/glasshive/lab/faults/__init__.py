"""The fault library: break one thing of a cluster on purpose, know exactly what, and put it back.

::

    from glasshive.lab import faults

    truth = faults.inject(cluster, "stale-ipcache", node="node1", namespace="lab-07", pod="web")
    truth.cause, truth.where          # the ground truth, for people and for machines
    faults.active(cluster)            # what is broken now
    faults.heal(cluster, truth.id)    # or heal_all(cluster)

Both ways are verified and may be repeated: injecting what is there changes nothing, healing what is healed neither.
What was injected is written down first (``record``), so it can be healed whatever is interrupted. A later feature adds
its faults to ``CATALOGUE``.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from glasshive.cluster import Cluster
from glasshive.errors import ClusterError, NotFoundError
from glasshive.lab.faults import keeper
from glasshive.lab.faults.fault import Fault, Hands
from glasshive.lab.faults.record import Record
from glasshive.lab.faults.tables import AsymmetricRoute, FullMap, StaleIpcache, WrongIdentity
from glasshive.lab.faults.truth import Truth
from glasshive.lab.faults.wires import DetachedProgram, DropRule, SmallMtu
from glasshive.lab.faults.workloads import DeadBackend, NoDns, PolicyTypo

__all__ = ["CATALOGUE", "Truth", "active", "find", "heal", "heal_all", "inject"]

CATALOGUE: dict[str, Fault] = {
    one.name: one
    for one in (
        DropRule(), WrongIdentity(), StaleIpcache(), SmallMtu(), AsymmetricRoute(), NoDns(), DeadBackend(),
        DetachedProgram(), FullMap(), PolicyTypo(),
    )
}  # fmt: skip
VERIFY_SECONDS = 5.0
_LOOK_S = 0.05


def find(name: str) -> Fault:
    """A fault by name; an unknown one lists near ones."""
    if name not in CATALOGUE:
        near = difflib.get_close_matches(name, CATALOGUE, 3, 0.4) or list(CATALOGUE)
        raise NotFoundError(f"there is no fault {name!r}", hint=f"near it: {', '.join(near)}")
    return CATALOGUE[name]


def inject(cluster: Cluster, fault: str, *, owner: str = "", **params: Any) -> Truth:
    """Break it, and make sure that it is broken. Raises NotFoundError or UsageError before anything is changed."""
    kind, hands, record = find(fault), Hands(cluster), Record(cluster.name)
    given = kind.complete(params)
    with record.locked():
        known = record.read()
        truth = _held(known, fault, given)
        if truth is None:
            truth = replace(kind.plan(hands, given), owner=owner)
            record.write([*known, truth])
        kind.apply(hands, truth)
        _await(lambda: kind.present(hands, truth), f"fault {truth.id} could not be injected")
    if kind.kept:
        keeper.ensure(cluster.name)
    return truth


def active(cluster: Cluster) -> list[Truth]:
    """What was injected and not healed, oldest first."""
    return Record(cluster.name).read()


def heal(cluster: Cluster, wanted: str) -> Truth | None:
    """Put back what a fault (by id, or by name if there is one of it) has changed; None if it is not there."""
    record = Record(cluster.name)
    with record.locked():
        found = [one for one in record.read() if wanted in (one.id, one.fault)]
        if not found:
            return None
        _heal(Hands(cluster), record, found[-1])
    return found[-1]


def heal_all(cluster: Cluster, *, owner: str = "") -> list[Truth]:
    """Heal everything, or what one owner has injected, newest first."""
    record = Record(cluster.name)
    with record.locked():
        found = [one for one in reversed(record.read()) if owner in ("", one.owner)]
        for one in found:
            _heal(Hands(cluster), record, one)
    return found


def _heal(hands: Hands, record: Record, truth: Truth) -> None:
    """Undo, make sure, and only then strike it out. The caller holds the lock, so the keeper keeps still."""
    kind = CATALOGUE[truth.fault]
    kind.undo(hands, truth)
    _await(lambda: not kind.present(hands, truth), f"fault {truth.id} could not be healed")
    record.write([one for one in record.read() if one.id != truth.id])


def _held(known: list[Truth], fault: str, given: dict[str, Any]) -> Truth | None:
    return next((one for one in known if one.fault == fault and dict(one.params) == given), None)


def _await(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + VERIFY_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise ClusterError(what, hint="glasshive status says what runs")
        time.sleep(_LOOK_S)

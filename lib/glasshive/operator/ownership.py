"""What owner references demand of one object. Pure; ``garbage`` asks and carries it out.

The rules are those of Kubernetes' garbage collection: an object goes when its last owner is gone; an owner that is
deleted in the foreground waits for the dependents that block it; one that is deleted with orphaning lets its dependents
go first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from glasshive.kube.objects import Object, is_terminating, uid_of

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
OwnerState = Literal["solid", "waiting", "absent"]


@dataclass(frozen=True)
class Verdict:
    """``action`` is keep, unlink (drop the owner references in ``uids``), or delete with ``propagation``."""

    action: Literal["keep", "unlink", "delete"]
    uids: frozenset[str] = frozenset()
    propagation: Literal["Background", "Foreground"] = "Background"


def owner_references(obj: Object) -> list[Object]:
    """Return the owner references."""
    return obj["metadata"].get("ownerReferences") or []


def finalizers(obj: Object) -> list[str]:
    """Return the finalizers."""
    return obj["metadata"].get("finalizers") or []


def state_of(owner: Object | None) -> OwnerState:
    """Return how an owner stands: there, going and waiting for its dependents, or gone."""
    if owner is None:
        return "absent"
    return "waiting" if is_terminating(owner) and FOREGROUND in finalizers(owner) else "solid"


def judge(obj: Object, state: Callable[[Object], OwnerState], *, has_dependents: bool) -> Verdict:
    """Return what becomes of ``obj`` given the states of its owners (``state(reference)``)."""
    refs = owner_references(obj)
    if not refs or is_terminating(obj):
        return Verdict("keep")
    states = {ref["uid"]: state(ref) for ref in refs}
    if "solid" in states.values():
        leaving = frozenset(uid for uid, s in states.items() if s != "solid")
        return Verdict("unlink", leaving) if leaving else Verdict("keep")
    if "waiting" in states.values() and has_dependents:
        return Verdict("delete", propagation="Foreground")
    return Verdict("delete")


def blocking(owner: Object, dependents: Iterable[Object]) -> list[Object]:
    """Return the dependents whose reference to ``owner`` says that they block its deletion."""
    uid = uid_of(owner)
    return [
        d
        for d in dependents
        if any(ref.get("uid") == uid and ref.get("blockOwnerDeletion") for ref in owner_references(d))
    ]

"""ControllerRevisions: the history of a DaemonSet's or StatefulSet's pod template, for ``kubectl rollout``. Pure.

A revision holds the patch that brings its template back. Going back to an old template makes its revision the newest
again instead of adding another one.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from glasshive.api.resources import CONTROLLER_REVISION
from glasshive.kube.objects import Object, is_terminating, labels_of, owner_reference
from glasshive.operator.rollout import short_name

HASH_LABEL = "controller-revision-hash"
_COPIED = ("kubernetes.io/change-cause",)
_DEFAULT_LIMIT = 10


@dataclass(frozen=True)
class History:
    """What to do about an owner's revisions so that the present template has the newest one."""

    current: Object
    """The revision of the present template as it should be."""
    create: bool = False
    renumber: bool = False
    expired: list[Object] = field(default_factory=list)


def patch_of(template: Object) -> Object:
    """Return the strategic merge patch that sets ``template``."""
    return {"spec": {"template": {**copy.deepcopy(template), "$patch": "replace"}}}


def template_of(revision: Object) -> Object:
    """Return the pod template that a revision holds."""
    template: Object = copy.deepcopy(revision["data"]["spec"]["template"])
    template.pop("$patch", None)
    return template


def hash_of(template: Object) -> str:
    """Return the label value by which pods of ``template`` are known."""
    text = json.dumps(template, sort_keys=True)
    return short_name(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def name_of(owner: Object, short: str) -> str:
    """Return the name of a revision; StatefulSet status and pod labels of StatefulSets carry it too."""
    return f"{owner['metadata']['name'][:223]}-{short}"


def number_of(revision: Object) -> int:
    """Return the revision's number."""
    return int(revision.get("revision") or 0)


def history(owner: Object, kind: str, revisions: Sequence[Object], used: Iterable[str]) -> History:
    """Compare an owner's template with its revisions; ``used`` are hashes that pods still carry, which are kept."""
    template = owner["spec"]["template"]
    short = hash_of(template)
    known = sorted(revisions, key=number_of)
    newest = number_of(known[-1]) if known else 0
    found = next((r for r in known if labels_of(r).get(HASH_LABEL) == short), None)
    if found is None:
        current = _new(owner, kind, short, newest + 1)
        return History(current, create=True, expired=_expired(owner, known, {*used, short}))
    renumber = number_of(found) < newest
    current = {**found, "revision": newest + 1} if renumber else found
    others = [r for r in known if r is not found]
    return History(current, renumber=renumber, expired=_expired(owner, others, {*used, short}))


def _new(owner: Object, kind: str, short: str, number: int) -> Object:
    template = owner["spec"]["template"]
    labels = (template.get("metadata") or {}).get("labels") or {}
    given = owner["metadata"].get("annotations") or {}
    metadata = {
        "labels": {**labels, HASH_LABEL: short},
        "annotations": {name: given[name] for name in _COPIED if name in given},
        "ownerReferences": [owner_reference(owner, "apps/v1", kind)],
    }
    return CONTROLLER_REVISION.object(
        name_of(owner, short),
        owner["metadata"]["namespace"],
        metadata=metadata,
        data=patch_of(template),
        revision=number,
    )


def _expired(owner: Object, others: Sequence[Object], used: set[str]) -> list[Object]:
    limit = owner["spec"].get("revisionHistoryLimit")
    limit = _DEFAULT_LIMIT if limit is None else int(limit)
    idle = [r for r in others if labels_of(r).get(HASH_LABEL) not in used and not is_terminating(r)]
    return idle[: max(0, len(idle) - limit)]

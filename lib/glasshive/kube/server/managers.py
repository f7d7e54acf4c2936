"""Field managers: who set which fields of an object, kept in ``metadata.managedFields``.

Tracking starts with an object's first server-side apply. Objects that were never applied that way carry no such
record: what they hold at their first apply belongs to ``before-first-apply``, as upstream does for objects older than
the record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .fieldset import PRESENT, Leaves, Path, of_fields_v1, to_fields_v1
from .patch_json import equal

Object = dict[str, Any]
Who = tuple[str, str, str]  # manager, operation, subresource

_SERVER_FIELDS = {("f:metadata", f"f:{name}") for name in (
    "name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion",
    "deletionTimestamp", "deletionGracePeriodSeconds", "generateName",
)}  # fmt: skip
_TYPE_FIELDS = {("f:apiVersion",), ("f:kind",), ("f:metadata",)}


def owned(paths: Leaves) -> Leaves:
    """Leaves that managers own: all but the type and what the server itself writes into metadata."""
    return {p: v for p, v in paths.items() if p not in _TYPE_FIELDS and p[:2] not in _SERVER_FIELDS}


@dataclass(slots=True)
class Entry:
    """What one manager set through one operation."""

    api_version: str
    time: str
    fields: set[Path] = field(default_factory=set)


class Managers:
    """All entries of one object."""

    def __init__(self, metadata: Object) -> None:
        self.entries: dict[Who, Entry] = {}
        for raw in metadata.get("managedFields") or []:
            if isinstance(raw, dict) and raw.get("fieldsV1"):
                who = (raw.get("manager", ""), raw.get("operation", ""), raw.get("subresource", ""))
                self.entries[who] = Entry(raw.get("apiVersion", ""), raw.get("time", ""), of_fields_v1(raw["fieldsV1"]))

    def write(self, metadata: Object) -> None:
        """Put the entries into ``metadata``."""
        told = []
        for (manager, operation, subresource), entry in sorted(self.entries.items(), key=lambda e: (e[1].time, e[0])):
            if not entry.fields:
                continue
            raw = {
                "manager": manager, "operation": operation, "apiVersion": entry.api_version, "time": entry.time,
                "fieldsType": "FieldsV1", "fieldsV1": to_fields_v1(entry.fields),
            }  # fmt: skip
            told.append(raw | ({"subresource": subresource} if subresource else {}))
        metadata["managedFields"] = told
        if not told:
            del metadata["managedFields"]

    def others(self, who: Who) -> set[Path]:
        """Fields that anybody but ``who`` owns."""
        return set().union(*(entry.fields for other, entry in self.entries.items() if other != who))

    def note_update(self, who: Who, api_version: str, now: str, before: Leaves, after: Leaves) -> None:
        """Record a plain write: it owns what it changed, and takes it from all others."""
        changed = {p for p, v in after.items() if p not in before or not same_leaf(before[p], v)}
        gone = before.keys() - after.keys()
        if not changed and not gone:
            return
        for other, entry in self.entries.items():
            entry.fields -= gone
            if other != who:
                entry.fields -= {p for p in changed if after[p] is not PRESENT}
        if changed:
            entry = self.entries.setdefault(who, Entry(api_version, now))
            entry.fields |= changed
            entry.api_version, entry.time = api_version, now


def same_leaf(left: Any, right: Any) -> bool:
    """Whether two leaf values are the same."""
    return left is right or (left is not PRESENT and right is not PRESENT and equal(left, right))

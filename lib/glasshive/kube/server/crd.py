"""Custom resource definitions: accepted at once, served at once, and emptied before they go.

Every step that upstream leaves to controllers (accepting names, establishing, cleaning up) happens in the write
itself or in a follower of the definitions' table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from glasshive.api.resources import BUILTIN, CUSTOM_RESOURCE_DEFINITION, Resource

from .log import DELETED
from .status import FieldError, bad_value, required, unsupported

if TYPE_CHECKING:
    from .server import Api
    from .store import Event, Table

Object = dict[str, Any]
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def _condition(obj: Object, kind: str, status: str, *, reason: str, message: str, now: str) -> None:
    conditions = obj.setdefault("status", {}).setdefault("conditions", [])
    fresh = {"type": kind, "status": status, "lastTransitionTime": now, "reason": reason, "message": message}
    for at, old in enumerate(conditions):
        if old.get("type") == kind:
            if old.get("status") == status:
                fresh["lastTransitionTime"] = old.get("lastTransitionTime", now)
            conditions[at] = fresh
            return
    conditions.append(fresh)


def settle(api: Api, obj: Object) -> None:
    """Fill in what the cluster says about a definition: accepted names, stored versions, conditions, finalizer."""
    spec, metadata, now = obj["spec"], obj["metadata"], api.stamp()
    status = obj["status"] = dict(obj.get("status") or {})
    status["conditions"] = list(status.get("conditions") or [])
    stored = next(version["name"] for version in spec["versions"] if version.get("storage"))
    status["storedVersions"] = [*dict.fromkeys([*(status.get("storedVersions") or []), stored])]
    rival = _rival(api, obj)
    if rival:
        text = f"the kind {spec['names']['kind']} is already in use by {rival}"
        _condition(obj, "NamesAccepted", "False", reason="KindConflict", message=text, now=now)
        _condition(obj, "Established", "False", reason="NotAccepted", message="not all names are accepted", now=now)
        return
    status["acceptedNames"] = dict(spec["names"])
    _condition(obj, "NamesAccepted", "True", reason="NoConflicts", message="no conflicts found", now=now)
    _condition(obj, "Established", "True", reason="InitialNamesAccepted",
               message="the initial names have been accepted", now=now)  # fmt: skip
    if not metadata.get("deletionTimestamp") and CLEANUP not in (metadata.get("finalizers") or []):
        metadata["finalizers"] = [*(metadata.get("finalizers") or []), CLEANUP]


def _rival(api: Api, obj: Object) -> str:
    spec = obj["spec"]
    if any(r.group == spec["group"] for r in BUILTIN):
        return f"the built-in group {spec['group']}"
    for record in api.store.newest_in(api.registry.builtin(CUSTOM_RESOURCE_DEFINITION).table):
        other = record.parse()
        if other["metadata"]["name"] != obj["metadata"]["name"] and other["spec"]["group"] == spec["group"]:
            names = other["spec"]["names"]
            if {names["kind"], names.get("listKind")} & {spec["names"]["kind"], spec["names"].get("listKind")}:
                return str(other["metadata"]["name"])
    return ""


def mark_terminating(obj: Object, now: str) -> None:
    """Say in the definition's status that it is going away."""
    _condition(obj, "Terminating", "True", reason="InstanceDeletionPending",
               message="the instances are being deleted", now=now)  # fmt: skip


def established(obj: Object) -> bool:
    """Whether the definition's resources are served."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions)


class Follower:
    """Keeps the registry in step with the definitions, and empties definitions that are being deleted."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._definitions = api.registry.builtin(CUSTOM_RESOURCE_DEFINITION)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Serve what is stored, then follow changes."""
        for record in self._definitions.table.records.values():
            self._serve(record.parse())
        self._definitions.table.listeners.add(self._take)

    async def stop(self) -> None:
        """End cleaning up; it goes on after the next start."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, event: Event) -> None:
        obj = event.record.parse()
        if event.action == DELETED:
            spec = obj["spec"]
            self._api.registry.drop(spec["group"], spec["names"]["plural"])
            self._api.end_streams(self._api.store.table(obj["metadata"]["name"]))
        else:
            self._serve(obj)

    def _serve(self, obj: Object) -> None:
        from .structural import CustomVersion

        spec = obj["spec"]
        terminating = bool(obj["metadata"].get("deletionTimestamp"))
        self._api.registry.drop(spec["group"], spec["names"]["plural"])
        if established(obj):
            versions = [version for version in spec["versions"] if version.get("served")]
            for version in versions:
                custom = CustomVersion(version)
                custom.terminating = terminating
                served = self._api.registry.add(Resource.of_crd(obj, version["name"]), custom)
                if len(spec["versions"]) > 1:
                    served.shown = served.stored = _as_version(served.resource.api_version)
        if terminating and CLEANUP in (obj["metadata"].get("finalizers") or []):
            task = asyncio.get_running_loop().create_task(self._clean(obj["metadata"]["name"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _clean(self, name: str) -> None:
        """Delete all instances, wait until they are gone, then let the definition go."""
        from .delete import Wish, delete_record

        table = self._api.store.table(name)
        served = next((s for s in self._api.registry if s.table is table), None)
        wish = Wish(None, "", "", "", dry_run=False)
        for instance in self._api.store.newest_in(table) if served is not None else ():
            if served is not None:
                await delete_record(self._api, served, instance.key, instance, wish)[1]
        await _emptied(table)
        record = self._api.store.newest(self._definitions.table, ("", name))
        if record is None:
            return
        obj, old = record.parse(), record.parse()
        left = [f for f in obj["metadata"].get("finalizers") or [] if f != CLEANUP]
        obj["metadata"]["finalizers"] = left
        if left:
            await self._api.put(self._definitions, record.key, obj, old)
        else:
            del obj["metadata"]["finalizers"]
            await self._api.remove(self._definitions, record.key, obj)


async def _emptied(table: Table) -> None:
    """Return when the table holds no object."""
    empty = asyncio.Event()

    def look(_: Event) -> None:
        if not table.records:
            empty.set()

    table.listeners.add(look)
    try:
        if table.records:
            await empty.wait()
    finally:
        table.listeners.discard(look)


def _as_version(api_version: str) -> Any:
    def convert(obj: Object) -> Object:
        obj["apiVersion"] = api_version
        return obj

    return convert


def errors(obj: Object, old: Object | None) -> list[FieldError]:
    """Faults of a definition."""
    spec, names = obj["spec"], obj["spec"]["names"]
    expected = f"{names['plural']}.{spec['group']}"
    found = []
    if obj["metadata"].get("name") != expected:
        found.append(
            bad_value(
                "metadata.name", obj["metadata"].get("name"), f'must be spec.names.plural+"."+spec.group ({expected})'
            )
        )
    if "." not in spec["group"]:
        found.append(bad_value("spec.group", spec["group"], "should be a domain with at least one dot"))
    if spec["scope"] not in {"Cluster", "Namespaced"}:
        found.append(unsupported("spec.scope", spec["scope"], ["Cluster", "Namespaced"]))
    if sum(bool(version.get("storage")) for version in spec["versions"]) != 1:
        found.append(bad_value("spec.versions", "", "must have exactly one version marked as storage version"))
    if len({version["name"] for version in spec["versions"]}) != len(spec["versions"]):
        found.append(bad_value("spec.versions", "", "must contain unique version names"))
    if (spec.get("conversion") or {}).get("strategy") == "Webhook":
        found.append(bad_value("spec.conversion.strategy", "Webhook", "this server converts with strategy None only"))
    for at, version in enumerate(spec["versions"]):
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        place = f"spec.versions[{at}].schema.openAPIV3Schema"
        if not isinstance(schema, dict):
            found.append(required(place, "schemas are required"))
        else:
            found += _schema_errors(schema, place)
    if old is not None:
        found += _changes(spec, old["spec"])
    return found


def _changes(spec: Object, before: Object) -> Iterable[FieldError]:
    for field in ("group", "scope"):
        if spec[field] != before[field]:
            yield bad_value(f"spec.{field}", spec[field], "field is immutable")
    for field in ("plural", "kind"):
        if spec["names"][field] != before["names"][field]:
            yield bad_value(f"spec.names.{field}", spec["names"][field], "field is immutable")


def _schema_errors(schema: Object, place: str) -> list[FieldError]:
    """What makes a schema not structural: a place without a type."""
    found = []
    loose = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if not schema.get("type") and not loose:
        found.append(required(f"{place}.type", "must not be empty for specified object fields"))
    if schema.get("properties") and schema.get("additionalProperties"):
        found.append(bad_value(f"{place}.additionalProperties", True, "must not be used together with properties"))
    for name, below in (schema.get("properties") or {}).items():
        if isinstance(below, dict):
            found += _schema_errors(below, f"{place}.properties[{name}]")
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            found += _schema_errors(schema[word], f"{place}.{word}")
    return found[:20]

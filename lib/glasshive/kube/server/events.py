"""One Event, two forms: core/v1 (stored) and events.k8s.io/v1 call the same facts by different names."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

_NEW_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "source": "deprecatedSource",
    "reportingComponent": "reportingController",
}
_CORE_NAMES = {new: core for core, new in _NEW_NAMES.items()}


def to_new(obj: Object) -> Object:
    """The events.k8s.io/v1 form of a core Event."""
    return _renamed(obj, _NEW_NAMES, "events.k8s.io/v1")


def to_core(obj: Object) -> Object:
    """The core form of an events.k8s.io/v1 Event."""
    return _renamed(obj, _CORE_NAMES, "v1")


def _renamed(obj: Object, names: dict[str, str], api_version: str) -> Object:
    renamed = {names.get(key, key): value for key, value in obj.items()}
    renamed["apiVersion"] = api_version
    return renamed

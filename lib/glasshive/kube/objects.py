"""Reading Kubernetes objects, which are plain JSON dictionaries everywhere in Glasshive.

No class wraps them: what came from the API server goes back to it unchanged, unknown fields included.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]
Key = tuple[str, str]
"""(namespace, name); the namespace is "" for cluster-scoped objects."""


def key_of(obj: Object) -> Key:
    """Return (namespace, name) of an object."""
    meta = obj["metadata"]
    return meta.get("namespace") or "", meta["name"]


def uid_of(obj: Object) -> str:
    """Return the object's uid, "" if it never was stored."""
    return str(obj["metadata"].get("uid") or "")


def version_of(obj: Object) -> int:
    """Return the resourceVersion as a number (Kubernetes promises comparable decimal numbers), 0 if there is none."""
    text = obj["metadata"].get("resourceVersion") or ""
    return int(text) if text.isdigit() else 0


def labels_of(obj: Object) -> dict[str, str]:
    """Return the labels, an empty dictionary if there are none."""
    return obj["metadata"].get("labels") or {}


def is_terminating(obj: Object) -> bool:
    """Tell whether deletion has been asked for."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def controller_of(obj: Object) -> Object | None:
    """Return the owner reference whose ``controller`` is true, if there is one."""
    for ref in obj["metadata"].get("ownerReferences") or ():
        if ref.get("controller"):
            return ref  # type: ignore[no-any-return]
    return None


def owner_reference(owner: Object, api_version: str, kind: str) -> Object:
    """Return the controller reference that a child of ``owner`` carries."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }

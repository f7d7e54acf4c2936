"""ObjectMeta: what the server fills in, what it keeps from an older version, and what a name may look like."""

from __future__ import annotations

import os
import random
import re
import uuid
from typing import Any

from glasshive.api.resources import Resource
from glasshive.api.selectors import LABEL_KEY, LABEL_VALUE

from .status import FieldError, Object, bad_request, bad_value, forbidden_field, required, too_long

# Consonants and digits only: a random suffix must not spell a word.
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_MAX_LABEL = 63
_MAX_ANNOTATIONS_BYTES = 256 << 10

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_TEXT = "lower case letters, digits and '-', starting and ending with a letter or digit (RFC 1123 label)"
_SUBDOMAIN_TEXT = (
    "lower case letters, digits, '-' and '.', starting and ending with a letter or digit (RFC 1123 subdomain)"
)

#: Longest name of kinds whose name is one DNS label; all other names are DNS subdomains of at most 253 bytes.
_LABEL_NAMES = {"namespaces": 63, "services": 63, "cronjobs.batch": 52}
#: Kinds whose name is any single path segment.
_SEGMENT_NAMES = frozenset({"rbac.authorization.k8s.io"})
_RANDOM = random.Random(os.urandom(16))  # noqa: S311 - names need to differ, not to be secret


def name_errors(resource: Resource, name: str, field: str = "metadata.name") -> list[FieldError]:
    """What is wrong with the name of a new object."""
    if resource.group in _SEGMENT_NAMES:
        if name in {".", ".."} or "/" in name or "%" in name:
            return [bad_value(field, name, "may not be '.' or '..' and may not contain '/' or '%'")]
        return []
    limit = _LABEL_NAMES.get(resource.group_resource)
    if limit is not None:
        if not DNS_LABEL.fullmatch(name):
            return [bad_value(field, name, f"must consist of {_LABEL_TEXT}")]
        return [bad_value(field, name, f"must be no more than {limit} bytes")] if len(name) > limit else []
    if not DNS_SUBDOMAIN.fullmatch(name):
        return [bad_value(field, name, f"must consist of {_SUBDOMAIN_TEXT}")]
    return [bad_value(field, name, "must be no more than 253 bytes")] if len(name) > 253 else []


def generated_name(prefix: str) -> str:
    """``prefix`` and a random suffix, together at most a DNS label long."""
    suffix = "".join(_RANDOM.choices(_SUFFIX_LETTERS, k=_SUFFIX_LENGTH))
    return prefix[: _MAX_LABEL - _SUFFIX_LENGTH] + suffix


def _string_map(metadata: Object, name: str) -> dict[str, str]:
    """``metadata[name]`` as a map of text, gone when empty; StatusError 400 when it is something else."""
    value = metadata.get(name)
    if not value:
        metadata.pop(name, None)
        return {}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise bad_request(f"metadata.{name} must be a map of text to text")
    return value


def check_shape(obj: Object) -> Object:
    """The object's metadata, made an object if absent; StatusError 400 for metadata of the wrong type."""
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    for field in ("name", "namespace", "generateName", "uid", "resourceVersion"):
        if metadata.get(field) is None:
            metadata.pop(field, None)
        elif not isinstance(metadata[field], str):
            raise bad_request(f"metadata.{field} must be a string")
    _string_map(metadata, "labels")
    _string_map(metadata, "annotations")
    for field, kind in (("finalizers", str), ("ownerReferences", dict)):
        if not metadata.get(field):
            metadata.pop(field, None)
        elif not isinstance(metadata[field], list) or not all(isinstance(x, kind) for x in metadata[field]):
            raise bad_request(f"metadata.{field} must be a list")
    return metadata


def fill_new(obj: Object, namespace: str | None, now: str, *, generation: bool) -> None:
    """Fill in what the server gives to every new object."""
    metadata = obj["metadata"]
    for field in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
        metadata.pop(field, None)
    if namespace:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    metadata["uid"] = str(uuid.UUID(bytes=_RANDOM.randbytes(16), version=4))
    metadata["creationTimestamp"] = now
    if generation:
        metadata["generation"] = 1


_KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "generateName",
         "name", "namespace")  # fmt: skip


def keep_old(obj: Object, old: Object) -> None:
    """Carry over what an update cannot change."""
    metadata, before = obj["metadata"], old["metadata"]
    metadata.pop("selfLink", None)
    for field in _KEPT:
        if field in before:
            metadata[field] = before[field]
        else:
            metadata.pop(field, None)


def errors(obj: Object, old: Object | None) -> list[FieldError]:
    """Faults of labels, annotations, finalizers and owner references."""
    metadata = obj["metadata"]
    found = label_errors(metadata.get("labels") or {}, "metadata.labels")
    size = 0
    for key, value in (metadata.get("annotations") or {}).items():
        size += len(key) + len(value)
        if not LABEL_KEY.fullmatch(key.lower()):
            found.append(bad_value("metadata.annotations", key, "must be a name with an optional DNS prefix and '/'"))
    if size > _MAX_ANNOTATIONS_BYTES:
        found.append(too_long("metadata.annotations", _MAX_ANNOTATIONS_BYTES))
    found += _finalizer_errors(metadata, old)
    found += _owner_errors(metadata.get("ownerReferences") or [])
    return found


def label_errors(labels: dict[str, str], field: str) -> list[FieldError]:
    """Faults of a map of labels."""
    found = []
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key):
            found.append(bad_value(field, key, "must be a name with an optional DNS prefix and '/'"))
        if not isinstance(value, str) or not LABEL_VALUE.fullmatch(value):
            found.append(
                bad_value(
                    field,
                    value,
                    "a label value is empty or at most 63 letters, digits, '-', '_', '.', "
                    "starting and ending with a letter or digit",
                )
            )
    return found


def _finalizer_errors(metadata: Object, old: Object | None) -> list[FieldError]:
    finalizers = metadata.get("finalizers") or []
    found = [
        bad_value("metadata.finalizers", name, "must be a name with an optional DNS prefix and '/'")
        for name in finalizers
        if not LABEL_KEY.fullmatch(name)
    ]
    if old is not None and old["metadata"].get("deletionTimestamp"):
        added = set(finalizers) - set(old["metadata"].get("finalizers") or [])
        if added:
            text = f"no new finalizers can be added while the object is being deleted: {', '.join(sorted(added))}"
            found.append(forbidden_field("metadata.finalizers", text))
    return found


def _owner_errors(owners: list[Any]) -> list[FieldError]:
    found = []
    for at, owner in enumerate(owners):
        found += [
            required(f"metadata.ownerReferences[{at}].{field}", "must not be empty")
            for field in ("apiVersion", "kind", "name", "uid")
            if not isinstance(owner.get(field), str) or not owner[field]
        ]
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        text = "Only one reference can have Controller set to true"
        found.append(bad_value("metadata.ownerReferences", [o.get("name") for o in controllers], text))
    return found

"""Findings -> the status that a policy object carries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from glasshive.api.crd import ANYTHING, STRING, Schema, array
from glasshive.api.policy_reading import ERROR, NEEDS
from glasshive.model.policy import Finding, Rule

Object = dict[str, Any]
_MAX_MESSAGE = 1024

_CONDITION: Schema = {
    "type": "object",
    "required": ["type", "status"],
    "properties": {
        "type": {**STRING, "description": "Valid: the object makes sense. Enforceable: all of it can be enforced."},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it is so."},
        "lastTransitionTime": {"type": "string", "format": "date-time", "description": "When status changed last."},
        "reason": {**STRING, "description": "One word for programs."},
        "message": {**STRING, "description": "What is wrong, where, and what to do."},
        "observedGeneration": {"type": "integer", "description": "The generation that was judged."},
    },
}
STATUS_SCHEMA: Schema = {
    "type": "object",
    "properties": {
        "conditions": {
            **array(_CONDITION),
            "description": "What Glasshive says of the object.",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
        "enforcedGeneration": {
            "type": "integer",
            "description": "The generation that counts: the last one that was valid. Absent: nothing is enforced.",
        },
        "enforcedForm": {
            **ANYTHING,
            "description": "Spec and specs of that generation, where the object says something else by now.",
        },
        "derivativePolicies": {"type": "object", "additionalProperties": ANYTHING},
    },
}


def status_of(
    obj: Object, findings: Sequence[Finding], rules: Iterable[Rule] = (), *, now: str, last_valid: Object | None = None
) -> Object:
    """The status of ``obj`` after reading it; conditions of other types in its status are kept.

    Condition ``Valid`` is False with the first errors, else True (with warnings in its message). ``Enforceable`` is
    False when parts need what is not there (``rules`` with ``needs``), or when the object is not valid. That it is in
    force is not claimed: nobody has looked on every node. ``now`` is an RFC 3339 time, used where a status changes.

    ``enforcedGeneration`` (None: none) is what agents enforce: an object with errors is never enforced in part. If an
    earlier generation of it was valid, that one stays in force, so that its endpoints stay at the stricter of old and
    new; if there is none, nothing of it is enforced, and the message says so. ``enforcedForm`` is what it said
    (``last_valid`` is the object as it was, if it is known), for agents that have not seen it: ``form_in_force``.
    """
    errors = [one for one in findings if one.severity == ERROR]
    needs = sorted({need for rule in rules for need in rule.needs})
    generation = (obj.get("metadata") or {}).get("generation")
    enforced = _enforced_generation(obj) if errors else generation
    fresh = [_valid(errors, findings, enforced), _enforceable(errors, needs)]
    old = {one.get("type"): one for one in _conditions_of(obj)}
    for one in fresh:
        before = old.pop(one["type"], {})
        same = before.get("status") == one["status"] and before.get("lastTransitionTime")
        one["lastTransitionTime"] = before["lastTransitionTime"] if same else now
        if generation is not None:
            one["observedGeneration"] = generation
    earlier = bool(errors) and enforced not in (None, generation)
    form = form_of(last_valid) if last_valid is not None else _status_of(obj).get("enforcedForm")
    return {
        "conditions": [*fresh, *old.values()],
        "enforcedGeneration": enforced,
        "enforcedForm": form if earlier else None,
    }


def form_of(obj: Object) -> Object:
    """What a policy object says, without its name and status."""
    return {name: obj[name] for name in ("spec", "specs") if obj.get(name) is not None}


def form_in_force(obj: Object) -> Object | None:
    """The last valid form of an object that is not valid now, by its status; None if there was none."""
    enforced, form = _enforced_generation(obj), _status_of(obj).get("enforcedForm")
    if enforced is None:
        return None
    if enforced == (obj.get("metadata") or {}).get("generation"):
        return obj  # it has not changed: something that it refers to has
    if not isinstance(form, dict):
        return None
    return {**{name: value for name, value in obj.items() if name not in ("spec", "specs")}, **form}


def _status_of(obj: Object) -> Object:
    """The status; of a file's object nobody has checked that it is one."""
    status = obj.get("status")
    return status if isinstance(status, dict) else {}


def _enforced_generation(obj: Object) -> int | None:
    """What was in force until now."""
    found = _status_of(obj).get("enforcedGeneration")
    return found if isinstance(found, int) else None


def _conditions_of(obj: Object) -> list[Object]:
    """The conditions that the object carries now."""
    found = _status_of(obj).get("conditions")
    listed = found if isinstance(found, list) else []
    return [one for one in listed if isinstance(one, dict) and isinstance(one.get("type"), str)]


def _valid(errors: Sequence[Finding], findings: Sequence[Finding], kept: int | None) -> Object:
    if errors:
        left = "nothing of it is enforced" if kept is None else f"generation {kept} stays enforced"
        return _condition("Valid", "False", "InvalidPolicy", f"{_join(errors)} ({left})")
    text = "Policy validation succeeded"
    return _condition("Valid", "True", "Valid", f"{text}; {_join(findings)}" if findings else text)


def _enforceable(errors: Sequence[Finding], needs: Sequence[str]) -> Object:
    if errors:
        return _condition("Enforceable", "False", "InvalidPolicy", "the object is not valid")
    if needs:
        parts = "; ".join(NEEDS.get(need, need) for need in needs)
        text = f"not enforced here: {parts}. What these rules would allow stays refused"
        return _condition("Enforceable", "False", "PartsNotSupported", text)
    return _condition("Enforceable", "True", "AllParts", "everything that it says can be enforced here")


def _condition(kind: str, status: str, reason: str, message: str) -> Object:
    if len(message) > _MAX_MESSAGE:
        message = message[: _MAX_MESSAGE - 3] + "..."
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _join(findings: Sequence[Finding]) -> str:
    shown = [f"{one.path}: {one.message}" if one.path else one.message for one in findings[:5]]
    more = len(findings) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")

"""The rules of each kind, gathered from the modules that know them: defaults, preparation, validation, admission.

Order of a write: body -> schema (types, unknown fields) -> metadata -> `prepare_new` or `prepare_change` -> `default`
-> `errors` -> admission -> store. All but `errors` may change the object.
"""

from __future__ import annotations

from typing import Any

from . import prepare, validate
from .defaults import DEFAULTS
from .status import FieldError

Object = dict[str, Any]


def default(name: str, obj: Object) -> None:
    """Fill in the values that clients expect to find although nobody wrote them. ``name`` is the group resource."""
    rule = DEFAULTS.get(name)
    if rule is not None:
        rule(obj)


def prepare_new(name: str, obj: Object) -> None:
    """Reset what a creator may not say (status, counters)."""
    rule = prepare.CREATE.get(name)
    if rule is not None:
        rule(obj)


def prepare_change(name: str, obj: Object, old: Object) -> None:
    """Keep what an updater may not change."""
    rule = prepare.UPDATE.get(name)
    if rule is not None:
        rule(obj, old)


def errors(name: str, obj: Object, old: Object | None) -> list[FieldError]:
    """Faults of the object; ``old`` is the version it replaces, None for a new object."""
    rule = validate.VALIDATORS.get(name)
    return rule(obj, old) if rule is not None else []

"""Validation per kind: faults that name the field, in the words of `status`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import crd
from .status import FieldError

Object = dict[str, Any]
Validator = Callable[[Object, Object | None], list[FieldError]]

VALIDATORS: dict[str, Validator] = {
    "customresourcedefinitions.apiextensions.k8s.io": crd.errors,
}

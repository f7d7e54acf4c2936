"""Values against OpenAPI v3 schemas, with faults in the words that kubectl's users know.

A small validator of the structural subset; the `jsonschema` package is slower to import than this server is to start.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson

from .patch_json import equal
from .status import FieldError, bad_value, duplicate, required, unsupported

Object = dict[str, Any]
_MAX_FAULTS = 20
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number",
          type(None): "null"}  # fmt: skip


def faults(spec: Object, value: Any, path: str = "") -> list[FieldError]:
    """What is wrong with ``value``; at most `_MAX_FAULTS` faults."""
    found: list[FieldError] = []
    _check(spec, value, path, found)
    return found[:_MAX_FAULTS]


def type_of(value: Any) -> str:
    """The JSON type's name."""
    return _NAMES.get(type(value), "string")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, (object,)))


def _check(spec: Object, value: Any, path: str, found: list[FieldError]) -> None:
    if len(found) >= _MAX_FAULTS:
        return
    if value is None:
        if not spec.get("nullable") and spec.get("type"):
            found.append(_mistyped(path, "null", str(spec["type"])))
        return
    if spec.get("x-kubernetes-int-or-string"):
        if not _is(value, "integer") and not _is(value, "string"):
            found.append(_mistyped(path, type_of(value), "integer or string"))
            return
    elif spec.get("type") and not _is(value, spec["type"]):
        found.append(_mistyped(path, type_of(value), spec["type"]))
        return
    if "enum" in spec and not any(equal(value, choice) for choice in spec["enum"]):
        found.append(unsupported(path, value, [str(choice) for choice in spec["enum"]]))
    if isinstance(value, str):
        _check_text(spec, value, path, found)
    elif isinstance(value, dict):
        _check_object(spec, value, path, found)
    elif isinstance(value, list):
        _check_list(spec, value, path, found)
    elif not isinstance(value, bool):
        _check_number(spec, value, path, found)
    _check_combined(spec, value, path, found)


def _mistyped(path: str, given: str, wanted: str) -> FieldError:
    return FieldError(
        path or "<nil>",
        "FieldValueTypeInvalid",
        f'Invalid value: "{given}": {path or "the value"} in body must be of type {wanted}: "{given}"',
    )


@lru_cache(maxsize=1024)
def pattern(text: str) -> re.Pattern[str] | None:
    """The compiled pattern, None if this machine's regular expressions do not read it."""
    try:
        return re.compile(text.replace(r"\z", r"\Z"))
    except re.error:
        return None


def _check_text(spec: Object, value: str, path: str, found: list[FieldError]) -> None:
    if len(value) < spec.get("minLength", 0):
        found.append(bad_value(path, value, f"{path} in body should be at least {spec['minLength']} chars long"))
    if "maxLength" in spec and len(value) > spec["maxLength"]:
        found.append(bad_value(path, value, f"{path} in body should be at most {spec['maxLength']} chars long"))
    compiled = pattern(spec["pattern"]) if spec.get("pattern") else None
    if compiled is not None and compiled.search(value) is None:
        found.append(bad_value(path, value, f"{path} in body should match '{spec['pattern']}'"))
    check = _FORMATS.get(spec.get("format", ""))
    if check is not None and not check(value):
        found.append(
            bad_value(path, value, f"{path} in body must be of type {spec['format']}: {orjson.dumps(value).decode()}")
        )


def _check_number(spec: Object, value: float, path: str, found: list[FieldError]) -> None:
    low, high = spec.get("minimum"), spec.get("maximum")
    if low is not None and (value <= low if spec.get("exclusiveMinimum") else value < low):
        word = "greater than" if spec.get("exclusiveMinimum") else "greater than or equal to"
        found.append(bad_value(path, value, f"{path} in body should be {word} {low}"))
    if high is not None and (value >= high if spec.get("exclusiveMaximum") else value > high):
        word = "less than" if spec.get("exclusiveMaximum") else "less than or equal to"
        found.append(bad_value(path, value, f"{path} in body should be {word} {high}"))
    step = spec.get("multipleOf")
    if step and value % step:
        found.append(bad_value(path, value, f"{path} in body should be a multiple of {step}"))


def _check_object(spec: Object, value: Object, path: str, found: list[FieldError]) -> None:
    found += [required(_below(path, name)) for name in spec.get("required") or () if name not in value]
    if len(value) < spec.get("minProperties", 0):
        found.append(
            bad_value(path, len(value), f"{path} in body should have at least {spec['minProperties']} properties")
        )
    if "maxProperties" in spec and len(value) > spec["maxProperties"]:
        found.append(
            bad_value(path, len(value), f"{path} in body should have at most {spec['maxProperties']} properties")
        )
    properties, more = spec.get("properties") or {}, spec.get("additionalProperties")
    for name, item in value.items():
        if name in properties:
            _check(properties[name], item, _below(path, name), found)
        elif isinstance(more, dict):
            _check(more, item, _below(path, name), found)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _check_list(spec: Object, value: list[Any], path: str, found: list[FieldError]) -> None:
    if len(value) < spec.get("minItems", 0):
        found.append(bad_value(path, len(value), f"{path} in body should have at least {spec['minItems']} items"))
    if "maxItems" in spec and len(value) > spec["maxItems"]:
        found.append(
            FieldError(path, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {spec['maxItems']} items")
        )
    items = spec.get("items")
    if isinstance(items, dict):
        for at, item in enumerate(value):
            _check(items, item, f"{path}[{at}]", found)
    keys = spec.get("x-kubernetes-list-map-keys") if spec.get("x-kubernetes-list-type") == "map" else None
    if keys or spec.get("x-kubernetes-list-type") == "set" or spec.get("uniqueItems"):
        seen = set()
        for at, item in enumerate(value):
            identity = {key: item.get(key) for key in keys} if keys and isinstance(item, dict) else item
            text = orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)
            if text in seen:
                found.append(duplicate(f"{path}[{at}]", identity))
            seen.add(text)


def _check_combined(spec: Object, value: Any, path: str, found: list[FieldError]) -> None:
    for below in spec.get("allOf") or ():
        _check(below, value, path, found)
    if spec.get("anyOf") and all(faults(below, value, path) for below in spec["anyOf"]):
        found.append(bad_value(path, value, f"{path} in body must validate at least one schema (anyOf)"))
    if spec.get("oneOf"):
        good = sum(not faults(below, value, path) for below in spec["oneOf"])
        if good != 1:
            found.append(bad_value(path, value, f"{path} in body must validate one and only one schema (oneOf)"))
    if spec.get("not") is not None and not faults(spec["not"], value, path):
        found.append(bad_value(path, value, f"{path} in body must not validate the schema (not)"))


def _is_date_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return "T" in text.upper()


def _is_address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


_FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": _is_date_time,
    "ipv4": lambda text: _is_address(text, 4),
    "ipv6": lambda text: _is_address(text, 6),
    "cidr": _is_cidr,
    "uuid": lambda text: re.fullmatch(r"(?i)[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", text) is not None,
    "uri": lambda text: ":" in text,
}

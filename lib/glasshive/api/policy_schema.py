"""Objects against the schemas of their CustomResourceDefinitions, strictly: unknown fields are named with near ones.

The same schemas tell the API server what to accept; here they let readers rely on the shape of what they read, also for
files that no server has seen. What does not fit is reported and replaced by something that does, so that the rest is
read too: one look finds all faults. ``null`` means absent, as in Kubernetes. ``word`` (a key of ours, not of OpenAPI)
names in messages what a value is; ``schema_of`` removes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from glasshive.api.crd import Schema
from glasshive.api.policy_reading import Reading

WORD = "x-word"
"""What a value is called in messages ("entity")."""
FAIL_CLOSED = "x-fail-closed"
"""Unknown fields of these objects are their reader's matter."""
_OURS = {WORD, FAIL_CLOSED}
_TYPES: dict[str, type] = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
_NAMES = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a fraction",
          type(None): "nothing"}  # fmt: skip


def schema_of(schema: Any) -> Any:
    """The schema without keys that are ours, as the API server gets it."""
    if isinstance(schema, dict):
        return {key: schema_of(value) for key, value in schema.items() if key not in _OURS}
    return [schema_of(one) for one in schema] if isinstance(schema, list) else schema


def said(description: str, schema: Schema, **more: Any) -> Schema:
    """The schema with a description (``kubectl explain``) and further keywords (``_`` for ``-``)."""
    return {**schema, "description": description, **{key.replace("_", "-"): value for key, value in more.items()}}


def structure(description: str, required: tuple[str, ...] = (), /, **fields: Schema) -> Schema:
    """Schema of an object with these fields."""
    found: Schema = {"type": "object", "description": description, "properties": fields}
    return {**found, "required": list(required)} if required else found


def choice(description: str, word: str, *values: str) -> Schema:
    """Schema of one of some words; ``word`` says what they are."""
    return {"type": "string", "description": description, "enum": list(values), WORD: word}


def check(schema: Schema, value: Any, path: str, reading: Reading) -> Any:
    """Report everything about ``value`` that the schema does not allow, and return what can be read in its place."""
    if "x-kubernetes-int-or-string" in schema:
        if type(value) is int or type(value) is str:
            return value
        reading.misshapen(path, f"must be a number or text, is {_name(value)}")
        return 0
    kind = schema["type"]
    if type(value) is _TYPES[kind]:
        return _CHECKS[kind](schema, value, path, reading) if kind in _CHECKS else value
    if kind == "array" and type(value) is _TYPES[schema["items"].get("type")]:
        reading.error(path, f"must be a list, is {_name(value)}: begin the item with a dash")
        return [check(schema["items"], value, f"{path}[0]", reading)]
    reading.misshapen(path, f"must be {_NAMES[_TYPES[kind]]}, is {_name(value)}{_hint(kind, value)}")
    return stand_in(schema)


def stand_in(schema: Schema) -> Any:
    """A value that fits the schema, in place of one that is missing or does not."""
    if "x-kubernetes-int-or-string" in schema:
        return 0
    match schema["type"]:
        case "object":
            known = schema.get("properties") or {}
            return {name: stand_in(known[name]) for name in schema.get("required", ()) if name in known}
        case "array":
            return []
        case "boolean":
            return False
        case "integer":
            return schema.get("minimum", 0)
    return (schema.get("enum") or [""])[0]


def _check_object(schema: Schema, value: dict[Any, Any], path: str, reading: Reading) -> dict[Any, Any]:
    properties = schema.get("properties")
    if properties is None:
        return _check_map(schema, value, path, reading)
    found = {}
    for name, item in value.items():
        if name in properties:
            found[name] = None if item is None else check(properties[name], item, _member(path, name), reading)
        elif FAIL_CLOSED in schema or "x-kubernetes-preserve-unknown-fields" in schema:
            found[name] = item
        else:
            found |= _take_for(properties, name, value, path, reading)
    for name in schema.get("required", ()):
        if found.get(name) is not None:
            continue
        if not reading.doubts(_member(path, name)):
            what = f": {_first(properties[name])}" if name in properties else ""
            reading.misshapen(path, f"{name} is missing{what}", _member(path, name))
        if name in properties:
            found[name] = stand_in(properties[name])
    if "maxProperties" in schema and len(value) > schema["maxProperties"]:
        reading.error(path, f"only one of {', '.join(properties)} may be set, found {', '.join(map(str, value))}")
    if len(value) < schema.get("minProperties", 0) and FAIL_CLOSED not in schema:
        reading.misshapen(path, f"must have {' or '.join(properties)}")
    return found


def _take_for(properties: Schema, name: Any, value: dict[Any, Any], path: str, reading: Reading) -> dict[str, Any]:
    """A field that does not exist, read as the one that was meant, if that can be told: the rest is judged with it."""
    reading.error(below_path(path, name), unknown(name, properties))
    absent = [one for one in near_names(str(name), properties) if value.get(one) is None]
    sure = near_names(str(name), absent, 0.8)[:1]
    item = value[name]
    if not sure or item is None or type(item) is not _TYPES.get(properties[sure[0]].get("type", "")):
        for one in absent:
            reading.doubt(_member(path, one))
        return {}
    meant = _member(path, sure[0])
    reading.spelled[meant] = below_path(path, name)
    return {sure[0]: check(properties[sure[0]], item, meant, reading)}


def _check_map(schema: Schema, value: dict[Any, Any], path: str, reading: Reading) -> dict[Any, Any]:
    item = schema.get("additionalProperties")
    found = {}
    for key, below in value.items():
        if type(key) is not str:
            reading.misshapen(path, f"key {key!r} is {_name(key)}, not text: put it in quotes", f"{path}[{key}]")
        else:
            given = "" if below is None else below
            found[key] = below if item is None else check(item, given, f"{path}[{key}]", reading)
    return found


def _check_list(schema: Schema, value: list[Any], path: str, reading: Reading) -> list[Any]:
    count = len(value)
    if count > schema.get("maxItems", count):
        reading.error(path, f"too many {schema.get(WORD, 'items')}, the max is {schema['maxItems']} (found {count})")
    if count < schema.get("minItems", 0):
        reading.misshapen(path, f"must have at least {schema['minItems']} item")
    items = schema["items"]
    found = []
    for at, item in enumerate(value):
        if item is None:
            reading.misshapen(f"{path}[{at}]", f"is empty: must be {_NAMES[_TYPES[items.get('type', 'string')]]}")
            found.append(stand_in(items))
        else:
            found.append(check(items, item, f"{path}[{at}]", reading))
    return found


def _check_scalar(schema: Schema, value: Any, path: str, reading: Reading) -> Any:
    choices = schema.get("enum")
    if choices is not None and value not in choices:
        near = near_names(str(value), choices)
        choice = f"; did you mean {near[0]}?" if near else f"; one of {', '.join(map(str, choices))}"
        reading.misshapen(path, f"unsupported {schema.get(WORD, 'value')}: {value}{choice}")
        return (near or choices)[0]
    if isinstance(value, str):
        pattern = schema.get("pattern")
        if pattern is not None and not _compiled(pattern).search(value):
            reading.misshapen(path, f"{value!r} is not {schema.get(WORD, f'of the form {pattern}')}")
        if len(value) > schema.get("maxLength", 1 << 20):
            reading.misshapen(path, f"is longer than {schema['maxLength']} characters")
        if len(value) < schema.get("minLength", 0):
            reading.misshapen(path, "may not be empty")
    elif not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        what = schema.get(WORD, "value")
        reading.misshapen(
            path, f"{what} {value} is out of range ({schema.get('minimum', 0)} to {schema.get('maximum')})"
        )
    return value


def _member(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


_CHECKS: dict[str, Callable[[Schema, Any, str, Reading], Any]] = {
    "object": _check_object,
    "array": _check_list,
    "string": _check_scalar,
    "integer": _check_scalar,
}


def unknown(name: Any, known: Iterable[str]) -> str:
    """What to say of a field that does not exist here."""
    near = near_names(str(name), known)
    return f"unknown field {name!r}" + (f": did you mean {' or '.join(near)}?" if near else "")


def near_names(name: str, known: Iterable[Any], likeness: float = 0.6) -> list[str]:
    """At most two known names that look like ``name`` or, if none is much like it, end with it; nearest first."""
    import difflib  # for mistakes only: agents start without it

    folded = {str(one).lower(): str(one) for one in known}
    near = difflib.get_close_matches(name.lower(), folded, 2, likeness)
    if not difflib.get_close_matches(name.lower(), near, 1, 0.8) and len(name) > 3:
        near += [one for one in folded if one.endswith(name.lower()) and one not in near]
    return [folded[one] for one in near[:2]]


def below_path(path: str, name: Any) -> str:
    """Path of a field; names that hold dots or the like are put in brackets."""
    text = str(name)
    if not re.fullmatch(r"[A-Za-z_][\w-]*", text):
        return f"{path}[{text}]"
    return f"{path}.{text}" if path else text


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _name(value: Any) -> str:
    return _NAMES.get(type(value), type(value).__name__)


def _hint(wanted: str, value: Any) -> str:
    if wanted == "string" and isinstance(value, bool):
        return ": put it in quotes"
    if wanted == "string" and isinstance(value, int | float):
        return f': write "{value}" in quotes'
    if wanted == "integer" and isinstance(value, str) and value.isdigit():
        return f": write {value} without quotes"
    return ""


def _first(schema: Schema) -> str:
    return str(schema.get("description", "it is required")).split(". ")[0].rstrip(".")

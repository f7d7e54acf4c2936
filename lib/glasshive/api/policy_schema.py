"""Objects against the schemas of their CustomResourceDefinitions, strictly: unknown fields are named with near ones.

The same schemas tell the API server what to accept; here they let readers rely on the shape of what they read, also for
files that no server has seen. ``null`` means absent, as in Kubernetes. ``word`` (a key of ours, not of OpenAPI) names
in messages what a value is; ``schema_of`` removes it.
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


def check(schema: Schema, value: Any, path: str, reading: Reading) -> None:
    """Report everything about ``value`` that the schema does not allow."""
    if "x-kubernetes-int-or-string" in schema:
        if type(value) is not int and type(value) is not str:
            reading.misshapen(path, f"must be a number or text, is {_name(value)}")
        return
    kind = schema["type"]
    if type(value) is not _TYPES[kind]:
        reading.misshapen(path, f"must be {_NAMES[_TYPES[kind]]}, is {_name(value)}{_hint(kind, value)}")
    elif kind in _CHECKS:
        _CHECKS[kind](schema, value, path, reading)


def _check_object(schema: Schema, value: dict[Any, Any], path: str, reading: Reading) -> None:
    properties = schema.get("properties")
    if properties is None:
        _check_map(schema, value, path, reading)
        return
    for name, item in value.items():
        below = properties.get(name)
        if below is None:
            if FAIL_CLOSED not in schema and "x-kubernetes-preserve-unknown-fields" not in schema:
                reading.error(below_path(path, name), unknown(name, properties))
        elif item is not None:
            check(below, item, f"{path}.{name}" if path else name, reading)
    for name in schema.get("required", ()):
        if value.get(name) is None:
            reading.misshapen(
                path, f"{name} is missing" + (f": {_first(properties[name])}" if name in properties else "")
            )
    if "maxProperties" in schema and len(value) > schema["maxProperties"]:
        reading.misshapen(path, f"only one of {', '.join(properties)} may be set, found {', '.join(map(str, value))}")
    if len(value) < schema.get("minProperties", 0) and FAIL_CLOSED not in schema:
        reading.misshapen(path, f"must have {' or '.join(properties)}")


def _check_map(schema: Schema, value: dict[Any, Any], path: str, reading: Reading) -> None:
    item = schema.get("additionalProperties")
    for key, below in value.items():
        if type(key) is not str:
            reading.misshapen(path, f"key {key!r} is {_name(key)}, not text: put it in quotes")
        elif item is not None:
            check(item, "" if below is None else below, f"{path}[{key}]", reading)


def _check_list(schema: Schema, value: list[Any], path: str, reading: Reading) -> None:
    count = len(value)
    if count > schema.get("maxItems", count):
        reading.misshapen(
            path, f"too many {schema.get(WORD, 'items')}, the max is {schema['maxItems']} (found {count})"
        )
    if count < schema.get("minItems", 0):
        reading.misshapen(path, f"must have at least {schema['minItems']} item")
    items = schema["items"]
    for at, item in enumerate(value):
        if item is None:
            reading.misshapen(f"{path}[{at}]", f"is empty: must be {_NAMES[_TYPES[items.get('type', 'string')]]}")
        else:
            check(items, item, f"{path}[{at}]", reading)


def _check_scalar(schema: Schema, value: Any, path: str, reading: Reading) -> None:
    choices = schema.get("enum")
    if choices is not None and value not in choices:
        near = near_names(str(value), choices)
        choice = f"; did you mean {near[0]}?" if near else f"; one of {', '.join(map(str, choices))}"
        reading.misshapen(path, f"unsupported {schema.get(WORD, 'value')}: {value}{choice}")
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


_CHECKS: dict[str, Callable[[Schema, Any, str, Reading], None]] = {
    "object": _check_object,
    "array": _check_list,
    "string": _check_scalar,
    "integer": _check_scalar,
}


def unknown(name: Any, known: Iterable[str]) -> str:
    """What to say of a field that does not exist here."""
    near = near_names(str(name), known)
    return f"unknown field {name!r}" + (f": did you mean {' or '.join(near)}?" if near else "")


def near_names(name: str, known: Iterable[Any]) -> list[str]:
    """At most two known names that look like ``name``, nearest first."""
    import difflib  # for mistakes only: agents start without it

    folded = {str(one).lower(): str(one) for one in known}
    return [folded[one] for one in difflib.get_close_matches(name.lower(), folded, 2, 0.6)]


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
    return ": begin the item with a dash" if wanted == "array" and isinstance(value, dict | str) else ""


def _first(schema: Schema) -> str:
    return str(schema.get("description", "it is required")).split(". ")[0].rstrip(".")

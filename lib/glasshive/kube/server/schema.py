"""Schemas as trees of `Node`: one form for built-ins (from ``schema.json``) and custom resources (``structural``).

A node says what may stand at a place (types, fields) and how values there merge. `check_fields` cleans an object that a
client sent: wrong types are refused, unknown fields reported and dropped.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from .schema_lists import ATOMIC, LIST_KEYS, MERGE_KEYS
from .status import FieldError, StatusError, bad_request, required

if TYPE_CHECKING:
    from .call import Call

Object = dict[str, Any]
_FILE = Path(__file__).with_name("schema.json")
QUANTITY = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
_INT64 = 1 << 63


class Node:
    """One place in a schema.

    ``kind``: ``object`` (known fields), ``map`` (free keys), ``list``, a scalar (``str int bool float time bytes
    intstr quantity``) or ``any``. ``item`` describes the values of a map or the items of a list. ``keys`` tell list
    items apart (("",): plain values form a set; (): the list is replaced as a whole). ``merge_key`` is the same for
    strategic merge patches (None: replaced). ``atomic``: an object or map that is replaced as a whole.
    ``keep_unknown``: fields that are not named are kept.
    """

    __slots__ = ("_codes", "_fields", "atomic", "item", "keep_unknown", "keys", "kind", "merge_key", "name", "required")

    def __init__(
        self,
        kind: str,
        *,
        name: str = "",
        item: Node | None = None,
        keys: tuple[str, ...] = (),
        merge_key: str | None = None,
        atomic: bool = False,
        keep_unknown: bool = False,
        fields: dict[str, Node] | None = None,
        codes: dict[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.name = name
        self.item = item
        self.keys = keys
        self.merge_key = merge_key
        self.atomic = atomic
        self.keep_unknown = keep_unknown
        self._fields = fields
        self._codes = codes
        self.required = tuple(f for f, code in (codes or {}).items() if code.endswith("!"))

    @property
    def fields(self) -> dict[str, Node]:
        """The known fields of an object."""
        if self._fields is None:
            codes = self._codes or {}
            self._fields = {field: _node(code.rstrip("!"), f"{self.name}.{field}") for field, code in codes.items()}
        return self._fields

    def child(self, key: str) -> Node:
        """The node of a field, `ANY` if nothing is known of it."""
        if self.kind == "object":
            return self.fields.get(key, ANY)
        return self.item if self.kind == "map" and self.item is not None else ANY


ANY = Node("any", keep_unknown=True)


@cache
def _file() -> dict[str, Any]:
    content: dict[str, Any] = orjson.loads(_FILE.read_bytes())
    return content


@cache
def _type(name: str) -> Node:
    return Node("object", name=name, codes=_file()["types"][name], atomic=name in ATOMIC)


def _node(code: str, place: str) -> Node:
    if code.startswith("["):
        item = _node(code[1:], place + "[]")
        return Node("list", item=item, keys=LIST_KEYS.get(place, ()), merge_key=MERGE_KEYS.get(place))
    if code.startswith("{"):
        return Node("map", item=_node(code[1:], place + "{}"), atomic=place in ATOMIC)
    if code[0].isupper():
        return _type(code)
    return ANY if code == "any" else _scalar(code)


@cache
def _scalar(code: str) -> Node:
    return Node(code)


def builtin(api_version: str, kind: str) -> Node | None:
    """The schema of a built-in kind, None if it has none."""
    name = _file()["kinds"].get(f"{api_version}/{kind}")
    return _type(name) if name else None


def metadata() -> Node:
    """The schema of ObjectMeta."""
    return _type("V1ObjectMeta")


class TypeFault(Exception):  # noqa: N818 - not an error of the caller's making: caught and turned into a Status
    """A value of the wrong type; the text names the place."""


_WORDS = {
    bool: "bool",
    str: "string",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}
_EXPECTED = {"str": "string", "bool": "boolean", "int": "integer", "float": "number", "intstr": "integer or string",
             "time": "time (RFC 3339)", "bytes": "base64 text", "quantity": "quantity"}  # fmt: skip


def check_fields(node: Node | None, obj: Object, call: Call) -> None:
    """Clean ``obj`` by its schema: nulls go, unknown fields go and are reported as the client wants it.

    StatusError 400 for a value of the wrong type, and for unknown fields when the client asked for Strict.
    """
    if node is None:
        return
    unknown: list[str] = []
    resource = call.served.resource
    if call.served.custom is not None:
        from .structural import prune

        where = f"{resource.kind} cannot be read"
        unknown = list(prune(node, obj))
        metadata_node = node.child("metadata")
        try:
            _clean(metadata_node, obj["metadata"], "metadata", unknown)
        except TypeFault as fault:
            raise bad_request(f"{where}: {fault}") from None
        if unknown:
            report_unknown(unknown, where, call)
        return
    where = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
    try:
        _clean(node, obj, "", unknown)
    except TypeFault as fault:
        raise bad_request(f"{where}: {fault}") from None
    if unknown:
        report_unknown(unknown, where, call)


def report_unknown(unknown: list[str], where: str, call: Call) -> None:
    """Refuse, warn of, or ignore unknown fields."""
    texts = [f'unknown field "{name}"' for name in unknown]
    match call.field_validation:
        case "Strict":
            raise StatusError(400, "BadRequest", f"{where}: strict decoding error: {', '.join(texts)}")
        case "Warn":
            call.warnings += texts


def _clean(node: Node, value: Any, path: str, unknown: list[str]) -> Any:
    """Check ``value`` in place; returns it, or what stands for it (a quantity given as a number becomes text)."""
    kind = node.kind
    if kind == "object":
        if type(value) is not dict:
            raise _fault(path, "object", value)
        fields = node.fields
        for key in list(value):
            below = fields.get(key)
            if below is None:
                if not node.keep_unknown:
                    unknown.append(f"{path}.{key}" if path else key)
                    del value[key]
            elif value[key] is None:
                del value[key]
            else:
                value[key] = _clean(below, value[key], f"{path}.{key}" if path else key, unknown)
        return value
    if kind == "list":
        if type(value) is not list or node.item is None:
            raise _fault(path, "array", value)
        value[:] = [_clean(node.item, item, f"{path}[{at}]", unknown) for at, item in enumerate(value)]
        return value
    if kind == "map":
        if type(value) is not dict or node.item is None:
            raise _fault(path, "object", value)
        for key in list(value):
            if value[key] is None:
                value[key] = _ZERO.get(node.item.kind)
            if value[key] is None:
                del value[key]
            else:
                value[key] = _clean(node.item, value[key], f"{path}.{key}", unknown)
        return value
    return value if kind == "any" else _check_scalar(kind, value, path)


#: What a null value of a map stands for; other kinds of values are left out.
_ZERO: dict[str, Any] = {"str": "", "bytes": "", "quantity": "0"}


def _check_scalar(kind: str, value: Any, path: str) -> Any:
    given = type(value)
    fits = True
    if kind == "str":
        fits = given is str
    elif kind == "bool":
        fits = given is bool
    elif kind == "int":
        fits = given is int and -_INT64 <= value < _INT64
    elif kind == "float":
        fits = given is int or given is float
    elif kind == "intstr":
        fits = given is int or given is str
    elif kind == "quantity":
        if given is int or given is float:
            return str(value)
        fits = given is str and QUANTITY.fullmatch(value) is not None
    elif kind == "bytes":
        fits = given is str and _is_base64(value)
    elif kind == "time":
        fits = given is str and _is_time(value)
    if not fits:
        raise _fault(path, _EXPECTED[kind], value)
    return value


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _is_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _fault(path: str, expected: str, value: Any) -> TypeFault:
    shown = orjson.dumps(value).decode() if isinstance(value, str | int | float) else _WORDS.get(type(value), "value")
    return TypeFault(f"{path or 'the body'}: expected {expected}, got {shown}")


#: Types whose schema calls more required than the upstream server insists on.
_LENIENT = frozenset({"CoreV1Event", "EventsV1Event", "CoreV1EndpointPort", "V1HTTPHeader", "V1ControllerRevision"})


def missing(node: Node, value: Any, path: str = "") -> Iterator[FieldError]:
    """Required fields that are absent; what is below ``status`` is its writer's own matter."""
    if node.kind == "object" and isinstance(value, dict):
        if node.name not in _LENIENT:
            for field in node.required:
                if value.get(field) in (None, ""):
                    yield required(f"{path}.{field}" if path else field)
        fields = node.fields
        for key, below in value.items():
            child = fields.get(key)
            if child is not None and child.kind in {"object", "list", "map"} and not (not path and key == "status"):
                yield from missing(child, below, f"{path}.{key}" if path else key)
    elif node.kind == "list" and isinstance(value, list) and node.item is not None:
        for at, item in enumerate(value):
            yield from missing(node.item, item, f"{path}[{at}]")
    elif node.kind == "map" and isinstance(value, dict) and node.item is not None:
        for key, item in value.items():
            yield from missing(node.item, item, f"{path}[{key}]")

"""Sets of fields: which leaves an object has, and how ``managedFields`` writes them down.

A path is a tuple of elements: ``f:NAME`` for a field or a key of a map, ``k:{...}`` for a list item told apart by
keys, ``v:VALUE`` for an item of a set. Leaves are scalars, empty containers, values that are replaced as a whole,
and, to mark that they are there, keyed list items themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from .schema import ANY, Node
from .schema_lists import KEY_DEFAULTS

Object = dict[str, Any]
Path = tuple[str, ...]
Leaves = dict[Path, Any]

#: Stands for the value of a keyed list item, which is told field by field.
PRESENT = object()


def leaves(node: Node, value: Any) -> Leaves:
    """All leaves of ``value`` with their values."""
    found: Leaves = {}
    _collect(node, value, (), found)
    return found


def _collect(node: Node, value: Any, path: Path, found: Leaves) -> None:
    if isinstance(value, dict) and value and not node.atomic and node.kind in {"object", "map", "any"}:
        for key, below in value.items():
            _collect(node.child(key), below, (*path, "f:" + key), found)
    elif isinstance(value, list) and value and node.keys:
        for item in value:
            place = (*path, item_element(node, item))
            found[place] = PRESENT
            if isinstance(item, dict):
                _collect(node.item or ANY, item, place, found)
    else:
        found[path] = value


def item_element(node: Node, item: Any) -> str:
    """The path element of a list item."""
    if node.keys == ("",) or not isinstance(item, dict):
        return "v:" + _text(item)
    identity = {key: item.get(key, KEY_DEFAULTS.get(key)) for key in node.keys}
    return "k:" + _text({key: value for key, value in identity.items() if value is not None})


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def to_fields_v1(paths: Iterable[Path]) -> Object:
    """The nested form that ``managedFields`` holds."""
    root: Object = {}
    # The longest first: a path that has others below it needs a mark of its own.
    for path in sorted(paths, key=lambda path: (-len(path), path)):
        place = root
        for element in path:
            place = place.setdefault(element, {})
        if place or path[-1].startswith("k:"):
            place["."] = {}
    return root


def of_fields_v1(fields: Any) -> set[Path]:
    """The paths of the nested form; what is not of that form is left out."""
    found: set[Path] = set()

    def walk(place: Any, path: Path) -> None:
        if not isinstance(place, dict):
            return
        if path and (not place or "." in place):
            found.add(path)
        for element, below in place.items():
            if element != "." and element[:2] in {"f:", "k:", "v:", "i:"}:
                walk(below, (*path, element))

    walk(fields, ())
    return found


def shown(path: Path) -> str:
    """The path as messages write it: ``.spec.containers[name="a"].image``."""
    text = ""
    for element in path:
        kind, rest = element[:2], element[2:]
        if kind == "f:":
            text += "." + rest
        elif kind == "v:":
            text += f"[={rest}]"
        else:
            keys = orjson.loads(rest)
            text += "[" + ",".join(f"{key}={_text(value)}" for key, value in keys.items()) + "]"
    return text

"""Strategic merge patch: like a merge patch, but lists with a merge key merge item by item.

Directives inside a patch: ``$patch: replace|delete|merge`` in an object, ``$retainKeys`` in an object,
``$setElementOrder/FIELD`` and ``$deleteFromPrimitiveList/FIELD`` beside a list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .schema import ANY, Node
from .status import StatusError, bad_request

Object = dict[str, Any]
_ORDER, _DELETE = "$setElementOrder/", "$deleteFromPrimitiveList/"
_PATCH, _RETAIN = "$patch", "$retainKeys"


def strategic_patch(node: Node, target: Object, patch: Object) -> Object:
    """The result of merging ``patch`` into ``target``, whose schema is ``node``. Neither is changed."""
    return _merge_object(node, target, patch)


def _merge_object(node: Node, target: Object, patch: Object) -> Object:
    directive = patch.get(_PATCH)
    if directive == "delete":
        return {}
    if directive == "replace":
        return {key: _plain(value) for key, value in patch.items() if key != _PATCH and value is not None}
    if directive not in (None, "merge"):  # a tuple: what a client sent may not be hashable
        raise bad_request(f"unknown $patch directive {directive!r}; it may be replace, delete or merge")
    result = dict(target)
    retain = patch.get(_RETAIN)
    if isinstance(retain, list):
        result = {key: value for key, value in result.items() if key in retain}
    for key, value in patch.items():
        if key.startswith(_DELETE):
            field = key[len(_DELETE) :]
            gone = value if isinstance(value, list) else []
            result[field] = [item for item in result.get(field) or [] if item not in gone]
        elif key in {_PATCH, _RETAIN} or key.startswith(_ORDER):
            continue
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(node.child(key), result.get(key), value)
    for key, order in patch.items():
        if key.startswith(_ORDER) and isinstance(order, list):
            field = key[len(_ORDER) :]
            if isinstance(result.get(field), list):
                key_of = _identity(node.child(field).merge_key or "")
                had = [key_of(item) for item in target.get(field) or []]
                result[field] = reorder(key_of, result[field], [key_of(item) for item in order], had)
    return result


def _merge(node: Node, target: Any, patch: Any) -> Any:
    if isinstance(patch, dict):
        return _merge_object(node, target if isinstance(target, dict) else {}, patch)
    if isinstance(patch, list):
        if node.merge_key is None:
            return [_plain(item) for item in patch]
        current = target if isinstance(target, list) else []
        if node.merge_key == "":
            return current + [item for at, item in enumerate(patch) if item not in current and item not in patch[:at]]
        return _merge_list(node.item or ANY, node.merge_key, current, patch)
    return patch


def _merge_list(node: Node, key: str, target: list[Any], patch: list[Any]) -> list[Any]:
    if any(not isinstance(item, dict) for item in patch):
        raise bad_request(f"items of a list that merges by {key} must be objects")
    if any(item.get(_PATCH) == "replace" and len(item) == 1 for item in patch):
        return [_plain(item) for item in patch if item != {_PATCH: "replace"}]
    result = list(target)
    for item in patch:
        if key not in item:
            text = f"map: {item} does not contain declared merge key: {key}"
            raise StatusError(400, "BadRequest", text)
        at = next((i for i, old in enumerate(result) if isinstance(old, dict) and old.get(key) == item[key]), None)
        if item.get(_PATCH) == "delete":
            result = [old for old in result if not (isinstance(old, dict) and old.get(key) == item[key])]
        elif at is None:
            result.append(_merge_object(node, {}, item))
        else:
            result[at] = _merge_object(node, result[at], item)
    return result


def _identity(key: str) -> Callable[[Any], Any]:
    return lambda item: item.get(key) if key and isinstance(item, dict) else item


def _index(order: list[Any], item: Any) -> int:
    return order.index(item) if item in order else -1


def reorder(key_of: Callable[[Any], Any], items: list[Any], wanted: list[Any], had: list[Any]) -> list[Any]:
    """``items`` in the order ``wanted``; those not named there keep their place relative to it.

    ``wanted`` and ``had`` (the order before) hold what ``key_of`` gives for an item.
    """
    named = [item for item in items if key_of(item) in wanted]
    others = [item for item in items if key_of(item) not in wanted]
    named.sort(key=lambda item: wanted.index(key_of(item)))
    others.sort(key=lambda item: _index(had, key_of(item)))
    result: list[Any] = []
    while named and others:
        left, right = _index(had, key_of(others[0])), _index(had, key_of(named[0]))
        result.append(others.pop(0) if 0 <= left < right else named.pop(0))
    return result + others + named


def _plain(value: Any) -> Any:
    """A value of a patch without nulls and directives: what it adds where there was nothing."""
    if isinstance(value, dict):
        return {
            key: _plain(item) for key, item in value.items()
            if item is not None and not key.startswith(("$patch", _RETAIN, _ORDER, _DELETE))
        }  # fmt: skip
    return [_plain(item) for item in value] if isinstance(value, list) else value

"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386) on plain JSON values."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from .status import StatusError, bad_request

#: Operations that one JSON patch may hold (the upstream server's limit).
MAX_OPERATIONS = 10_000


def merge_patch(target: Any, patch: Any) -> Any:
    """The result of merging ``patch`` into ``target``: null removes, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(target: Any, operations: Any) -> Any:
    """The result of applying a list of operations; ``target`` is not changed.

    StatusError 400 for a patch that is not one, 422 for one that cannot be applied.
    """
    if not isinstance(operations, list):
        raise bad_request("a JSON patch must be a list of operations")
    if len(operations) > MAX_OPERATIONS:
        text = f"the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}"
        raise StatusError(413, "RequestEntityTooLarge", text)
    document = deepcopy(target)
    for operation in operations:
        document = _apply(document, operation)
    return document


def _apply(document: Any, operation: Any) -> Any:
    if not isinstance(operation, dict) or not isinstance(operation.get("op"), str):
        raise bad_request("a JSON patch operation must be an object with op and path")
    op, path = operation["op"], _pointer(operation.get("path"))
    if op in {"add", "replace", "test"} and "value" not in operation:
        raise bad_request(f"JSON patch operation {op} needs a value")
    match op:
        case "add":
            return _add(document, path, deepcopy(operation["value"]))
        case "remove":
            return _remove(document, path)
        case "replace":
            return _replace(document, path, deepcopy(operation["value"]))
        case "test":
            if not equal(_get(document, path), operation["value"]):
                raise _refused(f"testing value {operation['path']} failed")
            return document
        case "copy":
            return _add(document, path, deepcopy(_get(document, _pointer(operation.get("from")))))
        case "move":
            source = _pointer(operation.get("from"))
            if path[: len(source)] == source and path != source:
                raise _refused("cannot move a value into itself")
            value = _get(document, source)
            return _add(_remove(document, source), path, value)
    raise bad_request(f"unknown JSON patch operation {op!r}")


def equal(left: Any, right: Any) -> bool:
    """JSON equality: true is not 1, but 1 is 1.0."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


def _refused(why: str) -> StatusError:
    return StatusError(422, "Invalid", f"the server rejected our request due to an error in our request: {why}")


def _pointer(text: Any) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise bad_request(f"JSON patch path {text!r} is not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _index(container: list[Any], part: str, limit: int) -> int:
    if not part.isascii() or not part.isdigit() or (part != "0" and part.startswith("0")) or int(part) >= limit:
        raise _refused(f"index {part!r} is not in a list of {len(container)}")
    return int(part)


def _get(document: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(document, list):
            document = document[_index(document, part, len(document))]
        elif isinstance(document, dict) and part in document:
            document = document[part]
        else:
            raise _refused(f"the path /{'/'.join(path)} does not exist")
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(parent, last, len(parent) + 1), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise _refused(f"the path /{'/'.join(path)} does not lead into an object or a list")
    return document


def _remove(document: Any, path: list[str]) -> Any:
    if not path:
        raise _refused("cannot remove the whole document")
    _get(document, path)
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        del parent[int(last)]
    else:
        del parent[last]
    return document


def _replace(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    _get(document, path)
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent[int(last)] = value
    else:
        parent[last] = value
    return document

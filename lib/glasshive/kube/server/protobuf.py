"""Built-in objects in the protobuf form, which clients written in Go send; read into the same dictionaries as JSON.

A body is the four bytes ``k8s\\0`` and an envelope (apiVersion, kind, the object's bytes). Field numbers come from
``protobuf.json`` (see ``protobuf_build``). Answers are always JSON, which those clients accept as well.

Source: the encoding at https://protobuf.dev/programming-guides/encoding/ (wire types 0, 1, 2 and 5, little-endian).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from .status import bad_request

Object = dict[str, Any]
Value = int | bytes
_MAGIC = b"k8s\0"
_FILE = Path(__file__).with_name("protobuf.json")
_MAX_DEPTH = 64


@cache
def _file() -> dict[str, Any]:
    content: dict[str, Any] = orjson.loads(_FILE.read_bytes())
    return content


def parse(body: bytes) -> Object:
    """The object in a protobuf body; StatusError 400 when it cannot be read."""
    if not body.startswith(_MAGIC):
        raise bad_request("the body is not in the protobuf form of Kubernetes: it does not begin with k8s and a zero")
    try:
        envelope = dict(_fields(body[len(_MAGIC) :]))
        named = {n: _bytes(v).decode() for n, v in _fields(_bytes(envelope.get(1, b"")))}
        api_version, kind = named.get(1, ""), named.get(2, "")
        name = _file()["kinds"].get(f"{api_version}/{kind}")
        if name is None:
            raise bad_request(f'the protobuf form of kind "{kind}" in version "{api_version}" is not known')
        obj = _message(name, _bytes(envelope.get(2, b"")), 0)
    except (IndexError, ValueError, struct.error, OverflowError) as error:
        raise bad_request(f"the body is not a readable protobuf message: {error}") from None
    return {"apiVersion": api_version, "kind": kind, **obj}


def _bytes(value: Value) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where bytes should")  # noqa: TRY004 - one kind of error for what is unreadable
    return value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is longer than 64 bits")


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Number and raw value of each field of a message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in {1, 5}:
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} is not used")
        if at + size > len(data):
            raise ValueError("the message ends too early")
        yield number, data[at : at + size]
        at += size


def _message(name: str, data: bytes, depth: int) -> Object:
    if depth > _MAX_DEPTH:
        raise ValueError("the message is nested too deeply")
    fields = _file()["types"][name]
    obj: Object = {}
    for number, raw in _fields(data):
        field, code = fields.get(str(number), ("", "skip"))
        optional, code = code.startswith("?"), code.lstrip("?")
        if code == "skip":
            continue
        if not field:
            obj |= _message(code, _bytes(raw), depth + 1)
        elif code.startswith("["):
            obj.setdefault(field, []).extend(_items(code[1:], raw, depth))
        elif code.startswith("{"):
            pair = dict(_fields(_bytes(raw)))
            key = _bytes(pair.get(1, b"")).decode()
            obj.setdefault(field, {})[key] = _value(code[1:], pair.get(2, b""), depth)
        else:
            value = _value(code, raw, depth)
            if value is not None and (value or not optional):
                obj[field] = value
    return obj


def _items(code: str, raw: Value, depth: int) -> list[Any]:
    """One item of a repeated field, or all of them when numbers are packed."""
    if code in {"int", "bool"} and isinstance(raw, bytes):
        found, at = [], 0
        while at < len(raw):
            number, at = _varint(raw, at)
            found.append(_value(code, number, depth))
        return found
    return [_value(code, raw, depth)]


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _value(code: str, raw: Value, depth: int) -> Any:
    if code in {"int", "bool"}:
        number = raw if isinstance(raw, int) else 0
        return bool(number) if code == "bool" else _signed(number)
    data = _bytes(raw)
    match code:
        case "str":
            return data.decode()
        case "bytes":
            return base64.b64encode(data).decode()
        case "float":
            return struct.unpack("<d" if len(data) == 8 else "<f", data)[0]
        case "quantity":
            return _bytes(dict(_fields(data)).get(1, b"")).decode() or "0"
        case "raw":
            return orjson.loads(_bytes(dict(_fields(data)).get(1, b"null")))
        case "time" | "micro":
            return _time(dict(_fields(data)), micro=code == "micro")
        case "intstr":
            parts = dict(_fields(data))
            return _bytes(parts.get(3, b"")).decode() if parts.get(1) else _value("int", parts.get(2, 0), depth)
    return _message(code, data, depth + 1)


def _time(parts: dict[int, Value], *, micro: bool) -> str | None:
    """RFC 3339, None for the zero time, which is written as nothing."""
    seconds, nanos = (_value("int", parts.get(n, 0), 0) for n in (1, 2))
    if not seconds and not nanos:
        return None
    stamp = datetime.fromtimestamp(seconds, UTC)
    if not micro:
        return stamp.strftime("%Y-%m-%dT%H:%M:%SZ")
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.") + f"{nanos // 1000:06d}Z"

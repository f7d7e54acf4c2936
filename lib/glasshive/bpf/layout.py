"""From BTF types to numpy dtypes, and from Python values to arrays of them.

A struct becomes a structured dtype with the C offsets, a union overlapping fields, an anonymous member its fields,
``__be16/32/64`` big-endian integers, a char array a byte string. Bit fields keep their room but get no field: numpy has
no such thing. Void tails (flexible arrays) are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from glasshive.bpf.btf import INT_BOOL, INT_CHAR, INT_SIGNED, MODIFIERS, Btf, Kind
from glasshive.errors import UsageError

Records: TypeAlias = npt.NDArray[Any]
"""A one-dimensional array whose elements are map keys, map values or event records."""

_BIG_ENDIAN = {"__be16", "__be32", "__be64"}


def dtype(btf: Btf, type_id: int) -> np.dtype[Any]:
    """Make the numpy dtype of a BTF type. Raises UsageError for what has no size (void, functions)."""
    big = False
    found = btf.types[type_id]
    while found.kind in MODIFIERS:
        big = big or (found.kind == Kind.TYPEDEF and found.name in _BIG_ENDIAN)
        found = btf.types[found.target]
    match found.kind:
        case Kind.INT:
            return _integer(found.size, found.encoding, big)
        case Kind.FLOAT:
            return np.dtype(f"f{found.size}")
        case Kind.PTR:
            return np.dtype("u8")
        case Kind.ENUM | Kind.ENUM64:
            return np.dtype(f"{'i' if found.signed else 'u'}{found.size}")
        case Kind.ARRAY:
            return _array(btf, found.target, found.count)
        case Kind.STRUCT | Kind.UNION:
            return _struct(found.size, _fields(btf, found.id, 0))
        case Kind.DATASEC:
            rows = [(btf.types[v.type_id].name, btf.types[v.type_id].target, v.offset) for v in found.variables]
            return _struct(found.size, [(name, dtype(btf, target), at) for name, target, at in rows])
    raise UsageError(f"BTF type {found.name or found.id} ({found.kind.name.lower()}) has no layout")


def dtype_of(btf: Btf, name: str) -> np.dtype[Any]:
    """Make the dtype of the struct, union, enum or typedef of that C name."""
    kinds = (Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.TYPEDEF)
    return dtype(btf, btf.find(name, *kinds).id)


def element_dtype(btf: Btf | None, type_id: int, size: int) -> np.dtype[Any]:
    """Make the dtype of a map's key or value: always ``size`` bytes, raw bytes where BTF is missing or disagrees.

    A bare C array gets one field ``elements``, since an array dtype would melt into the shape of every array made.
    """
    made = np.dtype("V0")
    if btf is not None and type_id:
        made = dtype(btf, type_id)
    if made.subdtype is not None:
        made = np.dtype([("elements", made)])
    if made.itemsize == size:
        return made
    return np.dtype(f"u{size}") if size in (1, 2, 4, 8) else np.dtype(f"V{size}")


def _integer(size: int, encoding: int, big: bool) -> np.dtype[Any]:
    if size == 16:
        return np.dtype(("u8", (2,)))
    if encoding & INT_BOOL:
        return np.dtype("?")
    kind = "i" if encoding & INT_SIGNED else "u"
    return np.dtype(f"{'>' if big else '='}{kind}{size}")


def _array(btf: Btf, target: int, count: int) -> np.dtype[Any]:
    element = btf.resolve(target)
    # Plain ``char`` is signed or marked as CHAR; ``unsigned char`` is a number.
    named = element.name == "char" or element.encoding & INT_CHAR
    if element.kind == Kind.INT and element.size == 1 and named:
        return np.dtype(f"S{count}")
    return np.dtype((dtype(btf, target), (count,)))


def _fields(btf: Btf, struct_id: int, base: int) -> Iterator[tuple[str, np.dtype[Any], int]]:
    for member in btf.types[struct_id].members:
        if member.bits or member.bit_offset % 8:
            continue
        at = base + member.bit_offset // 8
        resolved = btf.resolve(member.type_id)
        if not member.name and resolved.kind in (Kind.STRUCT, Kind.UNION):
            yield from _fields(btf, resolved.id, at)
        elif member.name and btf.size_of(member.type_id):
            yield member.name, dtype(btf, member.type_id), at


def _struct(size: int, fields: Any) -> np.dtype[Any]:
    rows = list(fields)
    if not rows:
        return np.dtype(f"V{size}")
    names, formats, offsets = zip(*rows, strict=True)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


# ---- values --------------------------------------------------------------------------------------------------------


def to_records(kind: np.dtype[Any], values: object) -> Records:
    """Make a contiguous one-dimensional array of ``kind`` from an array, record, mapping, tuple or a list of these.

    A list holds several elements, everything else but an array is one element. ``bytes`` fill a struct as they are.
    Unknown field names and wrong lengths raise UsageError.
    """
    if isinstance(values, np.ndarray):
        return _from_array(kind, values)
    if isinstance(values, list):
        made = np.zeros(len(values), kind)
        for i, each in enumerate(values):
            fill(made, i, each)
        return made
    made = np.zeros(1, kind)
    fill(made, 0, values)
    return made


def _from_array(kind: np.dtype[Any], values: Records) -> Records:
    if values.dtype == kind:
        return values.reshape(-1) if values.flags.c_contiguous else rows(values.reshape(-1), slice(None))
    flat = values.reshape(-1)
    if kind.names is None:
        return np.ascontiguousarray(flat, dtype=kind)
    if flat.dtype.names is None:
        if flat.dtype.itemsize == kind.itemsize and flat.dtype.kind == "V":
            return np.ascontiguousarray(flat).view(kind)
        raise UsageError(f"an array of {flat.dtype} does not fit fields {', '.join(kind.names)}")
    _known(kind, flat.dtype.names)
    made = np.zeros(len(flat), kind)
    for name in flat.dtype.names:
        made[name] = flat[name]
    return made


def raw_bytes(values: Records) -> npt.NDArray[np.uint8]:
    """See a contiguous array as rows of bytes, shape (n, bytes per element)."""
    return values.view(np.uint8).reshape(len(values), values.dtype.itemsize)


def rows(values: Records, index: Any) -> Records:
    """Select and copy elements with all their bytes: numpy's own indexing leaves padding out."""
    size = values.dtype.itemsize
    found: Records = np.ascontiguousarray(values.view(f"V{size}")[index]).view(values.dtype)
    return found


def fill(target: Records, index: int, value: object) -> None:
    """Write one Python value into ``target[index]``."""
    kind = target.dtype
    if isinstance(value, np.void) and value.dtype == kind:
        _fill_bytes(target, index, value.tobytes())
    elif isinstance(value, bytes | bytearray | memoryview) and kind.kind not in "SU":
        _fill_bytes(target, index, bytes(value))
    elif kind.names is None:
        target[index] = value
    elif isinstance(value, np.void) and value.dtype.names is not None:
        fill(target, index, {name: value[name] for name in value.dtype.names})
    elif isinstance(value, Mapping):
        _known(kind, value)
        for name, part in value.items():
            _fill_field(target, index, name, part)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != len(kind.names):
            raise UsageError(f"{len(value)} values for {len(kind.names)} fields: {', '.join(kind.names)}")
        for name, part in zip(kind.names, value, strict=True):
            _fill_field(target, index, name, part)
    elif len(kind.names) == 1:
        _fill_field(target, index, kind.names[0], value)
    else:
        raise UsageError(f"{type(value).__name__} {value!r} does not fit fields {', '.join(kind.names)}")


def _fill_field(target: Records, index: int, name: str, part: object) -> None:
    kind = target.dtype[name]
    one = target[index : index + 1]
    if kind.subdtype is not None:
        if isinstance(part, bytes | bytearray):
            part = np.frombuffer(part.ljust(kind.itemsize, b"\0"), np.uint8).view(kind.base).reshape(kind.shape)
        elif kind.base.names is not None and isinstance(part, Sequence):
            for i, each in enumerate(part):
                fill(one[name][0], i, each)
            return
        one[name] = part
    else:
        fill(one[name], 0, part)


def _fill_bytes(target: Records, index: int, value: bytes) -> None:
    if len(value) != target.dtype.itemsize:
        raise UsageError(f"{len(value)} bytes for a value of {target.dtype.itemsize} bytes")
    # As bytes: numpy leaves padding out when it copies records.
    target[index : index + 1].view(np.uint8)[...] = np.frombuffer(value, np.uint8)


def _known(kind: np.dtype[Any], names: object) -> None:
    known = kind.names or ()
    unknown = [str(name) for name in names if name not in known]  # type: ignore[attr-defined]
    if unknown:
        raise UsageError(f"no field {', '.join(unknown)}", hint=f"fields are {', '.join(known)}")

"""Any map of the datapath as rows that people and JSON can read. What a column is follows from its BTF alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from glasshive.bpf import Map
from glasshive.bpf.layout import Records
from glasshive.errors import UsageError
from glasshive.model.address import render_all

_ADDRESS_FIELDS = {"bytes", "words", "quads"}
"""What ``union gh_address`` looks like."""
_PADDING = "pad"


def rows_of(kernel: Map, limit: int | None = None) -> list[dict[str, Any]]:
    """Entries as flat dictionaries: key columns, then value columns. Per-CPU numbers are summed.

    A column of the value that has a key column's name is called ``value_<name>``. UsageError for maps without keys.
    """
    if not kernel.info.key_size:
        raise UsageError(f"map {kernel.name} ({kernel.type.name.lower()}) has no entries to list")
    keys, values = kernel.items()
    if limit is not None:
        keys, values = keys[:limit], values[:limit]
    columns = _columns(keys, "key")
    for name, cells in _columns(_summed(values) if kernel.per_cpu else values, "value").items():
        columns[f"value_{name}" if name in columns else name] = cells
    names = list(columns)
    return [dict(zip(names, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _columns(rows: Records, bare: str) -> dict[str, list[Any]]:
    """Columns of records; what has no fields of its own is one column, called ``bare`` (``address`` for an address)."""
    kind = rows.dtype
    if kind.names is None:
        return {bare: _cells(rows)}
    if set(kind.names) == _ADDRESS_FIELDS:
        return {"address": _addresses(rows)}
    return {name: _cells(rows[name]) for name in kind.names if not name.startswith(_PADDING)}


def _cells(column: Records) -> list[Any]:
    kind = column.dtype
    if kind.names is not None:
        if set(kind.names) == _ADDRESS_FIELDS:
            return _addresses(column)
        parts = {name: _cells(column[name]) for name in kind.names}
        return [dict(zip(parts, cells, strict=True)) for cells in zip(*parts.values(), strict=True)]
    if column.ndim == 2 and kind == np.uint8:
        separator = ":" if column.shape[1] == 6 else ""
        return [bytes(row).hex(separator) if separator else bytes(row).hex() for row in column]
    if kind.kind in "SV":
        return [bytes(cell).hex() if kind.kind == "V" else cell.decode(errors="replace") for cell in column]
    return list(column.tolist())


def _addresses(column: Records) -> list[str]:
    return render_all(np.ascontiguousarray(column).view(np.uint8).reshape(-1, 16))


def _summed(values: Records) -> Records:
    """Per-CPU values (n, cpus) added up, field by field."""
    if values.dtype.names is None:
        total: Records = values.sum(axis=1)
        return total
    made = np.zeros(len(values), values.dtype)
    for name in values.dtype.names:
        made[name] = values[name].sum(axis=1)
    return made

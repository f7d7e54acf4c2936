"""The form in which objects leave: as stored, in another version's words, as a Table, or only their metadata.

The plain form costs nothing: it is the stored bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from . import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .call import Call
    from .registry import Served
    from .server import Api
    from .store import Record
    from .watch import Transform

Object = dict[str, Any]


def plain(served: Served, record: Record) -> bytes:
    """The object's bytes as this address shows them."""
    if served.shown is None:
        return record.data
    return orjson.dumps(served.shown(record.parse()))


def _object(served: Served, record: Record) -> Object:
    obj = record.parse()
    return obj if served.shown is None else served.shown(obj)


def single(api: Api, call: Call, record: Record, form: str) -> bytes:
    """One object as the response body."""
    if not form:
        return plain(call.served, record)
    obj = _object(call.served, record)
    if form == "PartialObjectMetadata":
        return orjson.dumps(tables.partial(obj))
    metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    return orjson.dumps(tables.render(call.served, [obj], metadata, include=_include(call), now=api.now()))


def listing(
    api: Api, call: Call, records: Sequence[Record], revision: int, *, token: str, left: int | None, form: str
) -> bytes:
    """A list as the response body."""
    metadata: Object = {"resourceVersion": str(revision)}
    if token:
        metadata["continue"] = token
    if left is not None:
        metadata["remainingItemCount"] = left
    served = call.served
    if form == "Table":
        objects = [_object(served, record) for record in records]
        return orjson.dumps(tables.render(served, objects, metadata, include=_include(call), now=api.now()))
    if form:
        kind, version = b"PartialObjectMetadataList", b"meta.k8s.io/v1"
        items = b",".join(orjson.dumps(tables.partial(_object(served, record))) for record in records)
    else:
        kind, version = served.resource.list_kind.encode(), served.resource.api_version.encode()
        items = b",".join([plain(served, record) for record in records])
    return b'{"kind":"%s","apiVersion":"%s","metadata":%s,"items":[%s]}' % (
        kind, version, orjson.dumps(metadata), items,
    )  # fmt: skip


def streaming(api: Api, call: Call, form: str) -> Transform | None:
    """How a watch of this call shows an object; None when the shared stored bytes will do."""
    served = call.served
    if form == "PartialObjectMetadata":
        return lambda record: orjson.dumps(tables.partial(_object(served, record)))
    if form == "Table":
        return _table_rows(api, call)
    if served.shown is not None:
        return lambda record: plain(served, record)
    return None


def _table_rows(api: Api, call: Call) -> Transform:
    """Tables of one row; only the first names the columns."""
    first = True

    def show(record: Record) -> bytes:
        nonlocal first
        obj = _object(call.served, record)
        metadata = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        table = tables.render(call.served, [obj], metadata, include=_include(call), now=api.now())
        if not first:
            table["columnDefinitions"] = None
        first = False
        return orjson.dumps(table)

    return show


def _include(call: Call) -> str:
    return call.query.get("includeObject", "Metadata")

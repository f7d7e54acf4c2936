"""Reading: get, list (selectors, pages, revisions) and watch (initial events, resumption, bookmarks)."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from . import forms
from .respond import json_bytes, wanted_form
from .status import StatusError, bad_request, expired, not_found, too_large_revision
from .watch import Scope, Subscription, bookmark, error_line

if TYPE_CHECKING:
    from .call import Call
    from .log import Key
    from .server import Api
    from .store import Record

_BOOKMARK_SECONDS = 30.0


async def get(api: Api, call: Call) -> web.Response:
    """One object (its subresource ``status`` reads the same)."""
    record = call.served.table.records.get((call.namespace or "", call.name or ""))
    if record is None:
        raise not_found(call.served.resource, call.name or "")
    asked = call.revision()
    if asked is not None and asked > api.store.revision:
        raise too_large_revision(asked, api.store.revision)
    form = wanted_form(call.request)
    return await json_bytes(call.request, forms.single(api, call, record, form), warnings=call.warnings)


def _token(revision: int, key: Key) -> str:
    raw = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": [key[0], key[1]]})
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _read_token(text: str) -> tuple[int, Key]:
    try:
        token = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        namespace, name = token["start"]
        revision = token["rv"]
    except (ValueError, KeyError, TypeError):
        raise bad_request("continue key is not valid: it was not made by this server") from None
    if not (isinstance(revision, int) and isinstance(namespace, str) and isinstance(name, str)):
        raise bad_request("continue key is not valid: it was not made by this server")
    return revision, (namespace, name)


async def list_(api: Api, call: Call) -> web.Response:
    """A page of objects, all as they were at one revision."""
    table, scope, limit = call.served.table, call.scope(), call.number("limit") or 0
    after: Key | None = None
    asked, match = call.revision(), call.query.get("resourceVersionMatch", "")
    revision = api.store.revision
    order, records = table.order, table.records
    if call.query.get("continue"):
        if match or asked:
            raise bad_request("resourceVersion and resourceVersionMatch may not be given together with continue")
        revision, after = _read_token(call.query["continue"])
        try:
            order, records = table.at(revision)
        except StatusError:
            raise _stale_token(api, after) from None
    elif match == "Exact":
        if not asked:
            raise bad_request("resourceVersionMatch Exact needs a resourceVersion above 0")
        if asked > revision:
            raise too_large_revision(asked, revision)
        revision = asked
        order, records = table.at(revision)
    elif match not in {"", "NotOlderThan"}:
        raise bad_request(f'resourceVersionMatch: Unsupported value: "{match}"')
    elif match and asked is None:
        raise bad_request("resourceVersionMatch needs a resourceVersion")
    elif asked is not None and asked > revision:
        raise too_large_revision(asked, revision)
    low, high = table.span(order, scope.namespace, after)
    chosen, rest = _page(order, records, low=low, high=high, scope=scope, limit=limit)
    token = _token(revision, chosen[-1].key) if rest is not None and chosen else ""
    # How many are left can only be told when every one of them is selected.
    left = rest if token and not scope.narrow else None
    body = forms.listing(api, call, chosen, revision, token=token, left=left, form=wanted_form(call.request))
    return await json_bytes(call.request, body, warnings=call.warnings)


def _page(
    order: list[Key], records: dict[Key, Record], *, low: int, high: int, scope: Scope, limit: int
) -> tuple[list[Record], int | None]:
    """Up to ``limit`` selected records, and how many keys follow (None: nothing follows)."""
    whole = Scope(None, scope.labels, scope.fields) if scope.narrow else None
    chosen: list[Record] = []
    for at in range(low, high):
        record = records[order[at]]
        if whole is not None and not whole.has(record):
            continue
        if limit and len(chosen) == limit:
            return chosen, high - at
        chosen.append(record)
    return chosen, None


def _stale_token(api: Api, after: Key) -> StatusError:
    fresh = _token(api.store.revision, after)
    error = expired(
        "The provided continue parameter is too old to display a consistent list result. "
        "List again from the start, or go on with the continue token of this answer, which shows the newest objects."
    )
    error.metadata = {"continue": fresh}
    return error


async def watch(api: Api, call: Call) -> web.StreamResponse:
    """A stream of changes, one JSON object a line, until the client leaves or the time is over."""
    scope, table = call.scope(), call.served.table
    initial = call.query.get("sendInitialEvents")
    bookmarks = call.flag("allowWatchBookmarks")
    if initial is not None and call.query.get("resourceVersionMatch") != "NotOlderThan":
        raise bad_request("sendInitialEvents needs resourceVersionMatch NotOlderThan")
    asked = call.revision()
    seconds = call.number("timeoutSeconds") or random.randint(1800, 3600)  # noqa: S311 - spreads reconnects
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    transform = forms.streaming(api, call, wanted_form(call.request))
    with Subscription(table, scope, transform) as stream, api.following(stream):
        revision = api.store.revision
        problem = _begin(stream, call, asked, revision)
        if problem is not None:
            stream.push(error_line(problem.body()))
        elif initial is not None and call.flag("sendInitialEvents") and bookmarks:
            stream.push(_bookmark(call, revision, initial_end=True))
        await response.prepare(call.request)
        with suppress(ConnectionError):
            if problem is not None:
                await response.write(await stream.drain(0))
            else:
                await _stream(api, call, response, stream, time.monotonic() + seconds, bookmarks=bookmarks)
            await response.write_eof()
    return response


def _begin(stream: Subscription, call: Call, asked: int | None, revision: int) -> StatusError | None:
    """Give the stream what happened before it; returns the refusal if that is no longer (or not yet) known."""
    initial = call.query.get("sendInitialEvents")
    table, scope = call.served.table, call.scope()
    if asked is not None and asked > revision:
        return expired(f"resource version {asked} is newer than this server's {revision}")
    if call.flag("sendInitialEvents") or (initial is None and not asked):
        low, high = table.span(table.order, scope.namespace)
        stream.start(r for key in table.order[low:high] if scope.has(r := table.records[key]))
    elif asked:
        try:
            for event in table.since(asked):
                stream.take(event)
        except StatusError as error:
            return error
    return None


def _bookmark(call: Call, revision: int, *, initial_end: bool = False) -> bytes:
    resource = call.served.resource
    return bookmark(resource.kind, resource.api_version, revision, initial_end=initial_end)


async def _stream(
    api: Api, call: Call, response: web.StreamResponse, stream: Subscription, end: float, *, bookmarks: bool
) -> None:
    now = time.monotonic()
    next_bookmark = now + _BOOKMARK_SECONDS if bookmarks else end
    while now < end and not api.stopping:
        chunk = await stream.drain(min(end, next_bookmark) - now)
        if chunk:
            await response.write(chunk)
        if stream.overrun:
            return
        now = time.monotonic()
        if bookmarks and now >= next_bookmark:
            # Nothing may be waiting when the bookmark's revision is read, or it would promise too much.
            await response.write(await stream.drain(0) + _bookmark(call, api.store.revision))
            next_bookmark = now + _BOOKMARK_SECONDS
        await asyncio.sleep(0)

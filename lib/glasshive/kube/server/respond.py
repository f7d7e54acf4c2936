"""Responses: JSON bytes with the headers that clients look at, compressed where that pays."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable
from typing import Any

import orjson
from aiohttp import web

from .status import StatusError

Object = dict[str, Any]

#: Below this size compression costs more than it saves (as upstream), in bytes.
_GZIP_FROM = 128 << 10


async def json_bytes(
    request: web.BaseRequest, body: bytes, code: int = 200, warnings: Iterable[str] = ()
) -> web.Response:
    """A JSON response; gzip if the client takes it and the body is long."""
    response = web.Response(body=body, status=code, content_type="application/json")
    for warning in warnings:
        plain = "".join(letter if letter.isprintable() else "?" for letter in warning)
        text = plain.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{text}"')
    if len(body) > _GZIP_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
        response.body = await asyncio.get_running_loop().run_in_executor(None, _gzip, body)
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
    return response


def _gzip(body: bytes) -> bytes:
    squeezer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return squeezer.compress(body) + squeezer.flush()


async def json_object(
    request: web.BaseRequest, obj: Any, code: int = 200, warnings: Iterable[str] = ()
) -> web.Response:
    """A JSON response made from an object."""
    return await json_bytes(request, orjson.dumps(obj), code, warnings)


def refusal(error: StatusError) -> web.Response:
    """A Status object as a response."""
    response = web.Response(body=orjson.dumps(error.body()), status=error.code, content_type="application/json")
    if "retryAfterSeconds" in error.details:
        response.headers["Retry-After"] = str(error.details["retryAfterSeconds"])
    if error.code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def wanted_form(request: web.BaseRequest) -> str:
    """``Table``, ``PartialObjectMetadata`` or "" for the object itself, from the Accept header."""
    accept = request.headers.get("Accept", "")
    if ";as=" not in accept.replace(" ", ""):
        return ""
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        if media not in {"application/json", "*/*", "application/*"}:
            continue
        options = dict(p.split("=", 1) for p in parameters if "=" in p)
        form = options.get("as", "")
        if not form:
            return ""
        if options.get("g") == "meta.k8s.io" and options.get("v") == "v1" and form in _FORMS:
            return _FORMS[form]
    return ""


_FORMS = {
    "Table": "Table",
    "PartialObjectMetadata": "PartialObjectMetadata",
    "PartialObjectMetadataList": "PartialObjectMetadata",
}

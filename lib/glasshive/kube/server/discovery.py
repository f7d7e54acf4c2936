"""Discovery and the other addresses that are about the server itself: versions, groups, health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from .respond import json_object
from .status import no_such_path

if TYPE_CHECKING:
    from .server import Api

Object = dict[str, Any]

#: The API level that the built-in kinds and their schemas follow.
VERSION = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.0+glasshive",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "python",
    "platform": "linux/amd64",
}


async def answer(api: Api, request: web.BaseRequest, parts: list[str]) -> web.StreamResponse:
    """Answer a request that is about no resource."""
    match parts:
        case ["healthz" | "livez" | "readyz", *_]:
            return web.Response(text="ok")
        case ["version"]:
            return await json_object(request, VERSION)
    raise no_such_path()

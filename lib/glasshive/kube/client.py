"""An asynchronous Kubernetes client that is light to import: aiohttp and orjson, nothing generated.

Objects are plain JSON dictionaries. Every refusal is an ``ApiError`` with the server's ``code`` and ``reason``; a
server that does not answer is an ``ApiError`` of code 503, reason ``ServiceUnavailable``: callers catch one thing.
Caches that follow the server live in ``informer``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import aiohttp
import orjson

from glasshive.api.resources import Resource
from glasshive.errors import ApiError, UsageError
from glasshive.kube.endpoint import ApiEndpoint, from_kubeconfig, from_socket
from glasshive.kube.objects import Object

PatchKind = Literal["json", "merge", "strategic"]
Propagation = Literal["Background", "Foreground", "Orphan"]

_PATCH_TYPES: dict[str, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Gone"}
PAGE_SIZE = 500
FIELD_MANAGER = "glasshive"


class WatchEvent(NamedTuple):
    """One line of a watch: ``type`` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: Object


@dataclass(frozen=True)
class ObjectList:
    """All items of a list call, with the resourceVersion from which a watch continues it."""

    items: list[Object]
    resource_version: str


class Client:
    """A connection pool to one API server. Give exactly one of ``socket`` and ``kubeconfig``, or an ``endpoint``.

    The session opens at the first request, so a client may be made before the event loop runs (and before a fork).
    """

    def __init__(
        self,
        *,
        socket: Path | str | None = None,
        kubeconfig: Path | str | None = None,
        endpoint: ApiEndpoint | None = None,
        token: str = "",
        field_manager: str = FIELD_MANAGER,
    ) -> None:
        if sum(x is not None for x in (socket, kubeconfig, endpoint)) != 1:
            raise UsageError("Client needs exactly one of socket, kubeconfig and endpoint")
        if endpoint is None:
            endpoint = from_socket(socket, token) if socket is not None else from_kubeconfig(kubeconfig or "")
        self.endpoint = endpoint
        self.field_manager = field_manager
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; running watches end."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> Object:
        """Return one object."""
        return await self.request("GET", resource.path(namespace, name, subresource))

    async def list(
        self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> ObjectList:
        """Return all objects, page by page; ``namespace`` "" means all namespaces.

        A continue token that expired between pages (410) starts the list anew.
        """
        query = _selectors(label_selector, field_selector) | {"limit": str(PAGE_SIZE)}
        items: list[Object] = []
        while True:
            try:
                page = await self.request("GET", resource.path(namespace), query=query)
            except ApiError as error:
                if error.code != 410 or "continue" not in query:
                    raise
                items.clear()
                del query["continue"]
                continue
            items += page.get("items") or ()
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                break
            query["continue"] = meta["continue"]
        for item in items:  # lists of built-in kinds leave these out; every object should say what it is
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        return ObjectList(items, str(meta.get("resourceVersion", "")))

    async def create(
        self, resource: Resource, body: Object, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> Object:
        """Create an object (or, with ``name`` and ``subresource``, post to a subresource such as binding)."""
        where = resource.path(namespace or _namespace(resource, body), name, subresource)
        return await self.request("POST", where, body=body, query={"fieldManager": self.field_manager})

    async def replace(self, resource: Resource, body: Object, *, subresource: str = "") -> Object:
        """Replace an object; its resourceVersion, if given, must still be the stored one (else 409 Conflict)."""
        where = resource.path(_namespace(resource, body), body["metadata"]["name"], subresource)
        return await self.request("PUT", where, body=body, query={"fieldManager": self.field_manager})

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: object,
        namespace: str = "",
        *,
        kind: PatchKind = "merge",
        subresource: str = "",
    ) -> Object:
        """Patch an object: ``body`` is a list of operations for ``json``, a partial object for the other kinds."""
        where = resource.path(namespace, name, subresource)
        query = {"fieldManager": self.field_manager}
        return await self.request("PATCH", where, body=body, query=query, content_type=_PATCH_TYPES[kind])

    async def apply(
        self, resource: Resource, body: Object, *, force: bool = True, manager: str = "", subresource: str = ""
    ) -> Object:
        """Server-side apply ``body``; with ``force`` fields of other managers are taken over (else 409 Conflict)."""
        where = resource.path(_namespace(resource, body), body["metadata"]["name"], subresource)
        query = {"fieldManager": manager or self.field_manager, "force": "true" if force else "false"}
        return await self.request("PATCH", where, body=body, query=query, content_type=_PATCH_TYPES["apply"])

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        propagation: Propagation | None = None,
        grace_seconds: int | None = None,
        uid: str = "",
        resource_version: str = "",
    ) -> Object:
        """Delete an object; with ``uid``, ``resource_version`` only if it is still the same one (else 409 Conflict).

        Returns the object as last stored (it may wait for finalizers), or a Status if it is gone.
        """
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if propagation:
            options["propagationPolicy"] = propagation
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        told = {"uid": uid, "resourceVersion": resource_version}
        if uid or resource_version:
            options["preconditions"] = {name: text for name, text in told.items() if text}
        return await self.request("DELETE", resource.path(namespace, name), body=options)

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 300,
    ) -> AsyncIterator[WatchEvent]:
        """Yield changes after ``resource_version`` until the server ends the watch (after ``timeout_seconds``).

        Raises ApiError 410 if that version is too old: list again, then watch from there.
        """
        query = _selectors(label_selector, field_selector) | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_read=timeout_seconds + 15)
        try:
            async with self._open().get(
                self.endpoint.url + resource.path(namespace), params=query, timeout=timeout
            ) as response:
                if response.status != 200:
                    raise _failure(response.status, await response.read())
                async for line in _lines(response.content):
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise _failure(event["object"].get("code", 500), orjson.dumps(event["object"]))
                    yield WatchEvent(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """Send one request to any path of the server; return the decoded JSON answer."""
        data = orjson.dumps(body) if body is not None else None
        headers = {"Content-Type": content_type} if data is not None else None
        try:
            async with self._open().request(
                method, self.endpoint.url + path, params=query, data=data, headers=headers
            ) as response:
                payload = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error
        if status >= 400:
            raise _failure(status, payload)
        return orjson.loads(payload) if payload else {}

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # limit 0: every watch keeps a connection, and requests must not queue behind watches.
            connector: aiohttp.BaseConnector
            if self.endpoint.socket:
                connector = aiohttp.UnixConnector(path=self.endpoint.socket, limit=0)
            else:
                connector = aiohttp.TCPConnector(limit=0, ssl=self.endpoint.tls or True)
            headers = {"Accept": "application/json", "User-Agent": "glasshive"}
            if self.endpoint.token:
                headers["Authorization"] = f"Bearer {self.endpoint.token}"
            self._session = aiohttp.ClientSession(
                connector=connector, headers=headers, timeout=aiohttp.ClientTimeout(total=60), auto_decompress=True
            )
        return self._session

    def _unreachable(self, error: BaseException) -> ApiError:
        text = str(error) or type(error).__name__
        if isinstance(error, asyncio.TimeoutError):
            text = "no answer in time"
        return ApiError(503, "ServiceUnavailable", f"the API server at {self.endpoint.shown} does not answer: {text}")


def _namespace(resource: Resource, body: Object) -> str:
    if not resource.namespaced:
        return ""
    return (body.get("metadata") or {}).get("namespace") or "default"


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    query = {}
    if label_selector:
        query["labelSelector"] = label_selector
    if field_selector:
        query["fieldSelector"] = field_selector
    return query


def _failure(code: int, payload: bytes) -> ApiError:
    """Return the ApiError for a Status body; also for a body that is none (a proxy's page, an empty answer)."""
    try:
        status: Any = orjson.loads(payload)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict):
        status = {}
    text = status.get("message") or payload[:200].decode(errors="replace") or "no message"
    reason = status.get("reason") or _REASONS.get(code, "Unknown")
    return ApiError(status.get("code") or code, reason, text, details=status.get("details") or {})


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield complete lines; a cut-off last line (the server died while writing it) is dropped."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line

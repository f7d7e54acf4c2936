"""A small synchronous client of the Kubernetes API, for notebooks and the command line: standard library only.

``kube.client`` is the asynchronous one that agents use. A connection is opened per request: over a unix socket that
costs less than keeping one fit through notebook pauses and control plane restarts.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from glasshive.api.resources import BUILTIN as BUILTIN_RESOURCES
from glasshive.api.resources import CUSTOM_RESOURCE_DEFINITION, Resource
from glasshive.errors import ApiError, NotFoundError
from glasshive.kube.endpoint import ApiEndpoint

Object = dict[str, Any]

FIELD_MANAGER = "glasshive"
TIMEOUT_SECONDS = 30.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def connect(endpoint: ApiEndpoint, timeout: float = TIMEOUT_SECONDS) -> http.client.HTTPConnection:
    """Return a connection to the endpoint, not opened yet. ``timeout`` is in seconds, for each read."""
    if endpoint.socket:
        return _UnixConnection(endpoint.socket, timeout)
    url = urlsplit(endpoint.url)
    assert url.hostname
    if url.scheme == "https":
        return http.client.HTTPSConnection(url.hostname, url.port or 443, timeout=timeout, context=endpoint.tls)
    return http.client.HTTPConnection(url.hostname, url.port or 80, timeout=timeout)


class ApiClient:
    """Requests to one API server. Every refusal is an ApiError; an unreachable server is one of code 503."""

    def __init__(self, endpoint: ApiEndpoint) -> None:
        self.endpoint = endpoint
        self._custom: list[Resource] = []

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        timeout: float = TIMEOUT_SECONDS,
    ) -> Any:
        """One exchange. Returns decoded JSON, or text for other content types. ``timeout``: seconds for each read."""
        exchange = _Exchange(self.endpoint, method, path, query, body=body, content_type=content_type, timeout=timeout)
        with exchange as response:
            data = response.read()
            if "json" in response.headers.get("Content-Type", ""):
                return json.loads(data)
            return data.decode(errors="replace")

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """Return one object."""
        found: Object = self.request("GET", resource.path(namespace, name))
        return found

    def list(self, resource: Resource, namespace: str | None = None, *, selector: str = "") -> tuple[list[Object], str]:
        """All objects (of one namespace if given) and the list's resourceVersion."""
        query = {"labelSelector": selector} if selector else {}
        answer = self.request("GET", resource.path(namespace), query=query)
        items: list[Object] = answer.get("items") or []
        for item in items:
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        return items, str((answer.get("metadata") or {}).get("resourceVersion", ""))

    def apply(self, resource: Resource, obj: Object, namespace: str | None = None) -> Object:
        """Server-side apply; conflicts with other managers are won, as the caller said what they want.

        A field that the kind does not have is refused, as kubectl refuses it: it is a typing mistake.
        """
        name = str(obj["metadata"]["name"])
        applied: Object = self.request(
            "PATCH",
            resource.path(namespace, name),
            query={"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"},
            body=obj,
            content_type="application/apply-patch+yaml",
        )
        return applied

    def delete(self, resource: Resource, name: str, namespace: str | None = None) -> None:
        """Delete an object; its dependants go in the background."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        self.request("DELETE", resource.path(namespace, name), body=body)

    def watch(
        self, resource: Resource, namespace: str | None, version: str, *, selector: str, timeout: float
    ) -> Iterator[tuple[str, Object]]:
        """Changes after ``version`` as (type, object) for ``timeout`` seconds. Ends early if the server ends it."""
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(max(1, round(timeout)))}
        if selector:
            query["labelSelector"] = selector
        with _Exchange(self.endpoint, "GET", resource.path(namespace), query, timeout=timeout) as response:
            while True:
                try:
                    line = response.readline()
                except TimeoutError:
                    return
                if not line:
                    return
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise ApiError(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
                yield event["type"], event["object"]

    def resource(self, word: str, api_version: str | None = None) -> Resource:
        """Find a resource by kind, plural, singular or short name, custom ones too. Raises NotFoundError."""
        wanted, _, group = word.lower().partition(".")
        for attempt in range(2):
            for one in (*BUILTIN_RESOURCES, *self._custom):
                names = {one.kind.lower(), one.plural, one.singular, *one.short_names}
                if wanted in names and group in ("", one.group) and api_version in (None, one.api_version):
                    return one
            if attempt == 0:
                crds, _ = self.list(CUSTOM_RESOURCE_DEFINITION)
                self._custom = [
                    Resource.of_crd(crd, version["name"])
                    for crd in crds
                    for version in crd["spec"]["versions"]
                    if version.get("served")
                ]
        shown = f"{api_version} {word}" if api_version else word
        raise NotFoundError(f"the API server knows no kind {shown!r}", hint="glasshive kubectl api-resources lists all")


class _Exchange:
    """A request and its response, read inside ``with``."""

    def __init__(
        self,
        endpoint: ApiEndpoint,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        *,
        body: object = None,
        content_type: str = "",
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._endpoint = endpoint
        self._connection = connect(endpoint, timeout)
        self._method = method
        self._target = f"{path}?{urlencode(query)}" if query else path
        self._body = None if body is None else json.dumps(body).encode()
        self._headers = {"Accept": "application/json"}
        if self._body is not None:
            self._headers["Content-Type"] = content_type
        if endpoint.token:
            self._headers["Authorization"] = f"Bearer {endpoint.token}"

    def __enter__(self) -> http.client.HTTPResponse:
        try:
            self._connection.request(self._method, self._target, self._body, self._headers)
            response = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            what = f"the API server does not answer at {self._endpoint.shown}: {error}"
            raise ApiError(503, "ServiceUnavailable", what) from None
        if response.status >= 400:
            refusal = _refusal(response)
            self._connection.close()
            raise refusal
        return response

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _refusal(response: http.client.HTTPResponse) -> ApiError:
    data = response.read()
    try:
        status = json.loads(data)
        message = str(status.get("message") or status.get("error") or response.reason)
        return ApiError(response.status, str(status.get("reason") or ""), message, details=status.get("details"))
    except (ValueError, AttributeError):
        return ApiError(response.status, response.reason, data.decode(errors="replace").strip() or response.reason)

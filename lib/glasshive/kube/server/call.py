"""What a request asks: its address taken apart, its options read, its body parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson

from glasshive.api.selectors import parse_fields, parse_labels
from glasshive.errors import UsageError

from .status import StatusError, bad_request, no_such_path, too_large_object, unsupported_media_type
from .watch import Scope

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

    from .registry import Registry, Served

Object = dict[str, Any]

#: Largest request body, in bytes. Larger than an object may be, because a patch can be longer than its result.
MAX_BODY_BYTES = 3 << 20
PROTOBUF = "application/vnd.kubernetes.protobuf"
_JSON_TYPES = frozenset({"application/json", "application/yaml", "text/yaml", ""})
PATCH_TYPES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
#: Namespaces have parts of their own below their name; every other word there is a resource.
_NAMESPACE_PARTS = frozenset({"status", "finalize"})


@dataclass(slots=True)
class Call:
    """One request to a resource. ``namespace`` None means all (or cluster-wide), ``warnings`` go into the answer."""

    request: BaseRequest
    served: Served
    namespace: str | None
    name: str | None
    subresource: str
    query: Mapping[str, str]
    warnings: list[str] = field(default_factory=list)

    def flag(self, name: str) -> bool:
        """A boolean option of the query."""
        text = self.query.get(name, "")
        if text in {"", "0", "false", "False"}:
            return bool(text == "" and name in self.query)
        if text in {"1", "true", "True"}:
            return True
        raise bad_request(f'invalid value for query parameter {name}: "{text}" is neither true nor false')

    def number(self, name: str) -> int | None:
        """A whole number of the query, None if absent."""
        text = self.query.get(name, "")
        if not text:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise bad_request(f'invalid value for query parameter {name}: "{text}" is not a number')
        return int(text)

    def revision(self) -> int | None:
        """The resourceVersion asked for, None if absent."""
        text = self.query.get("resourceVersion", "")
        if not text:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise bad_request(f'resourceVersion: Invalid value: "{text}": not a revision of this server')
        return int(text)

    def scope(self) -> Scope:
        """Namespace and selectors; StatusError 400 for a field that cannot be selected by."""
        try:
            labels = parse_labels(self.query.get("labelSelector", ""))
            fields = parse_fields(self.query.get("fieldSelector", ""))
        except UsageError as error:
            raise bad_request(str(error)) from None
        for requirement in fields:
            if requirement.key not in self.served.selectable:
                raise bad_request(f'field label not supported: "{requirement.key}" for {self.served.resource.kind}')
        if self.name is not None:
            fields = (*fields, *parse_fields(f"metadata.name={self.name}"))
        return Scope(self.namespace, labels, fields)

    @property
    def dry_run(self) -> bool:
        """Whether everything but the storing is wanted."""
        text = self.query.get("dryRun", "")
        if text not in {"", "All"}:
            raise bad_request(f'dryRun: Unsupported value: "{text}": supported values: "All"')
        return text == "All"

    @property
    def field_validation(self) -> str:
        """Strict, Warn or Ignore."""
        text = self.query.get("fieldValidation", "") or "Warn"
        if text not in {"Strict", "Warn", "Ignore"}:
            allowed = '"Ignore", "Strict", "Warn"'
            raise bad_request(f'fieldValidation: Unsupported value: "{text}": supported values: {allowed}')
        return text

    @property
    def manager(self) -> str:
        """Who writes: the fieldManager option, or the first word of the user agent."""
        given = self.query.get("fieldManager", "")
        if len(given) > 128 or not given.isprintable():
            raise bad_request("fieldManager: Invalid value: at most 128 printable characters")
        return given or self.request.headers.get("User-Agent", "").split("/")[0][:128] or "unknown"

    async def body(self) -> Any:
        """The parsed JSON (or YAML) body of a create, update or delete; {} when there is none."""
        kind = media_type(self.request)
        if kind == PROTOBUF:
            from .protobuf import parse

            return parse(await read_body(self.request))
        if kind not in _JSON_TYPES:
            raise unsupported_media_type(kind, [*sorted(_JSON_TYPES - {""}), PROTOBUF])
        return parse_body(await read_body(self.request), yaml="yaml" in kind)


def media_type(request: BaseRequest) -> str:
    """The body's media type without parameters, in lower case."""
    return request.headers.get("Content-Type", "").split(";")[0].strip().lower()


async def read_body(request: BaseRequest) -> bytes:
    """The raw body; StatusError 413 when it is too long."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise too_large_object(request.content_length or 0)
    parts, size = [], 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise too_large_object(size)
        parts.append(chunk)
    return b"".join(parts)


def parse_body(raw: bytes, *, yaml: bool = False) -> Any:
    """JSON, or YAML where the client says so (a JSON text is YAML as well, and quicker to read as JSON)."""
    if not raw.strip():
        return {}
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if not yaml:
            raise bad_request(f"the object provided is not valid JSON: {error}") from None
    import yaml as yaml_reader

    try:
        value = yaml_reader.safe_load(raw)
        return orjson.loads(orjson.dumps(value))
    except (yaml_reader.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise bad_request(f"the object provided is not valid YAML: {' '.join(str(error).split())}") from None


def locate(request: BaseRequest, registry: Registry, parts: list[str]) -> Call:
    """Find what ``/api/v1/...`` or ``/apis/GROUP/VERSION/...`` (given as its parts) addresses; 404 if nothing."""
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    else:
        group, version, rest = parts[1], parts[2], parts[3:]
    rest = [unquote(part) for part in rest]
    namespace: str | None = None
    if len(rest) > 2 and rest[0] == "namespaces" and not (len(rest) == 3 and rest[2] in _NAMESPACE_PARTS):
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3 or not all(rest) or namespace == "":
        raise no_such_path()
    served = registry.find(group, version, rest[0])
    if served is None or (namespace is not None and not served.resource.namespaced):
        raise no_such_path()
    name = rest[1] if len(rest) > 1 else None
    if name is not None and namespace is None and served.resource.namespaced:
        raise no_such_path()
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and served.resource.subresource(subresource) is None:
        raise no_such_path()
    query = request.query if request.query_string else {}
    return Call(request, served, namespace, name, subresource, query)


__all__ = ["PATCH_TYPES", "Call", "StatusError", "locate", "media_type", "parse_body", "read_body"]

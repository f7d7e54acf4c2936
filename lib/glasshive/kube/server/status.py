"""Refusals: every error that leaves the server is a Kubernetes ``Status`` object, built here and nowhere else.

`StatusError` is raised anywhere below the HTTP layer and turned into a response there. `FieldError` is one fault of one
field; `invalid` collects them into the ``Invalid`` answer that kubectl prints as one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from glasshive.api.resources import Resource
from glasshive.errors import ApiError

Object = dict[str, Any]

#: Largest object accepted, in bytes (the limit that etcd gives to the upstream server is of the same order).
MAX_OBJECT_BYTES = 1 << 20


class StatusError(ApiError):
    """A refusal on its way to the client; ``metadata`` is the ListMeta that the Status carries."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(code, reason, message, details=details)
        self.metadata: Object = {}

    def body(self) -> Object:
        """The Status object."""
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status


def success(details: Object | None = None, message: str = "") -> Object:
    """The Status object that answers a finished deletion."""
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if message:
        status["message"] = message
    if details:
        status["details"] = details
    return status


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault: path of the field, machine-readable reason, text for people."""

    field: str
    reason: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


def _shown(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if not isinstance(value, bytes) else "<bytes>"


def required(field: str, detail: str = "") -> FieldError:
    """The field must be given."""
    return FieldError(field, "FieldValueRequired", f"Required value: {detail}" if detail else "Required value")


def bad_value(field: str, value: Any, detail: str) -> FieldError:
    """The value breaks a rule; ``detail`` says which."""
    return FieldError(field, "FieldValueInvalid", f"Invalid value: {_shown(value)}: {detail}")


def unsupported(field: str, value: Any, allowed: Iterable[str]) -> FieldError:
    """The value is not one of the allowed words."""
    words = ", ".join(f'"{word}"' for word in sorted(allowed))
    text = f"Unsupported value: {_shown(value)}: supported values: {words}"
    return FieldError(field, "FieldValueNotSupported", text)


def forbidden_field(field: str, detail: str) -> FieldError:
    """The field may not be set (or changed) like this."""
    return FieldError(field, "FieldValueForbidden", f"Forbidden: {detail}")


def duplicate(field: str, value: Any) -> FieldError:
    """The value occurs twice where it must be unique."""
    return FieldError(field, "FieldValueDuplicate", f"Duplicate value: {_shown(value)}")


def not_found_field(field: str, value: Any) -> FieldError:
    """The value names something that is not there."""
    return FieldError(field, "FieldValueNotFound", f"Not found: {_shown(value)}")


def too_long(field: str, limit: int, unit: str = "bytes") -> FieldError:
    """The value is longer than ``limit``."""
    return FieldError(field, "FieldValueTooLong", f"Too long: may not be more than {limit} {unit}")


def _about(resource: Resource | None, name: str = "") -> Object:
    details: Object = {}
    if name:
        details["name"] = name
    if resource is not None:
        if resource.group:
            details["group"] = resource.group
        details["kind"] = resource.plural
    return details


def not_found(resource: Resource, name: str) -> StatusError:
    """404: no object of that name."""
    return StatusError(404, "NotFound", f'{resource.group_resource} "{name}" not found', _about(resource, name))


def no_such_path() -> StatusError:
    """404: nothing is served at this address."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: Resource, name: str) -> StatusError:
    """409: the name is taken."""
    text = f'{resource.group_resource} "{name}" already exists'
    return StatusError(409, "AlreadyExists", text, _about(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> StatusError:
    """409: somebody else was quicker."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    text = f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {why}'
    return StatusError(409, "Conflict", text, _about(resource, name))


def forbidden(resource: Resource, name: str, why: str) -> StatusError:
    """403: a rule of the cluster stands against it."""
    what = f'{resource.group_resource} "{name}" is forbidden: {why}' if name else f"{resource.group_resource}: {why}"
    return StatusError(403, "Forbidden", what, _about(resource, name))


def bad_request(message: str) -> StatusError:
    """400: the request itself makes no sense."""
    return StatusError(400, "BadRequest", message)


def invalid(resource: Resource, name: str, errors: Sequence[FieldError]) -> StatusError:
    """422: the object breaks rules; all faults are listed."""
    texts = [str(error) for error in errors]
    joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    details: Object = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.kind
    details["causes"] = [{"reason": e.reason, "message": e.text, "field": e.field} for e in errors]
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    return StatusError(422, "Invalid", f'{kind} "{name}" is invalid: {joined}', details)


def method_not_allowed(resource: Resource | None = None) -> StatusError:
    """405: the resource is there, the verb is not."""
    text = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", text, _about(resource))


def unsupported_media_type(given: str, allowed: Iterable[str]) -> StatusError:
    """415: the body is in a format that the server does not read."""
    text = f"the body of the request was in an unknown format ({given}) - accepted media types include: "
    return StatusError(415, "UnsupportedMediaType", text + ", ".join(allowed))


def expired(message: str) -> StatusError:
    """410: the revision asked for is no longer known."""
    return StatusError(410, "Expired", message)


def too_large_revision(asked: int, current: int) -> StatusError:
    """504: the client has seen a future that this server has not."""
    text = f"Too large resource version: {asked}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return StatusError(504, "Timeout", text, {"causes": causes, "retryAfterSeconds": 1})


def too_large_object(size: int) -> StatusError:
    """413: the body or the object would be bigger than the limit."""
    text = f"Request entity too large: limit is {MAX_OBJECT_BYTES} bytes, the object has {size}"
    return StatusError(413, "RequestEntityTooLarge", text)


def unauthorized() -> StatusError:
    """401: no token, or not ours."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def unavailable(message: str) -> StatusError:
    """503: cannot be done now; nothing was changed."""
    return StatusError(503, "ServiceUnavailable", message, {"retryAfterSeconds": 1})


def not_served_yet(what: str) -> StatusError:
    """501: known, and not offered by this server."""
    return StatusError(501, "NotImplemented", what)


def internal(message: str) -> StatusError:
    """500: our own fault, told without a stack trace."""
    return StatusError(500, "InternalError", f"Internal error occurred: {message}")

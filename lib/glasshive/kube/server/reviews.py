"""Questions about who may do what: answered at once, never stored.

There is one user, the holder of the cluster's token, and it may do everything; RBAC objects are kept but decide
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from .respond import json_object
from .write import read_object

if TYPE_CHECKING:
    from .call import Call
    from .server import Api

Object = dict[str, Any]
_USER: Object = {"username": "glasshive-admin", "groups": ["system:masters", "system:authenticated"]}
_ALL: Object = {
    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "incomplete": False,
}
_ANSWERS: dict[str, Object] = {
    "selfsubjectreviews": {"userInfo": _USER},
    "selfsubjectaccessreviews": {"allowed": True, "reason": "the cluster's token may do everything"},
    "subjectaccessreviews": {"allowed": True, "reason": "RBAC is stored but not enforced"},
    "selfsubjectrulesreviews": _ALL,
}

#: Plurals of the kinds that are answered here.
REVIEWS = frozenset({*_ANSWERS, "tokenreviews"})


async def answer(api: Api, call: Call) -> web.Response:
    """POST of a review."""
    obj = read_object(api, call, await call.body())
    plural = call.served.resource.plural
    if plural == "tokenreviews":
        known = api.knows_token(str((obj.get("spec") or {}).get("token", "")))
        obj["status"] = {"authenticated": True, "user": _USER} if known else {"authenticated": False}
    else:
        obj["status"] = _ANSWERS[plural]
    return await json_object(call.request, obj, 201, call.warnings)

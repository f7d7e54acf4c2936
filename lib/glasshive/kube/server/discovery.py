"""Discovery and the other addresses that are about the server itself: groups, versions, health, OpenAPI.

Groups are told in both forms: the old one (``/api``, ``/apis``, one document per group version) and the aggregated one
(``apidiscovery.k8s.io/v2``), which current clients ask for by their Accept header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from glasshive.api.resources import Resource

from . import openapi
from .respond import json_object
from .status import method_not_allowed, no_such_path

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
_HEALTH = frozenset({"healthz", "livez", "readyz"})


async def answer(api: Api, request: web.BaseRequest, parts: list[str]) -> web.StreamResponse:
    """Answer a request that is about no resource."""
    if request.method not in {"GET", "HEAD"}:
        raise no_such_path() if parts[0] not in {"api", "apis", "openapi", "version"} else method_not_allowed()
    if parts[0] in _HEALTH:
        return web.Response(text=_health(parts[0]) if "verbose" in request.query else "ok")
    match parts:
        case ["version"]:
            return await json_object(request, VERSION)
        case ["api" | "apis"]:
            return await _roots(api, request, parts[0])
        case ["api", "v1"]:
            return await json_object(request, _resource_list(api, "", "v1"))
        case ["apis", group]:
            return await json_object(request, _group(group, _versions(api, group), top=True))
        case ["apis", group, version]:
            return await json_object(request, _resource_list(api, group, version))
        case ["openapi", "v2"]:
            return await openapi.version_2(api, request)
        case ["openapi", "v3"]:
            return await openapi.index(api, request)
        case ["openapi", "v3", *where]:
            return await openapi.version_3(api, request, where)
        case [""]:
            return await json_object(request, {"paths": _paths(api)})
    raise no_such_path()


def _health(name: str) -> str:
    return f"[+]ping ok\n[+]store ok\n{name} check passed\n"


def _paths(api: Api) -> list[str]:
    found = ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
    for group, versions in api.registry.groups().items():
        if group:
            found += [f"/apis/{group}", *(f"/apis/{group}/{version}" for version in versions)]
    return sorted(found)


def _versions(api: Api, group: str) -> list[str]:
    versions = api.registry.groups().get(group)
    if not group or not versions:
        raise no_such_path()
    return versions


def _group(group: str, versions: list[str], *, top: bool = False) -> Object:
    named = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    found: Object = {"name": group, "versions": named, "preferredVersion": named[0]}
    return {"kind": "APIGroup", "apiVersion": "v1", **found} if top else found


async def _roots(api: Api, request: web.BaseRequest, root: str) -> web.Response:
    accept = request.headers.get("Accept", "")
    if "as=APIGroupDiscoveryList" in accept and "g=apidiscovery.k8s.io" in accept:
        version = "v2" if "v=v2;" in accept + ";" or "v=v2," in accept else "v2beta1"
        response = await json_object(request, _aggregated(api, version, core=root == "api"))
        kind = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        response.headers["Content-Type"] = kind
        return response
    if root == "api":
        return await json_object(request, {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
    groups = [_group(group, versions) for group, versions in api.registry.groups().items() if group]
    return await json_object(request, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})


def _served(api: Api, group: str, version: str) -> list[Resource]:
    return [s.resource for s in api.registry if (s.resource.group, s.resource.version) == (group, version)]


def _resource_list(api: Api, group: str, version: str) -> Object:
    listed: list[Object] = []
    for resource in _served(api, group, version):
        entry: Object = {
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": list(resource.verbs),
        }  # fmt: skip
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        listed.append(entry)
        for sub in resource.subresources:
            part: Object = {"name": f"{resource.plural}/{sub.name}", "singularName": "",
                            "namespaced": resource.namespaced, "kind": sub.kind, "verbs": list(sub.verbs)}  # fmt: skip
            if sub.version:
                part |= {"group": sub.group, "version": sub.version}
            listed.append(part)
    if not listed:
        raise no_such_path()
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": listed}


def _aggregated(api: Api, version: str, *, core: bool) -> Object:
    items = []
    for group, versions in api.registry.groups().items():
        if core != (group == ""):
            continue
        told = [
            {"version": v, "freshness": "Current", "resources": [_discovered(r) for r in _served(api, group, v)]}
            for v in versions
        ]
        metadata = {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}
        items.append({"metadata": metadata, "versions": told})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {},
            "items": items}  # fmt: skip


def _kind(group: str, version: str, kind: str) -> Object:
    return {"group": group, "version": version, "kind": kind}


def _discovered(resource: Resource) -> Object:
    entry: Object = {
        "resource": resource.plural,
        "responseKind": _kind(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _kind(sub.group if sub.version else resource.group, sub.version or resource.version,
                                      sub.kind),
                "verbs": list(sub.verbs),
            }
            for sub in resource.subresources
        ]  # fmt: skip
    return entry

"""What the echo server says to an HTTP request: its own account by default, or what a demo image would say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from glasshive.cluster.embedded.workloads.http1 import HttpRequest, HttpResponse

JSON = "application/json"
MAX_BYTES = 64 << 20
MAX_DELAY_SECONDS = 60.0


class Answerer:
    """Answers in one profile. ``env`` is the container's environment: it knows the pod's name, node and namespace."""

    def __init__(self, profile: str, text: str, env: Mapping[str, str]) -> None:
        self._profile = PROFILES[profile]
        self._text = text
        self.pod = env.get("HOSTNAME", "")
        self.node = env.get("GLASSHIVE_NODE", "")
        self.namespace = env.get("GLASSHIVE_NAMESPACE", "")

    def answer(self, request: HttpRequest) -> HttpResponse:
        """One answer."""
        if self._text:
            return HttpResponse(body=self._text.encode() + b"\n")
        path = request.target.partition("?")[0]
        return _common(self, request, path) or self._profile(self, request, path)

    def account(self, request: HttpRequest) -> dict[str, object]:
        """Who answered whom."""
        return {
            "pod": self.pod,
            "namespace": self.namespace,
            "node": self.node,
            "method": request.method,
            "path": request.target,
            "source": request.source[0],
            "sourcePort": request.source[1],
            "server": request.server[0],
            "serverPort": request.server[1],
            "headers": request.headers,
            "body": request.body.decode(errors="replace"),
        }


def _common(who: Answerer, request: HttpRequest, path: str) -> HttpResponse | None:
    """Paths that every profile has, for probes and experiments."""
    match path.strip("/").split("/"):
        case ["healthz"] | ["readyz"] | ["livez"]:
            return HttpResponse(body=b"ok\n")
        case ["hostname"]:
            return HttpResponse(body=who.pod.encode() + b"\n")
        case ["clientip"]:
            return HttpResponse(body=f"{request.source[0]}:{request.source[1]}\n".encode())
        case ["status", code] if code.isdigit() and 200 <= int(code) < 600:
            return HttpResponse(int(code), f"status {code}\n".encode())
        case ["bytes", size] if size.isdigit() and int(size) <= MAX_BYTES:
            return HttpResponse(body=bytes(int(size)), content_type="application/octet-stream")
        case ["delay", milliseconds] if milliseconds.isdigit():
            return HttpResponse(body=b"late\n", delay_seconds=min(int(milliseconds) / 1000, MAX_DELAY_SECONDS))
    return None


def _echo(who: Answerer, request: HttpRequest, _path: str) -> HttpResponse:
    return HttpResponse(body=json.dumps(who.account(request), indent=1).encode() + b"\n", content_type=JSON)


def _web(who: Answerer, request: HttpRequest, path: str) -> HttpResponse:
    if path not in {"/", "/index.html"}:
        return HttpResponse(404, b"<h1>404 Not Found</h1>\n", "text/html")
    page = (
        f"<!DOCTYPE html>\n<title>Welcome</title>\n<h1>Welcome to {who.pod}</h1>\n<p>You are {request.source[0]}.</p>\n"
    )
    return HttpResponse(body=page.encode(), content_type="text/html")


def _json_store(who: Answerer, request: HttpRequest, path: str) -> HttpResponse:
    """Like a JSON mock server with a public and a private collection."""
    name = path.strip("/").split("/")[0]
    collections = {"posts": "a post", "comments": "a comment", "public": "for everyone", "private": "for some"}
    if not name:
        return HttpResponse(body=json.dumps({"collections": sorted(collections)}).encode(), content_type=JSON)
    if name not in collections:
        return HttpResponse(404, b"{}\n", JSON)
    item = {"id": 1, "body": collections[name], "pod": who.pod}
    return HttpResponse(201 if request.method == "POST" else 200, json.dumps([item]).encode() + b"\n", JSON)


def _death_star(who: Answerer, request: HttpRequest, path: str) -> HttpResponse:
    """The interface of the space station in Cilium's first demo."""
    match request.method, path.rstrip("/"):
        case "POST", "/v1/request-landing":
            return HttpResponse(body=b"Ship landed\n")
        case "PUT", "/v1/exhaust-port":
            return HttpResponse(503, b"Panic: deathstar exploded\n")
        case "GET", "/v1" | "":
            body = {
                "name": "Death Star",
                "hostname": who.pod,
                "paths": ["POST /v1/request-landing", "PUT /v1/exhaust-port"],
            }
            return HttpResponse(body=json.dumps(body).encode() + b"\n", content_type=JSON)
    return HttpResponse(404, b"not found\n")


PROFILES: dict[str, Callable[[Answerer, HttpRequest, str], HttpResponse]] = {
    "deathstar": _death_star,
    "echo": _echo,
    "json": _json_store,
    "web": _web,
}

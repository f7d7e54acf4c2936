"""Just enough HTTP/1.1 for a workload's server: persistent connections, bodies with a length, chunked requests,
pipelining.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

LIMIT_BYTES = 1 << 20
"""Longest head plus body of one request."""


@dataclass(slots=True)
class HttpRequest:
    """A request. Header names are lower-case; addresses are (host, port), IPv4 in its own form."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    source: tuple[str, int]
    server: tuple[str, int]


@dataclass(slots=True)
class HttpResponse:
    """A response; ``delay_seconds`` before it is sent."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0


Answer = Callable[[HttpRequest], HttpResponse]


def address(name: object) -> tuple[str, int]:
    """(host, port) of a socket name; IPv4-mapped IPv6 as IPv4."""
    if not isinstance(name, tuple):
        return "", 0
    host = str(name[0])
    return host.removeprefix("::ffff:") if "." in host else host, int(name[1])


class HttpProtocol(asyncio.Protocol):
    """One connection. Requests are answered in order."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._buffer = b""
        self._delayed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember who is who."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._source = address(transport.get_extra_info("peername"))
        self._server = address(transport.get_extra_info("sockname"))

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._buffer += data
        if len(self._buffer) > LIMIT_BYTES:
            self._send(HttpResponse(413, b"request too large\n"), close=True)
        else:
            self._advance()

    def _advance(self) -> None:
        while not self._delayed and not self._transport.is_closing():
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
            words = first.split(" ")
            if len(words) != 3 or not words[2].startswith("HTTP/1."):
                self._send(HttpResponse(400, b"bad request\n"), close=True)
                return
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            if headers.get("expect", "").lower() == "100-continue":
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self._buffer = self._buffer[:end].replace(b"100-continue", b"") + self._buffer[end:]
                end = self._buffer.find(b"\r\n\r\n")
            try:
                body, rest = _body(headers, self._buffer[end + 4 :])
            except ValueError:
                self._send(HttpResponse(400, b"bad length\n"), close=True)
                return
            if body is None:
                return
            self._buffer = rest
            wish = headers.get("connection", "keep-alive" if words[2] == "HTTP/1.1" else "close").lower()
            request = HttpRequest(words[0], words[1], headers, body, self._source, self._server)
            self._respond(request, close=wish == "close")

    def _respond(self, request: HttpRequest, *, close: bool) -> None:
        response = self._answer(request)
        head = request.method == "HEAD"
        if response.delay_seconds:
            self._delayed = True
            asyncio.get_running_loop().call_later(response.delay_seconds, self._later, response, close, head)
        else:
            self._send(response, close=close, head=head)

    def _later(self, response: HttpResponse, close: bool, head: bool) -> None:
        self._delayed = False
        if not self._transport.is_closing():
            self._send(response, close=close, head=head)
            self._advance()

    def _send(self, response: HttpResponse, *, close: bool, head: bool = False) -> None:
        phrase = HTTPStatus(response.status).phrase if response.status in HTTPStatus.__members__.values() else "Status"
        lines = [
            f"HTTP/1.1 {response.status} {phrase}",
            f"Content-Type: {response.content_type}",
            f"Content-Length: {len(response.body)}",
            "Server: glasshive-echo",
            f"Connection: {'close' if close else 'keep-alive'}",
            *(f"{name}: {value}" for name, value in response.headers.items()),
        ]
        self._transport.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if head else response.body))
        if close:
            self._transport.close()


def _body(headers: dict[str, str], data: bytes) -> tuple[bytes | None, bytes]:
    """The body and what follows it; None if it is not complete yet."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _chunked(data)
    length = int(headers.get("content-length") or 0)
    return (None, b"") if len(data) < length else (data[:length], data[length:])


def _chunked(data: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while True:
        line, found, rest = data.partition(b"\r\n")
        if not found:
            return None, b""
        size = int(line.split(b";")[0] or b"0", 16)
        if len(rest) < size + 2:
            return None, b""
        body, data = body + rest[:size], rest[size + 2 :]
        if size == 0:
            return body, data

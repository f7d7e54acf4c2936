"""The workloads that run in pods, without a pod: HTTP by the byte, answers by profile, the load generator's account."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from glasshive.cluster.embedded.workloads import load
from glasshive.cluster.embedded.workloads.answers import PROFILES, Answerer
from glasshive.cluster.embedded.workloads.http1 import HttpProtocol, HttpRequest, address


async def exchange(profile: str, *pieces: bytes, text: str = "") -> bytes:
    """What a server of that profile sends for these pieces, until it closes."""
    answerer = Answerer(profile, text, {"HOSTNAME": "pod-1", "GLASSHIVE_NODE": "node1"})
    server = await asyncio.get_running_loop().create_server(lambda: HttpProtocol(answerer.answer), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.005)
        data = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    return data


def ask(profile: str, *pieces: bytes, text: str = "") -> bytes:
    return asyncio.run(exchange(profile, *pieces, text=text))


CLOSE = b"Host: x\r\nConnection: close\r\n\r\n"


def test_pipelined_and_torn_requests_are_answered_in_order() -> None:
    first = b"GET /hostname HTTP/1.1\r\nHost: x\r\n\r\nGET /delay/20 HTTP/1.1\r\nHost: x\r\n\r\nGET /sta"
    data = ask("echo", first, b"tus/404 HTTP/1.1\r\n" + CLOSE)
    assert data.count(b"HTTP/1.1 200 OK") == 2
    assert data.index(b"pod-1") < data.index(b"late") < data.index(b"status 404")
    assert b"HTTP/1.1 404 Not Found" in data


def test_bodies_with_length_chunks_and_expectation() -> None:
    sized = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n" + CLOSE
    data = ask("echo", sized, b"he", b"llo")
    assert data.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    account = json.loads(data.partition(b"close\r\n\r\n")[2])
    assert (account["body"], account["method"], account["node"]) == ("hello", "POST", "node1")
    chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + CLOSE
    assert b'"body": "hello"' in ask("echo", chunked, b"3\r\nhel\r\n2", b"\r\nlo\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "request_bytes", [b"nonsense\r\n\r\n", b"GET / SPDY/9\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_nonsense_is_refused(request_bytes: bytes) -> None:
    assert ask("echo", request_bytes).startswith(b"HTTP/1.1 400")


def test_a_head_request_has_no_body_and_a_huge_one_is_cut_off() -> None:
    assert ask("echo", b"HEAD /bytes/100 HTTP/1.1\r\n" + CLOSE).endswith(b"\r\n\r\n")
    assert ask("echo", b"GET / HTTP/1.1\r\nX: " + b"x" * (1 << 20)).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("profile", "line", "status", "text"),
    [
        ("deathstar", b"POST /v1/request-landing", 200, b"Ship landed\n"),
        ("deathstar", b"PUT /v1/exhaust-port", 503, b"Panic: deathstar exploded\n"),
        ("deathstar", b"GET /v1/", 200, b"Death Star"),
        ("web", b"GET /", 200, b"Welcome to pod-1"),
        ("web", b"GET /none", 404, b"404"),
        ("json", b"GET /public", 200, b"for everyone"),
        ("json", b"GET /none", 404, b"{}"),
    ],
)
def test_profiles_of_demo_images(profile: str, line: bytes, status: int, text: bytes) -> None:
    data = ask(profile, line + b" HTTP/1.1\r\n" + CLOSE)
    assert data.startswith(b"HTTP/1.1 %d" % status)
    assert text in data


def test_fixed_text_wins_and_every_profile_is_healthy() -> None:
    assert ask("echo", b"GET /x HTTP/1.1\r\n" + CLOSE, text="mine").endswith(b"\r\n\r\nmine\n")
    request = HttpRequest("GET", "/healthz", {}, b"", ("::1", 1), ("::1", 2))
    for profile in PROFILES:
        assert Answerer(profile, "", {}).answer(request).body == b"ok\n"


def test_ipv4_sources_are_shown_as_such() -> None:
    assert address(("::ffff:10.0.0.1", 5, 0, 0)) == ("10.0.0.1", 5)
    assert address(("fd00::1", 5, 0, 0)) == ("fd00::1", 5)


def run_load(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    status = load.main(list(words))
    return status, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_load_counts_refused_connections(capsys: pytest.CaptureFixture[str]) -> None:
    status, total = run_load(capsys, "tcp://127.0.0.1:1", "--connections", "2", "--duration", "0.2")
    assert status == 1
    assert total["final"]
    assert total["errors"] > 0
    assert total["p50_ms"] is None
    assert "ConnectionRefusedError" in total["error"]
    assert load.main(["--no-such-option"]) == 2

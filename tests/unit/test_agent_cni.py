"""CNI as data, and the plugin executable against a node.sock of paper."""

from __future__ import annotations

import http.server
import io
import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glasshive.agent import cni_plugin
from glasshive.agent.cni_protocol import SUPPORTED, CniError, Code, Request, result
from glasshive.model.address import parse
from glasshive.model.endpoint import Endpoint, PodRef

ENDPOINT = Endpoint(
    7, "c7", "eth0", "/run/netns/x", PodRef("default", "web"), (parse("10.244.1.7"), parse("fd00:10:244:1::7")),
    bytes.fromhex("02670af40107"), bytes.fromhex("06670af40107"), 1450, 300,
)  # fmt: skip
GATEWAYS = ("10.244.1.1", "fd00:10:244:1::1")


def test_result_of_the_current_version() -> None:
    assert result(ENDPOINT, GATEWAYS, "1.1.0") == {
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "gh7", "mac": "06:67:0a:f4:01:07", "mtu": 1450},
            {"name": "eth0", "mac": "02:67:0a:f4:01:07", "mtu": 1450, "sandbox": "/run/netns/x"},
        ],
        "ips": [
            {"interface": 1, "address": "10.244.1.7/32", "gateway": "10.244.1.1"},
            {"interface": 1, "address": "fd00:10:244:1::7/128", "gateway": "fd00:10:244:1::1"},
        ],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.244.1.1"}, {"dst": "::/0", "gw": "fd00:10:244:1::1"}],
        "dns": {},
    }


def test_older_versions_get_what_they_know() -> None:
    old = result(ENDPOINT, GATEWAYS, "0.3.1")
    assert [ip["version"] for ip in old["ips"]] == ["4", "6"]
    assert "mtu" not in old["interfaces"][0]
    assert "version" not in result(ENDPOINT, GATEWAYS, "1.0.0")["ips"][0]


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        ([], Code.DECODING_FAILURE, "JSON object"),
        ({}, Code.INVALID_ENVIRONMENT, "CNI_COMMAND is ''"),
        ({"command": "ADD"}, Code.INVALID_ENVIRONMENT, "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME"),
        ({"command": "DEL", "containerId": "x"}, Code.INVALID_ENVIRONMENT, "CNI_IFNAME"),
        ({"command": "DEL", "containerId": "../x", "ifname": "eth0"}, Code.INVALID_ENVIRONMENT, "forbidden"),
        ({"command": "DEL", "containerId": "x", "ifname": "a/b"}, Code.INVALID_ENVIRONMENT, "not an interface name"),
        ({"command": "DEL", "containerId": "x", "ifname": "e" * 16}, Code.INVALID_ENVIRONMENT, "not an interface name"),
        ({"command": "STATUS", "config": {"cniVersion": "0.1.0"}}, Code.INCOMPATIBLE_VERSION, "0.1.0"),
        ({"command": "STATUS", "config": []}, None, ""),
        ({"command": "STATUS", "config": [1]}, Code.DECODING_FAILURE, "JSON objects"),
    ],
)
def test_requests_are_checked_before_anything_is_done(data: Any, code: Code | None, words: str) -> None:
    if code is None:
        assert Request.from_json(data).version == "1.1.0"
        return
    with pytest.raises(CniError, match=words) as caught:
        Request.from_json(data)
    assert caught.value.code == code
    assert caught.value.to_json()["code"] == int(code)


def test_gc_names_what_stays() -> None:
    keep = [{"containerID": "a", "ifname": "eth0"}]
    request = Request.from_json({"command": "GC", "config": {"cni.dev/valid-attachments": keep}})
    assert request.attachments() == [("a", "eth0")]
    for config in ({}, {"cni.dev/valid-attachments": [1]}, {"cni.dev/valid-attachments": [{"ifname": "x"}]}):
        with pytest.raises(CniError):
            Request.from_json({"command": "GC", "config": config}).attachments()


# -- the executable


class Node(socketserver.ThreadingUnixStreamServer):
    """A node.sock that writes down what it is asked."""

    asked: list[dict[str, Any]]
    answer: dict[str, Any]


class Handler(http.server.BaseHTTPRequestHandler):
    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        assert isinstance(self.server, Node)
        assert self.path == "/cni"
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        body = json.dumps(self.server.answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[Node, str]]:
    path = str(tmp_path / "node.sock")
    with Node(path, Handler) as server:
        server.asked, server.answer = [], {}
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server, path
        server.shutdown()
        thread.join()


def environment(command: str) -> dict[str, str]:
    return {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "c7",
        "CNI_NETNS": "/run/netns/x",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
    }


def test_the_executable_hands_the_call_to_the_agent(node: tuple[Node, str]) -> None:
    server, path = node
    server.answer = result(ENDPOINT, GATEWAYS, "1.1.0")
    config = {"cniVersion": "1.1.0", "name": "glasshive", "type": "glasshive-cni", "socket": path}
    done = subprocess.run(
        [sys.executable, "-m", "glasshive.agent.cni_plugin"],
        input=json.dumps(config), env={**os.environ, **environment("ADD")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == server.answer
    (asked,) = server.asked
    assert asked == {
        "command": "ADD",
        "containerId": "c7",
        "netns": "/run/netns/x",
        "ifname": "eth0",
        "args": {"IgnoreUnknown": "1", "K8S_POD_NAMESPACE": "default", "K8S_POD_NAME": "web"},
        "config": config,
    }


def run(command: str, config: str) -> tuple[int, dict[str, Any]]:
    out = io.StringIO()
    status = cni_plugin.run(environment(command), io.StringIO(config), out)
    return status, json.loads(out.getvalue() or "{}")


def test_success_without_result_prints_nothing(node: tuple[Node, str]) -> None:
    assert run("DEL", json.dumps({"socket": node[1]})) == (0, {})


def test_an_error_result_is_printed_and_is_the_exit_status(node: tuple[Node, str]) -> None:
    node[0].answer = CniError(Code.EXHAUSTED, "no address left").to_json()
    status, answer = run("ADD", json.dumps({"socket": node[1]}))
    assert status == 1
    assert answer == {"cniVersion": "1.1.0", "code": 100, "msg": "no address left"}


def test_an_agent_that_is_away_means_try_again(tmp_path: Path) -> None:
    status, answer = run("ADD", json.dumps({"socket": str(tmp_path / "none.sock"), "cniVersion": "0.4.0"}))
    assert status == 1
    assert answer["code"] == 11
    assert answer["cniVersion"] == "0.4.0"
    assert "none.sock" in answer["msg"]


@pytest.mark.parametrize("config", ["", "{", "[]"])
def test_a_configuration_that_is_none(config: str) -> None:
    status, answer = run("ADD", config)
    assert (status, answer["code"]) == (1, 6)


def test_arguments_that_are_no_pairs() -> None:
    out = io.StringIO()
    assert cni_plugin.run({**environment("ADD"), "CNI_ARGS": "a=1;b"}, io.StringIO("{}"), out) == 1
    assert json.loads(out.getvalue())["code"] == 4


def test_version_needs_no_agent() -> None:
    status, answer = run("VERSION", "")
    assert status == 0
    assert answer["supportedVersions"] == list(SUPPORTED) == list(cni_plugin.SUPPORTED)

"""The CNI plugin that a container runtime executes: hands the call to the node's agent, prints what it answers.

Configuration comes on stdin, the call in CNI_* variables (CNI specification 1.1). Our own field of the configuration
is ``socket``: path of the node's node.sock. Only the standard library is used, so a call starts in milliseconds.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any, TextIO

CURRENT = "1.1.0"
DEFAULT_SOCKET = "/run/glasshive/node.sock"
TIMEOUT_SECONDS = 60.0
SUPPORTED = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

_INVALID_ENVIRONMENT, _IO_FAILURE, _DECODING_FAILURE, _TRY_AGAIN = 4, 5, 6, 11


class _RefusedError(Exception):
    """Becomes the error result."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Open the socket instead of a TCP connection."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def parse_args(text: str) -> dict[str, str]:
    """CNI_ARGS (``K=V;K=V``) as a dictionary."""
    found = {}
    for pair in filter(None, text.split(";")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise _RefusedError(_INVALID_ENVIRONMENT, f"CNI_ARGS has {pair!r}, which is not KEY=VALUE")
        found[key] = value
    return found


def request_of(environment: Mapping[str, str], config: Mapping[str, Any]) -> dict[str, Any]:
    """The call as JSON, in the form that ``POST /cni`` takes."""
    return {
        "command": environment.get("CNI_COMMAND", ""),
        "containerId": environment.get("CNI_CONTAINERID", ""),
        "netns": environment.get("CNI_NETNS", ""),
        "ifname": environment.get("CNI_IFNAME", ""),
        "args": parse_args(environment.get("CNI_ARGS", "")),
        "config": dict(config),
    }


def call(path: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the agent. An agent that is away (being restarted) is worth another try, and the result says so."""
    connection = _UnixConnection(path)
    try:
        connection.request("POST", "/cni", json.dumps(request), {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read() or b"{}")
    except (OSError, http.client.HTTPException) as error:
        raise _RefusedError(_TRY_AGAIN, f"the agent does not answer on {path}: {error}", "is the node up?") from error
    except json.JSONDecodeError as error:
        raise _RefusedError(_DECODING_FAILURE, f"the agent's answer on {path} is not JSON") from error
    finally:
        connection.close()
    return dict(answer)


def run(environment: Mapping[str, str], stdin: TextIO, stdout: TextIO) -> int:
    """One execution of the plugin; the exit status."""
    version = CURRENT
    try:
        if environment.get("CNI_COMMAND") == "VERSION":
            answer: dict[str, Any] = {"cniVersion": CURRENT, "supportedVersions": list(SUPPORTED)}
        else:
            config = _config(stdin.read())
            version = str(config.get("cniVersion") or CURRENT)
            answer = call(str(config.get("socket") or DEFAULT_SOCKET), request_of(environment, config))
    except _RefusedError as refusal:
        answer = {"cniVersion": version, "code": refusal.code, "msg": str(refusal), "details": refusal.details}
    if answer:
        json.dump(answer, stdout)
        stdout.write("\n")
    return 1 if "code" in answer else 0


def _config(text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise _RefusedError(_DECODING_FAILURE, f"the network configuration on stdin is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise _RefusedError(_DECODING_FAILURE, "the network configuration on stdin is not a JSON object")
    return config


def main() -> int:
    """Entry point of the executable."""
    return run(os.environ, sys.stdin, sys.stdout)


if __name__ == "__main__":
    sys.exit(main())

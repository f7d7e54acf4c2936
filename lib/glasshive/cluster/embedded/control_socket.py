"""Talking to a supervisor: one JSON line to ``supervisor.sock``, one JSON line back.

Commands: ``{"command": "status"}`` returns the state. ``{"command": "stop"}`` is confirmed, then the supervisor ends
its children and itself. ``{"command": "stop-process", "process": NAME, "kill": true}`` has one child end and stay
ended, at once with ``kill``, else asked with SIGTERM first; ``{"command": "start-process", "process": NAME}`` starts it
again. Refusals are ``{"ok": false, "error": text}``.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LIMIT_BYTES = 1 << 20
_ANSWER_SECONDS = 10.0


def listen(path: Path) -> socket.socket:
    """Return a listening socket at ``path`` (mode 0600); a predecessor's file is replaced."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    mask = os.umask(0o177)
    try:
        server.bind(os.fspath(path))
    finally:
        os.umask(mask)
    server.listen(16)
    server.setblocking(False)
    return server


def serve_one(server: socket.socket, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Accept one client and answer it. A client that stalls or talks nonsense is dropped."""
    try:
        client, _ = server.accept()
    except BlockingIOError:
        return
    with client, contextlib.suppress(OSError, ValueError):
        client.settimeout(0.5)  # s; clients are local and write at once
        request = json.loads(_read_line(client))
        client.sendall(json.dumps(answer(request)).encode() + b"\n")


def ask(path: Path, command: str, **more: Any) -> dict[str, Any] | None:
    """Send a command with its arguments; the answer, or None if no supervisor listens there.

    On a busy machine a client may be held up for so long that it is dropped as one that stalls: it asks again. Every
    command may be given twice.
    """
    deadline = time.monotonic() + _ANSWER_SECONDS
    while True:
        try:
            return _ask_once(path, {"command": command, **more})
        except (ConnectionResetError, BrokenPipeError, ValueError):
            if time.monotonic() > deadline:
                return None
            time.sleep(0.05)  # the deadline ends this
        except OSError:
            return None


def _ask_once(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError if there is no whole answer, OSError if nobody listens or the time is over."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as client:
        client.settimeout(_ANSWER_SECONDS)
        client.connect(os.fspath(path))
        client.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(_read_line(client))
        return answer


def _read_line(stream: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) < _LIMIT_BYTES:
        chunk = stream.recv(65536)
        if not chunk:
            break
        data += chunk
    return data

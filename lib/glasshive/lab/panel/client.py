"""Finding the panel's server of a lab, or starting it; it is one process for all notebooks that show the lab."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.errors import ClusterError
from glasshive.inventory import Inventory, Kind
from glasshive.lab.panel.server import address_file

ANSWER_SECONDS, SILENCE_SECONDS = 5.0, 60.0
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "GLASSHIVE_LABS")


class Address(NamedTuple):
    """How to reach a panel's server: ``url`` on loopback, and the token it wants to see."""

    url: str
    token: str
    pid: int

    def board(self) -> dict[str, Any]:
        """Ask for the board once. Raises OSError when nobody answers."""
        return self._ask("GET", "/board")

    def rest(self) -> None:
        """End the server, if it is there: the lab was reset."""
        with contextlib.suppress(OSError):
            self._ask("POST", "/end")

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        place = urlsplit(self.url)
        connection = HTTPConnection(place.hostname or "", place.port, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, f"{path}?token={self.token}")
            answer = connection.getresponse()
            content = answer.read()
        except HTTPException as trouble:
            raise ConnectionError(f"{self.url} does not speak HTTP") from trouble
        finally:
            connection.close()
        if answer.status != 200:
            raise ConnectionError(f"{self.url} answers {answer.status}")
        found: dict[str, Any] = json.loads(content)
        return found


def listen(address: Address) -> Iterator[tuple[str, Any]]:
    """Hear what a browser would: (event, content), until the server ends. Raises OSError when it is not there."""
    place = urlsplit(address.url)
    connection = HTTPConnection(place.hostname or "", place.port, timeout=SILENCE_SECONDS)
    try:
        connection.request("GET", f"/events?token={address.token}")
        answer = connection.getresponse()
        if answer.status != 200:
            raise ConnectionError(f"{address.url} answers {answer.status}")
        name = ""
        for raw in answer:
            word, _, rest = raw.decode().strip().partition(": ")
            if word == "event":
                name = rest
            elif word == "data":
                yield name, json.loads(rest)
    finally:
        connection.close()


def find(cluster: str, lab: str) -> Address | None:
    """Find the server that runs for a lab; None if there is none that answers."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        plain = json.loads(address_file(cluster, lab).read_text(encoding="ascii"))
        address = Address(str(plain["url"]), str(plain["token"]), int(plain["pid"]))
        address.board()
        return address
    return None


def start(cluster: str, lab: str) -> Address:
    """Find the server of a lab, or start it: a process in a session of its own, which a kernel's end does not touch.

    It is not waited for: the socket that it will answer on listens already.
    """
    with _lock(cluster, lab):
        found = find(cluster, lab)
        if found is not None:
            return found
        command = [sys.executable, "-I", "-m", "glasshive.lab.panel.server", cluster, lab]
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        token = secrets.token_urlsafe(24)
        with (
            socket.create_server(("127.0.0.1", 0)) as listening,
            open(_log(cluster, lab), "wb", opener=_private) as log,
        ):
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=[listening.fileno()],
                cwd="/", env=environment, start_new_session=True,
            )  # fmt: skip
            assert child.stdin is not None
            with child.stdin as given:
                given.write(json.dumps({"fd": listening.fileno(), "token": token}).encode() + b"\n")
            port = listening.getsockname()[1]
        threading.Thread(target=child.wait, name="panel-server", daemon=True).start()  # leaves no zombie behind
        address = Address(f"http://127.0.0.1:{port}", token, child.pid)
        file = address_file(cluster, lab)
        Inventory(ClusterPaths(cluster).inventory_file).add(Kind.FILE, file)
        with open(file, "w", encoding="ascii", opener=_private) as writing:
            json.dump(address._asdict(), writing)
        return address


def _log(cluster: str, lab: str) -> Path:
    return ClusterPaths(cluster).run / f"panel-{lab}.log"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def _lock(cluster: str, lab: str) -> Iterator[None]:
    """One at a time starts the server."""
    run = ClusterPaths(cluster).run
    if not run.is_dir():
        raise ClusterError(f"cluster {cluster} is gone", hint="run the first cell again")
    with open(run / f"panel-{lab}.lock", "a", opener=_private) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""The grader: ``python -I -m glasshive.lab.grading.process CLUSTER LAB``. Started by ``client``, one for a lab session.

A process of its own, which imports nothing of the learner's (isolated mode, working folder /), keeps only the
capabilities that reading needs, and answers ``protocol`` on a unix socket below the cluster's run directory. It is in
the cluster's inventory, so ``glasshive down`` ends it; it ends by itself when nobody has asked for ``IDLE_SECONDS``.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

from glasshive.cluster import connect
from glasshive.cluster.embedded.config import check_name
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.errors import GlasshiveError, UsageError
from glasshive.inventory import Inventory, Kind, process_ident
from glasshive.lab.grading import protocol
from glasshive.lab.grading.desk import Desk
from glasshive.lab.grading.protocol import Request
from glasshive.lab.manifest import find_lab
from glasshive.net import libc

IDLE_SECONDS = 900.0
READY = "ready"
_LOOK_S = 0.5
_PATIENCE_S = 5.0
# Numbers of capabilities(7). sys_admin: enter namespaces, list BPF objects; net_raw: packet sockets; bpf: open pins.
_CAPABILITIES = (1 << 21) | (1 << 13) | (1 << 39)


def socket_path(cluster: str, lab: str) -> Path:
    """Where the grader of a lab on a cluster listens."""
    return ClusterPaths(cluster).run / f"grader-{lab}.sock"


class Grader:
    """Answers one connection after the other in threads; grading itself is one at a time."""

    def __init__(self, cluster: str, lab: str) -> None:
        self.desk = Desk(connect(cluster), find_lab(lab))
        self.path = socket_path(cluster, lab)
        self.paths = ClusterPaths(cluster)
        self.asked = time.monotonic()
        self.ending = threading.Event()
        self._one_at_a_time = threading.Lock()

    def answer(self, line: bytes) -> dict[str, Any]:
        """Answer a request; what is wrong is an answer too."""
        self.asked = time.monotonic()
        try:
            return {"ok": self._do(protocol.read_request(line))}
        except GlasshiveError as trouble:
            return protocol.refusal(trouble)
        finally:
            self.asked = time.monotonic()

    def _do(self, request: Request) -> Any:
        if request.do == "end":
            self.ending.set()  # noticed within a second: the answer gets out first
        if request.do == "check":
            # One at a time: a probe must not meet another check's canaries.
            with self._one_at_a_time:
                result = self.desk.check(request.tasks, within_s=request.within_s)
            return [one.to_json() for one in result.tasks]
        if request.do == "ready":
            if len(request.tasks) != 1:
                raise UsageError("ready asks for one task")
            found = self.desk.ready(request.tasks[0])
            return {"verdict": found.verdict.value, "observed": found.observed, "wanted": found.wanted}
        return {"pid": os.getpid()}

    def serve(self, server: socket.socket) -> None:
        """Answer until told to end, idle for long, or until the cluster or the socket is gone."""
        server.settimeout(_LOOK_S)
        mine = self.path.stat().st_ino
        while not self.ending.is_set() and time.monotonic() - self.asked < IDLE_SECONDS:
            with contextlib.suppress(TimeoutError):
                client, _ = server.accept()
                threading.Thread(target=self._converse, args=(client,), daemon=True).start()
            if not self.paths.cluster_file.exists() or _inode(self.path) != mine:
                return

    def _converse(self, client: socket.socket) -> None:
        """One request, one answer. A client of another user, or one that stalls, is dropped."""
        with client, contextlib.suppress(OSError):
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            if struct.unpack("3i", credentials)[1] != os.getuid():
                return
            client.settimeout(_PATIENCE_S)
            with client.makefile("rb") as lines:
                line = lines.readline(protocol.LIMIT_BYTES + 1)
            client.settimeout(None)
            client.sendall(json.dumps(self.answer(line)).encode() + b"\n")


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def main(arguments: list[str]) -> int:
    """Serve until the lab ends. Says ``ready``, or one line of what is wrong, on standard output."""
    try:
        cluster, lab = arguments
        check_name(cluster)
        if not protocol.LAB_ID.fullmatch(lab):
            raise UsageError(f"{lab!r} is no lab's id")
        inventory = Inventory(ClusterPaths(cluster).inventory_file)
        grader = Grader(cluster, lab)
    except GlasshiveError as trouble:
        print(json.dumps(protocol.refusal(trouble)), flush=True)
        return 1
    os.umask(0o177)
    ident = process_ident(os.getpid())
    assert ident is not None
    owned = [(Kind.PROCESS, ident), (Kind.FILE, str(grader.path))]
    inventory.add_all(owned)
    grader.path.unlink(missing_ok=True)  # of one that was killed: whoever starts us holds the lock
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as server:
        server.bind(os.fspath(grader.path))
        server.listen(16)
        mine = _inode(grader.path)
        libc.limit_capabilities(_CAPABILITIES)
        print(json.dumps({"ok": READY}), flush=True)
        grader.serve(server)
    if ClusterPaths(cluster).run.exists():
        if _inode(grader.path) == mine:
            grader.path.unlink(missing_ok=True)
        inventory.forget_all(owned)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

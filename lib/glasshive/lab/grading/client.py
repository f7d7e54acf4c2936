"""Asking the grader, and starting it when it does not run: what the notebook, the command line and the panel use.

Same questions as ``Desk``; the answers come from another process, whose state is nobody's notebook.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from glasshive.cluster import Cluster
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.errors import ClusterError
from glasshive.lab.grading import process, protocol
from glasshive.lab.grading.protocol import Request
from glasshive.lab.grading.score import LabResult, TaskResult
from glasshive.lab.manifest import LabEntry
from glasshive.lab.task import LONGEST_SECONDS
from glasshive.model.check_result import CheckResult, Verdict

ANSWER_SECONDS = 2 * LONGEST_SECONDS * 8  # every check of a long chain of tasks tried twice
START_SECONDS, END_SECONDS = 20.0, 5.0
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "GLASSHIVE_LABS")


class GraderClient:
    """The grader of one lab on one cluster."""

    def __init__(self, cluster: Cluster, entry: LabEntry) -> None:
        self.cluster = cluster.name
        self.entry = entry
        self.path = process.socket_path(cluster.name, entry.id)
        self._child: subprocess.Popen[bytes] | None = None

    def check(self, wanted: Sequence[str] = (), *, within_s: float | None = None) -> LabResult:
        """Grade the tasks named, or all. Raises NotFoundError for a task that the lab does not have."""
        answer = self._ask(Request("check", tuple(wanted), within_s))
        return LabResult(self.entry.id, tuple(TaskResult.from_json(one) for one in answer))

    def ready(self, wanted: str) -> CheckResult:
        """Whether what a task starts from is really there."""
        told = self._ask(Request("ready", (wanted,)))
        return CheckResult("ready", Verdict(told["verdict"]), str(told["observed"]), str(told["wanted"]))

    def warm(self) -> int:
        """Have the grader running; its process number."""
        return int(self._ask(Request("ping"))["pid"])

    def end(self) -> None:
        """End the grader, if it runs."""
        with contextlib.suppress(ConnectionError, FileNotFoundError):
            self._exchange(Request("end"))
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it ends by itself, and somebody else may reap it
                self._child.wait(END_SECONDS)
            self._child = None

    def _ask(self, request: Request) -> Any:
        """Ask, starting the grader first if nobody listens; one that dies meanwhile is replaced once."""
        for _ in range(3):
            with contextlib.suppress(ConnectionError, FileNotFoundError):
                return self._exchange(request)
            self._start()
        raise ClusterError(f"the grader of lab {self.entry.id} does not stay up", hint=f"see {self._log}")

    def _exchange(self, request: Request) -> Any:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(ANSWER_SECONDS)
            sock.connect(os.fspath(self.path))
            sock.sendall(request.to_line())
            with sock.makefile("rb") as lines:
                line = lines.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the grader went away")
        return protocol.read_answer(line)

    @property
    def _log(self) -> Path:
        return self.path.with_suffix(".log")

    def _start(self) -> None:
        """Start it, unless somebody else has meanwhile. Raises what the grader says is wrong."""
        with self._lock():
            with contextlib.suppress(ConnectionError, FileNotFoundError):
                self._exchange(Request("ping"))
                return
            command = [sys.executable, "-I", "-m", "glasshive.lab.grading.process", self.cluster, self.entry.id]
            environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
            with open(self._log, "wb", opener=_private) as log:
                self._child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                    cwd="/", env=environment, start_new_session=True,
                )  # fmt: skip
            protocol.read_answer(self._first_line(self._child))

    def _first_line(self, child: subprocess.Popen[bytes]) -> bytes:
        assert child.stdout is not None
        with child.stdout as lines:
            if select.select([lines], [], [], START_SECONDS)[0] and (line := lines.readline()):
                return line
        child.kill()
        child.wait()
        said = self._log.read_text(errors="replace").strip().splitlines() or ["nothing"]
        raise ClusterError(f"the grader did not start; it says: {said[-1]}", hint=f"see {self._log}")

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One at a time starts the grader. Raises NotFoundError when the cluster is gone."""
        run = ClusterPaths(self.cluster).run
        if not run.is_dir():
            raise ClusterError(f"cluster {self.cluster} is gone", hint="run the first cell again")
        with open(self.path.with_suffix(".lock"), "a", opener=_private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

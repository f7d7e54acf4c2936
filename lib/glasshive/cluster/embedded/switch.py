"""Stopping one process of a cluster on purpose and starting it again: a word to the supervisor, then watching."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from glasshive.cluster.embedded import control_socket
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.cluster.embedded.state import ProcessState, State
from glasshive.errors import ClusterError, DeadlineError

STOP_SECONDS, START_SECONDS = 15.0, 30.0
_LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class SupervisedProcess:
    """One process of an embedded cluster, by its name in ``status``."""

    paths: ClusterPaths
    name: str

    @property
    def log(self) -> str:
        """Path of its log file."""
        return str(self.paths.log(self.name))

    def stop(self, *, kill: bool = False) -> None:
        """Have it end (SIGKILL with ``kill``, else SIGTERM first) and stay ended; returns when it has."""
        self._ask("stop-process", kill=kill)
        self._until(lambda process: not process.ident, STOP_SECONDS, "has not ended")

    def start(self) -> None:
        """Start it if it was stopped; returns when it is ready, also if somebody else's start is under way."""
        self._ask("start-process")
        self._until(lambda process: process.ready, START_SECONDS, "is not ready")

    def _ask(self, command: str, **more: object) -> None:
        answer = control_socket.ask(self.paths.supervisor_socket, command, process=self.name, **more)
        if answer is None:
            raise ClusterError(
                f"the supervisor of cluster {self.paths.cluster} does not answer",
                hint=f"glasshive up {self.paths.cluster}",
            )
        if not answer["ok"]:
            raise ClusterError(f"cluster {self.paths.cluster}: {answer['error']}")

    def _until(self, holds: Callable[[ProcessState], bool], seconds: float, missing: str) -> None:
        deadline = time.monotonic() + seconds
        while True:
            answer = control_socket.ask(self.paths.supervisor_socket, "status")
            process = State.from_dict(answer["state"]).processes.get(self.name) if answer else None
            if process is not None and holds(process):
                return
            if time.monotonic() > deadline:
                last = f"; it ended with {process.last_exit} at {process.last_exit_at}" if process else ""
                raise DeadlineError(f"{self.name} {missing} after {seconds:g} s{last}", hint=f"see {self.log}")
            time.sleep(_LOOK_SECONDS)  # it is the supervisor's child, not ours; the deadline ends this

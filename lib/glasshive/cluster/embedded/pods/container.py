"""One container's life: started, ended, started again by the restart policy with growing waits.

A state machine without I/O of its own besides starting and killing; ``podinit`` feeds it exits and time.
States are those of the Kubernetes API: waiting, running, terminated.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from dataclasses import dataclass, field
from typing import Any

from glasshive.cluster.embedded.pods import process
from glasshive.cluster.embedded.pods.crilog import LogFile
from glasshive.cluster.embedded.pods.spec import ContainerSpec

BACKOFF_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0, 10.0)
"""Wait before the n-th restart in a row. Kubernetes' own begins at 10 s and grows to 300 s: a lab has less time."""
STEADY_SECONDS = 60.0
"""A run that lasted this long begins the waits anew."""


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@dataclass(slots=True)
class Container:
    """A container and its current run. ``state`` and ``last`` have the form of the API's containerStatuses."""

    spec: ContainerSpec
    policy: str
    cgroup: int
    """Descriptor of the container's cgroup directory."""
    logs: int
    """Descriptor of the directory of its log files."""
    separate_mounts: bool = False
    state: dict[str, Any] = field(default_factory=lambda: {"waiting": {"reason": "PodInitializing"}})
    last: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    pid: int = 0
    container_id: str = ""
    run: process.Started | None = None
    log: LogFile | None = None
    failure: str = ""
    due: float | None = None
    """Monotonic time of the next start."""
    kill_at: float | None = None
    stopping: bool = False
    begun: float = 0.0
    started_at: str = ""
    streak: int = 0

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.pid != 0

    @property
    def finished(self) -> bool:
        """Whether it has ended and will not be started again."""
        return not self.running and self.due is None and "terminated" in self.state

    @property
    def succeeded(self) -> bool:
        """Whether it has finished with status 0."""
        return self.finished and self.state["terminated"]["exitCode"] == 0

    def start(self) -> process.Started:
        """Start a run; its pipes are for the caller to read, and :meth:`up` to be called when ``failure`` has ended."""
        self.due = None
        self.failure = ""
        self._forget_logs()
        self.log = LogFile(self.logs, f"{self.restarts}.log")
        procs = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.cgroup)
        try:
            self.run = process.start(self._start(procs))
        finally:
            os.close(procs)
        self.pid = self.run.pid
        self.container_id = f"glasshive://{secrets.token_hex(32)}"
        self.begun = time.monotonic()
        self.started_at = _now()
        self.state = {"waiting": {"reason": "ContainerCreating"}}
        return self.run

    def up(self) -> None:
        """The run's own code has begun (or it has failed to, which its end will tell)."""
        if self.running and not self.failure:
            self.state = {"running": {"startedAt": self.started_at}}

    def _forget_logs(self) -> None:
        """Keep this run's log and the one before (``kubectl logs --previous``)."""
        for name in (f"{self.restarts - 2}.log", f"{self.restarts - 2}.log.1"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.logs)

    def command(self, argv: list[str], procs: int, mount_namespace: int) -> process.Start:
        """What to start for a command run in this container."""
        command = self._start(procs)
        command.stdin = command.terminal = False
        command.argv, command.workload, command.mounts = argv, "", None
        command.mount_namespace = mount_namespace
        return command

    def _start(self, procs: int) -> process.Start:
        spec = self.spec
        return process.Start(
            argv=spec.argv, workload=spec.workload, args=spec.args, env=spec.env, cwd=spec.cwd, user=spec.user,
            group=spec.group, capabilities=spec.capabilities, cgroup_procs=procs,
            mounts=[(m.source, m.target, m.read_only) for m in spec.mounts] if self.separate_mounts else None,
            stdin=spec.stdin, terminal=spec.terminal,
        )  # fmt: skip

    def signal(self, grace_seconds: float) -> None:
        """Ask the run to end by SIGTERM; :meth:`overdue` kills it after the grace period."""
        if not self.running or self.kill_at is not None:
            return
        self.kill_at = time.monotonic() + grace_seconds
        try:
            os.kill(self.pid, signal.SIGTERM if grace_seconds > 0 else signal.SIGKILL)
        except ProcessLookupError:
            return  # a zombie by now: its end is already on the way

    def stop(self, grace_seconds: float) -> None:
        """End it for good."""
        self.stopping = True
        if self.running:
            self.signal(grace_seconds)
        elif not self.finished:
            self._cancel()

    def _cancel(self) -> None:
        self.due = None
        if self.last:
            self.state = self.last
        else:
            self.state = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None}}

    def overdue(self) -> None:
        """Kill all of it if its grace period is over."""
        if self.running and self.kill_at is not None and time.monotonic() >= self.kill_at:
            self.kill_at = float("inf")
            process.kill_group(self.cgroup)

    def ended(self, status: int) -> None:
        """Take note that the run's process has ended (``status`` as waitpid gives it); plan the next start if there is
        one.
        """
        process.kill_group(self.cgroup)  # what the container started goes with it
        code = os.waitstatus_to_exitcode(status)
        terminated: dict[str, Any] = {
            "exitCode": 128 - code if code < 0 else code,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": self.started_at,
            "finishedAt": _now(),
            "containerID": self.container_id,
        }
        if code < 0:
            terminated["signal"] = -code
        if self.failure:
            terminated |= {"reason": "StartError", "message": self.failure, "exitCode": 128}
        self.pid, self.kill_at = 0, None
        self.state = {"terminated": terminated}
        if self.stopping or not self._again(terminated["exitCode"]):
            return
        self.last = self.state
        lived = time.monotonic() - self.begun
        self.streak = 0 if lived >= STEADY_SECONDS else self.streak
        wait = BACKOFF_SECONDS[min(self.streak, len(BACKOFF_SECONDS) - 1)]
        self.streak += 1
        self.restarts += 1
        self.due = time.monotonic() + wait
        if wait:
            text = f"back-off {wait:g}s restarting failed container={self.spec.name}"
            self.state = {"waiting": {"reason": "CrashLoopBackOff", "message": text}}

    def _again(self, exit_code: int) -> bool:
        return self.policy == "Always" or (self.policy == "OnFailure" and exit_code != 0)

    def status(self) -> dict[str, Any]:
        """Form for status.json."""
        return {
            "name": self.spec.name, "image": self.spec.image, "state": self.state, "lastState": self.last,
            "restartCount": self.restarts, "containerID": self.container_id,
        }  # fmt: skip

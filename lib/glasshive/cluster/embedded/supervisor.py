"""The supervisor of one embedded cluster: a detached process of one thread that forks, watches and restarts the others.

``python -m glasshive.cluster.embedded.supervisor CLUSTER PROGRESS_FD`` is started by ``launch``, already in its cgroup.
It makes the fabric, imports everything once, forks the control plane and the nodes (``processes`` says what they are),
and then waits: for children that end, for commands on its socket, for SIGTERM. What ended is restarted with back-off,
counted and logged; what was stopped on purpose stays stopped until it is started again. A child takes milliseconds to
fork because nothing is left to import.

Progress goes to PROGRESS_FD as JSON lines (``launch`` shows them): ``{"step": ...}``, at last ``{"ready": true}`` or
``{"failed": text}``. If a cluster's supervisor was killed, a new one takes over: fabric, pods and pins stay, the agents
and the control plane are replaced.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glasshive.cluster.embedded import children, control_socket, fabric, record, state
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.cluster.embedded.state import ProcessState, State
from glasshive.errors import ProcessError
from glasshive.inventory import Inventory, Kind, process_alive, process_ident
from glasshive.net import libc

LOG = logging.getLogger("glasshive.supervisor")

BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_SECONDS = 30.0  # a process that lived this long starts again without back-off
STOP_SECONDS = 1.5  # from SIGTERM to SIGKILL
LOG_TAIL_LINES = 3


@dataclass
class Child:
    """A supervised program and its current incarnation."""

    program: children.Program
    state: ProcessState
    reader: int = -1
    buffer: bytes = b""
    error: str = ""  # why it ended, in its own words
    started: float = 0.0  # monotonic seconds
    failures: int = 0  # in a row
    restart_at: float | None = None  # monotonic seconds
    kill_at: float | None = None  # monotonic seconds; it was asked to end


class Supervisor:
    """Holds the children of one cluster. ``progress_fd`` is -1 once nobody wants progress any more."""

    def __init__(self, paths: ClusterPaths, progress_fd: int) -> None:
        self.paths = paths
        self.config = record.read(paths).config
        self.state = State(supervisor=process_ident(os.getpid()) or "")
        self._progress_fd = progress_fd
        self._inventory = Inventory(paths.inventory_file)
        self._children: dict[str, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._control: socket.socket | None = None
        self._stopping = False
        self._launched = False  # all programs have been started once

    def run(self) -> int:
        """Bring the cluster up, supervise it until told to stop. Returns the exit status."""
        self._inventory.add(Kind.PROCESS, self.state.supervisor)
        self._install_signals()
        self._control = control_socket.listen(self.paths.supervisor_socket)
        self._selector.register(self._control, selectors.EVENT_READ, self._on_control)
        try:
            self._start()
            while not self._stopping:
                self._wait()
        except Exception as error:
            LOG.exception("supervisor ends")
            self._progress({"failed": str(error)})
            if self.state.phase == state.STARTING:  # later, the children go on without: the next "up" takes over
                self._stop_children()
            return 1
        self._stop_children()
        return 0

    def progress(self, step: str) -> None:
        """Tell a waiting ``up`` what has been done."""
        LOG.info("%s", step)
        self._progress({"step": step})

    def poll(self, timeout: float | None = 0.0) -> None:
        """Handle what has happened, waiting up to ``timeout`` seconds (None: for ever) for something to happen."""
        for key, _ in self._selector.select(timeout):
            key.data()

    def launch(self, program: children.Program) -> None:
        """Add a program and start it."""
        child = Child(program, self.state.processes.setdefault(program.name, ProcessState(program.name, program.role)))
        self._children[program.name] = child
        self._fork(child)

    # --- start ---

    def _start(self) -> None:
        from glasshive.cluster.embedded import processes

        previous = State.read(self.paths.state_file)
        if previous is not None and fabric.standing(self.config, self.paths):
            self._take_over(previous)
            processes.launch_control_plane(self)
        else:
            processes.launch_control_plane(self)
            fabric.build(self.config, self.paths)
            self.progress(f"fabric and {self.config.nodes} node namespaces")
        processes.launch_nodes(self)
        self._launched = True
        self._check_ready()
        self._save()

    def _take_over(self, previous: State) -> None:
        """Replace all processes of a supervisor that was killed; keep facts, counts, and pods: those need no other."""
        self.state.facts = previous.facts
        self.state.events = previous.events
        for name, process in previous.processes.items():
            pid = process_alive(process.ident) if process.ident else None
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
            self._inventory.forget(Kind.PROCESS, process.ident)
            restarts = process.restarts if process.stopped else process.restarts + 1
            self.state.processes[name] = ProcessState(name, process.role, restarts=restarts)
        self._event(f"supervisor {previous.supervisor.partition(':')[0]} had died; {os.getpid()} took over")
        self.progress("fabric of the cluster whose supervisor had died")

    def _fork(self, child: Child) -> None:
        child.restart_at = child.kill_at = None
        pid, child.reader = children.fork(child.program)
        child.started = time.monotonic()
        child.buffer, child.error = b"", ""
        child.state.ident = process_ident(pid) or f"{pid}:0"
        child.state.started_at = state.now()
        child.state.ready = False
        self._inventory.add(Kind.PROCESS, child.state.ident)
        self._selector.register(child.reader, selectors.EVENT_READ, lambda: self._on_report(child))

    def _restart(self, child: Child) -> None:
        try:
            self._fork(child)
        except OSError as error:  # out of memory or processes: that may pass
            child.restart_at = time.monotonic() + BACKOFF_SECONDS[-1]
            self._event(f"{child.program.title} could not be restarted: {error}")
        self._save()

    # --- events ---

    def _install_signals(self) -> None:
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_stopping", True))
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._on_signal)

    def _wait(self) -> None:
        due = [at for c in self._children.values() for at in (c.restart_at, c.kill_at) if at is not None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        self.poll(timeout)
        for child in self._children.values():
            if child.restart_at is not None and child.restart_at <= time.monotonic() and not self._stopping:
                self._restart(child)
            if child.kill_at is not None and child.kill_at <= time.monotonic():
                child.kill_at = None
                LOG.warning("%s did not end within %s s of SIGTERM: killed", child.program.name, STOP_SECONDS)
                os.kill(child.state.pid, signal.SIGKILL)

    def _on_signal(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_reader.recv(4096)
        self._reap()

    def _reap(self) -> None:
        """Collect what ended: our children, and pod processes that were handed to us when their parent died."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = next((c for c in self._children.values() if c.state.pid == pid), None)
            if child is not None:
                self._ended(child, status)

    def _ended(self, child: Child, status: int) -> None:
        self._on_report(child)
        self._drop_reader(child)
        self._inventory.forget(Kind.PROCESS, child.state.ident)
        was_ready = child.state.ready
        code = os.waitstatus_to_exitcode(status)
        child.state.last_exit = f"signal {-code}" if code < 0 else f"status {code}"
        child.state.last_exit_at = state.now()
        child.state.ready = False
        child.state.ident = ""
        child.kill_at = None
        if self._stopping:
            return
        if child.state.stopped:
            self._event(f"{child.program.title} was stopped: it ended with {child.state.last_exit}")
            self._save()
            return
        if self.state.phase == state.STARTING and not was_ready:
            raise ProcessError(
                f"{child.program.title} ended with {child.state.last_exit}: {child.error or self._tail(child)}"
            )
        child.state.restarts += 1
        child.failures = 0 if time.monotonic() - child.started > STEADY_SECONDS else child.failures + 1
        delay = BACKOFF_SECONDS[min(max(child.failures - 1, 0), len(BACKOFF_SECONDS) - 1)]
        child.restart_at = time.monotonic() + delay
        self._event(
            f"{child.program.title} ended with {child.state.last_exit}; "
            f"restart {child.state.restarts} in {delay:g} s" + (f": {child.error}" if child.error else "")
        )
        self._save()

    def _on_report(self, child: Child) -> None:
        if child.reader < 0:
            return
        try:
            data = os.read(child.reader, 65536)
        except BlockingIOError:
            return
        child.buffer += data
        if not data:
            self._drop_reader(child)
        if child.buffer.endswith(b"\n"):
            facts = json.loads(child.buffer)
            child.buffer = b""
            child.error = str(facts.get("error", ""))
            if child.error:
                return
            child.state.ready = True
            self.state.facts.update(facts)
            LOG.info("%s is ready (pid %d)", child.program.title, child.state.pid)
            self._progress({"step": f"{child.program.title} ready", "name": child.program.name})
            self._check_ready()
            self._save()

    def _check_ready(self) -> None:
        everyone = self._launched and all(child.state.ready for child in self._children.values())
        if everyone and self.state.phase == state.STARTING:
            self.state.phase = state.READY
            self._save()
            self._progress({"ready": True})
            self._close_progress()

    def _on_control(self) -> None:
        assert self._control is not None
        control_socket.serve_one(self._control, self._answer)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        command = request.get("command")
        if command == "status":
            return {"ok": True, "state": self.state.to_dict()}
        if command == "stop":
            self._stopping = True
            return {"ok": True}
        if command in {"stop-process", "start-process"}:
            refused = self._switch(request)
            return {"ok": not refused, "error": refused}
        return {"ok": False, "error": f"unknown command {command!r}"}

    def _switch(self, request: dict[str, Any]) -> str:
        """Stop or start a child on purpose. Returns "", or why not."""
        child = self._children.get(str(request.get("process")))
        if child is None:
            return f"no process is called {request.get('process')}"
        if self.state.phase != state.READY:
            return f"it is {self.state.phase}"
        if request["command"] == "start-process":
            return self._release(child)
        self._hold(child, signal.SIGKILL if request.get("kill") else signal.SIGTERM)
        return ""

    def _hold(self, child: Child, number: signal.Signals) -> None:
        """Have a child end and stay ended."""
        child.state.stopped = True
        child.restart_at = None
        if child.state.ident:
            os.kill(child.state.pid, number)
            child.kill_at = None if number == signal.SIGKILL else time.monotonic() + STOP_SECONDS
        self._save()

    def _release(self, child: Child) -> str:
        """Start a child that was stopped; one that runs stays as it is. Returns "", or why not."""
        if not child.state.stopped:
            return ""
        if child.state.ident:
            return f"{child.program.title} is still ending"
        child.state.stopped = False
        child.failures = 0
        self._event(f"{child.program.title} was started again")
        self._restart(child)
        return ""

    # --- end ---

    def _stop_children(self) -> None:
        self._stopping = True
        self.state.phase = state.STOPPING
        for child in self._children.values():
            if child.state.ident:
                os.kill(child.state.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while any(c.state.ident for c in self._children.values()) and time.monotonic() < deadline:
            self._selector.select(max(0.0, deadline - time.monotonic()))
            self._on_signal()
        for child in self._children.values():
            if child.state.ident:
                LOG.warning("%s did not end within %s s of SIGTERM: killed", child.program.name, STOP_SECONDS)
                os.kill(child.state.pid, signal.SIGKILL)

    # --- accounts ---

    def _event(self, text: str) -> None:
        LOG.warning("%s", self.state.note(text))

    def _save(self) -> None:
        self.state.write(self.paths.state_file)

    def _progress(self, message: dict[str, Any]) -> None:
        if self._progress_fd < 0:
            return
        try:
            os.write(self._progress_fd, json.dumps(message).encode() + b"\n")
        except OSError:  # the one who waited has gone; the cluster comes up all the same
            self._close_progress()

    def _close_progress(self) -> None:
        if self._progress_fd >= 0:
            os.close(self._progress_fd)
            self._progress_fd = -1

    def _drop_reader(self, child: Child) -> None:
        if child.reader >= 0:
            self._selector.unregister(child.reader)
            os.close(child.reader)
            child.reader = -1

    def _tail(self, child: Child) -> str:
        """Return the last lines of a child's log, on one line: the log goes when a failed ``up`` is rolled back."""
        try:
            lines = child.program.log.read_text(errors="replace").splitlines()
        except OSError:
            return "it left no log"
        return " | ".join(line.strip() for line in lines[-LOG_TAIL_LINES:]) or "its log is empty"


def main(argv: list[str]) -> int:
    """Entry point of the detached process."""
    cluster, progress_fd = argv[1], int(argv[2])
    os.set_inheritable(progress_fd, False)
    os.umask(0o077)
    os.chdir("/")
    logging.basicConfig(format=children.LOG_FORMAT, datefmt=children.LOG_TIME, level=logging.INFO)
    libc.set_process_name(f"gh-{cluster}")
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    paths = ClusterPaths(cluster)
    Path(paths.logs).mkdir(exist_ok=True)
    return Supervisor(paths, progress_fd).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv))

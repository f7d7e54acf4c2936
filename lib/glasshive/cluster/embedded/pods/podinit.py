"""The first process of a pod: starts its containers, keeps their logs, restarts them, reaps, runs commands.

It works through the pod's description on its own: a kubelet that dies and comes back finds everything as it should be.
Its account is ``status.json`` in the pod's directory, replaced at every change and sent to whoever watches on
``init.sock`` (``channel`` has the protocol). It ends when every container has ended for good.

It keeps full capabilities (it mounts volumes) but is not dumpable, so containers, which have fewer, cannot reach into
it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import time
from pathlib import Path
from typing import Any

from glasshive.cluster.embedded.pods import process
from glasshive.cluster.embedded.pods.channel import Channel
from glasshive.cluster.embedded.pods.container import Container
from glasshive.cluster.embedded.pods.pipe import Input, Pipe
from glasshive.cluster.embedded.pods.spec import SOCKET_FILE, STATUS_FILE, ContainerSpec, PodSpec, write_atomically
from glasshive.cluster.embedded.pods.visits import Visits
from glasshive.errors import GlasshiveError

OWN_GRACE_SECONDS = 2.0
"""Between SIGTERM to this process itself and the end of its containers."""
LAST_WORDS_SECONDS = 5.0
"""Longest wait for output to be taken by those attached when all else has ended."""


class PodInit:
    """One pod. ``directory`` and ``cgroup`` are descriptors of the pod's directory and of its cgroup's."""

    def __init__(self, spec: PodSpec, directory: int, cgroup: int) -> None:
        self.spec = spec
        self._directory = directory
        self._cgroup = cgroup
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._watchers: list[Channel] = []
        self._channels: set[Channel] = set()
        self._visits = Visits(self._selector, self._named)
        self._pipes: dict[str, list[Pipe]] = {}
        self._stop_grace: float | None = None
        self._changed = False  # nothing to tell before the first container has begun
        self.init = [self._container(item, item.restart or self._init_policy()) for item in spec.init_containers]
        self.main = [self._container(item, spec.restart) for item in spec.containers]
        self._containers = [*self.init, *self.main]

    def run(self, listener: socket.socket, first: socket.socket) -> None:
        """Live. ``listener`` is init.sock, ``first`` the connection on which the sandbox was asked for: it becomes a
        watcher.
        """
        self._install_signals()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, lambda _events: self._accept(listener))
        self._watchers.append(self._channel(first))
        while True:
            self._advance()
            if self._changed:
                self._publish()
            if self._over():
                break
            for key, events in self._selector.select(self._timeout()):
                key.data(events)
        self._deliver()
        listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET_FILE, dir_fd=self._directory)

    # --- what to do next ---

    def _advance(self) -> None:
        """Start what is due, kill what is overdue."""
        now = time.monotonic()
        for container in self._containers:
            container.overdue()
            if container.due is not None and container.due <= now:
                self._start(container)
        self._visits.overdue(now)
        if self._stop_grace is not None:
            return
        for container in self.init:
            if "waiting" in container.state and not container.restarts and not container.running:
                self._start(container)
            if not (container.succeeded or (container.policy == "Always" and "running" in container.state)):
                return
        for container in self.main:
            if not container.container_id and not container.running:
                self._start(container)

    def _over(self) -> bool:
        """Whether nothing is left to do. Sidecars do not keep a pod alive, they are stopped with the last container."""
        if any(c.finished and not c.succeeded and c.policy != "Always" for c in self.init):
            self._stop_all(0.0)
        elif self._stop_grace is None and all(c.finished for c in self.main):
            self._stop_all(OWN_GRACE_SECONDS)
        return self._stop_grace is not None and not any(c.running for c in self._containers) and not self._changed

    def _timeout(self) -> float | None:
        if self._changed:
            return 0.0
        times = [t for c in self._containers for t in (c.due, c.kill_at) if t is not None and t != float("inf")]
        times += self._visits.deadlines()
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _start(self, container: Container) -> None:
        run = container.start()
        log = container.log
        assert log is not None

        def failed(data: bytes) -> None:
            container.failure += data.decode(errors="replace")

        def begun() -> None:
            container.up()
            self._changed = True

        def out(data: bytes) -> None:
            log.write("stdout", data)
            self._visits.container_output(container, b"o", data)

        def err(data: bytes) -> None:
            log.write("stderr", data)
            self._visits.container_output(container, b"e", data)

        self._pipes[container.spec.name] = [
            Pipe(run.failure, self._selector, failed, begun),
            Pipe(run.stdout, self._selector, out),
            *([Pipe(run.stderr, self._selector, err)] if run.stderr >= 0 else []),
        ]
        entrance = Input(run.stdin, self._selector, terminal=container.spec.terminal) if run.stdin >= 0 else None
        self._visits.container_up(container, entrance)

    def _stop_all(self, grace: float) -> None:
        if self._stop_grace is None:
            self._stop_grace = grace
            self._changed = True
            for container in self._containers:
                container.stop(grace)

    # --- events ---

    def _install_signals(self) -> None:
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._stop_all(OWN_GRACE_SECONDS))
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, lambda _events: self._reap())

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_reader.recv(4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            self._ended(pid, status)
        self._visits.tidy()

    def _ended(self, pid: int, status: int) -> None:
        self._visits.reaped(pid, status)
        for container in self._containers:
            if container.pid == pid:
                code = os.waitstatus_to_exitcode(status)
                failure, *output = self._pipes.pop(container.spec.name)
                failure.finish()
                container.ended(status)
                for pipe in output:
                    pipe.finish()
                assert container.log is not None
                container.log.close()
                self._visits.container_ended(container, 128 - code if code < 0 else code)
                self._changed = True

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            peer, _ = listener.accept()
            self._channel(peer)

    def _channel(self, peer: socket.socket) -> Channel:
        channel = Channel(peer, self._selector, self._on_frame, self._on_close)
        self._channels.add(channel)
        return channel

    def _deliver(self) -> None:
        """Before the end, wait a while for those who have not taken in yet what was said to them."""
        deadline = time.monotonic() + LAST_WORDS_SECONDS
        while any(channel.unsent for channel in self._channels) and time.monotonic() < deadline:
            for key, events in self._selector.select(deadline - time.monotonic()):
                key.data(events)

    def _on_close(self, channel: Channel) -> None:
        self._channels.discard(channel)
        if channel in self._watchers:
            self._watchers.remove(channel)
        self._visits.closed(channel)

    def _on_frame(self, channel: Channel, letter: bytes, payload: bytes) -> None:
        try:
            if letter == b"q":
                self._answer(channel, json.loads(payload))
            else:
                self._visits.frame(channel, letter, payload)
        except (GlasshiveError, OSError, KeyError, ValueError) as error:
            channel.send_json(b"x", {"rc": process.NOT_EXECUTABLE, "error": _words(error)})

    def _answer(self, channel: Channel, request: dict[str, Any]) -> None:
        match request["op"]:
            case "watch":
                self._watchers.append(channel)
                channel.send_json(b"s", self.status())
            case "stop":
                self._stop_all(float(request["grace"]))
            case "restart":
                self._named(request["container"]).signal(float(request["grace"]))
            case "exec":
                self._visits.run(channel, request)
            case "attach":
                self._visits.attach(channel, request)

    def _named(self, name: str) -> Container:
        """A container by its name; "" is the first one."""
        found = next((c for c in self._containers if c.spec.name == name), None) if name else self.main[0]
        if found is None:
            raise ValueError(f"the pod has no container {name}")
        return found

    # --- account ---

    def status(self) -> dict[str, Any]:
        """The pod's account of itself."""
        return {
            "uid": self.spec.uid,
            "stopping": self._stop_grace is not None,
            "over": self._stop_grace is not None and not any(c.running for c in self._containers),
            "initContainers": [c.status() for c in self.init],
            "containers": [c.status() for c in self.main],
        }

    def _publish(self) -> None:
        self._changed = False
        status = self.status()
        for channel in list(self._watchers):
            channel.send_json(b"s", status)
        write_atomically(self._directory, STATUS_FILE, json.dumps(status))

    def _init_policy(self) -> str:
        """Init containers that succeed are never run again; those that fail are, unless the pod says Never."""
        return "Never" if self.spec.restart == "Never" else "OnFailure"

    def _container(self, spec: ContainerSpec, policy: str) -> Container:
        Path(f"/proc/self/fd/{self._directory}/{spec.name}").mkdir(0o700, parents=True, exist_ok=True)
        logs = os.open(spec.name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._directory)
        with contextlib.suppress(FileExistsError):
            os.mkdir(spec.name, 0o755, dir_fd=self._cgroup)
        group = os.open(spec.name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._cgroup)
        has_volumes = any(c.mounts for c in (*self.spec.init_containers, *self.spec.containers))
        return Container(spec, policy, group, logs, separate_mounts=has_volumes)


def _words(error: Exception) -> str:
    """What went wrong, for a person; a ValueError here says it in its own words."""
    return str(error) if isinstance(error, ValueError | GlasshiveError) else f"{type(error).__name__}: {error}"

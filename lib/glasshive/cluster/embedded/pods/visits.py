"""Those who come to a pod from outside: commands run in it, and people attached to a container's own streams."""

from __future__ import annotations

import json
import os
import selectors
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from glasshive.cluster.embedded.pods.channel import Channel
from glasshive.cluster.embedded.pods.command import Command, resize
from glasshive.cluster.embedded.pods.container import Container
from glasshive.cluster.embedded.pods.group import CommandGroup
from glasshive.cluster.embedded.pods.pipe import Input


@dataclass(slots=True)
class _Attached:
    channel: Channel
    container: Container
    input: Input | None


class Visits:
    """All visitors of one pod. ``named`` finds a container by its name ("": the first), or raises ValueError."""

    def __init__(self, selector: selectors.BaseSelector, named: Callable[[str], Container]) -> None:
        self._selector = selector
        self._named = named
        self._commands: dict[int, Command] = {}
        self._attached: list[_Attached] = []
        self._inputs: dict[str, Input] = {}
        self._leaving: list[CommandGroup] = []
        self._count = 0

    # --- commands ---

    def run(self, channel: Channel, request: dict[str, Any]) -> None:
        """Start a command. Raises ValueError, OSError, GlasshiveError."""
        container = self._running(request)
        group = self._group(container) if request.get("own_group") else None
        procs = mounts = -1
        try:
            procs = group.procs() if group else _open(container, "cgroup.procs")
            mounts = os.open(f"/proc/{container.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            what = container.command([str(word) for word in request["argv"]], procs, mounts)
            what.stdin = bool(request.get("stdin"))
            what.terminal = bool(request.get("terminal"))
            command = Command(what, channel, self._selector, request.get("timeout"), group)
        except BaseException:
            if group is not None:
                self._leaving.append(group)
            raise
        finally:
            for fd in (procs, mounts):
                if fd >= 0:
                    os.close(fd)
        self._commands[command.pid] = command

    def _running(self, request: dict[str, Any]) -> Container:
        container = self._named(request.get("container") or "")
        if "running" not in container.state:
            raise ValueError(f"container {container.spec.name} is not running")
        return container

    def _group(self, container: Container) -> CommandGroup:
        self._count += 1
        return CommandGroup(container.cgroup, f"exec-{self._count}")

    def reaped(self, pid: int, status: int) -> None:
        """A child has ended; if it was a command, tell whoever ran it."""
        command = self._commands.pop(pid, None)
        if command is not None:
            command.ended(status)
            if command.group is not None:
                self._leaving.append(command.group)

    def tidy(self) -> None:
        """Remove the cgroups of commands that have ended; called whenever children were reaped."""
        self._leaving = [group for group in self._leaving if not group.remove()]

    def overdue(self, now: float) -> None:
        """Kill commands whose time is over."""
        for command in list(self._commands.values()):
            command.overdue(now)

    def deadlines(self) -> list[float]:
        """Monotonic times at which :meth:`overdue` has something to do."""
        return [c.deadline for c in self._commands.values() if c.deadline is not None]

    # --- attaching ---

    def attach(self, channel: Channel, request: dict[str, Any]) -> None:
        """Have the container's output from now on, and if wanted its input. Raises ValueError."""
        container = self._running(request)
        entrance = self._inputs.get(container.spec.name) if request.get("stdin") else None
        self._attached.append(_Attached(channel, container, entrance))

    def container_up(self, container: Container, entrance: Input | None) -> None:
        """A container's run has begun; ``entrance`` leads to its standard input."""
        if entrance is not None:
            self._inputs[container.spec.name] = entrance

    def container_output(self, container: Container, letter: bytes, data: bytes) -> None:
        """Show output to those attached; who cannot follow is sent away, the container does not wait for them."""
        for visitor in [v for v in self._attached if v.container is container]:
            if visitor.channel.full:
                visitor.channel.close()
            else:
                visitor.channel.send(letter, data)

    def container_ended(self, container: Container, code: int) -> None:
        """The run has ended: so have the visits."""
        entrance = self._inputs.pop(container.spec.name, None)
        if entrance is not None:
            entrance.close()
        gone = [v for v in self._attached if v.container is container]
        self._attached = [v for v in self._attached if v.container is not container]
        for visitor in gone:
            visitor.channel.send_json(b"x", {"rc": code})

    # --- frames ---

    def frame(self, channel: Channel, letter: bytes, payload: bytes) -> None:
        """Input or a new window size from a visitor."""
        for command in [c for c in self._commands.values() if c.channel is channel]:
            if letter == b"i":
                command.feed(payload)
            elif letter == b"r":
                command.resize(*_size(payload))
        for visitor in [v for v in self._attached if v.channel is channel]:
            if letter == b"r" and visitor.container.run is not None and visitor.container.spec.terminal:
                resize(visitor.container.run.stdout, *_size(payload))
            elif letter == b"i":
                self._feed(visitor, payload)

    def _feed(self, visitor: _Attached, payload: bytes) -> None:
        if visitor.input is not None and (payload or visitor.container.spec.stdin_once):
            visitor.input.write(payload)
        visitor.channel.send(b"a", b"%d" % len(payload))

    def closed(self, channel: Channel) -> None:
        """A connection has gone: its command is killed; an attached container goes on."""
        for command in self._commands.values():
            if command.channel is channel:
                command.kill()
        for visitor in [v for v in self._attached if v.channel is channel]:
            self._attached.remove(visitor)
            if visitor.input is not None and visitor.container.spec.stdin_once:
                visitor.input.write(b"")


def _open(container: Container, name: str) -> int:
    return os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=container.cgroup)


def _size(payload: bytes) -> tuple[int, int]:
    wish = json.loads(payload)
    return int(wish["rows"]), int(wish["columns"])

"""A command run inside a pod for somebody outside: ``kubectl exec``, an exec probe, ``Cluster.exec``.

One that is run for a person (``group`` given) has a cgroup of its own below the container's. When that person goes,
everything in it is killed, whatever sessions and process groups the command has made; when the command ends by itself,
what it left in the background goes on as part of the container, as people expect of a shell.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import struct
import termios
import time

from glasshive.cluster.embedded.pods import process
from glasshive.cluster.embedded.pods.channel import Channel
from glasshive.cluster.embedded.pods.group import CommandGroup
from glasshive.cluster.embedded.pods.pipe import Input, Pipe


class Command:
    """One running command. Its output goes to ``channel``; if the channel closes, the command is killed."""

    def __init__(
        self,
        what: process.Start,
        channel: Channel,
        selector: selectors.BaseSelector,
        timeout_seconds: float | None,
        group: CommandGroup | None = None,
    ) -> None:
        self.channel = channel
        self.group = group
        self.deadline = time.monotonic() + timeout_seconds if timeout_seconds else None
        self._timed_out = False
        self._failure = b""
        started = process.start(what)
        self.pid = started.pid
        self._terminal = started.stdout if what.terminal else -1
        self._pipes = [Pipe(started.stdout, selector, lambda data: self._output(b"o", data))]
        if started.stderr >= 0:
            self._pipes.append(Pipe(started.stderr, selector, lambda data: self._output(b"e", data)))
        self._failed = Pipe(started.failure, selector, self._take_failure)
        channel.drained = self._resume
        self._input = (
            Input(started.stdin, selector, self._taken, terminal=what.terminal) if started.stdin >= 0 else None
        )

    def feed(self, data: bytes) -> None:
        """Pass on standard input; empty data ends it."""
        if self._input is not None:
            self._input.write(data)

    def resize(self, rows: int, columns: int) -> None:
        """Give its terminal, if it has one, another size; the command is told by SIGWINCH."""
        if self._terminal >= 0:
            resize(self._terminal, rows, columns)

    def overdue(self, now: float) -> None:
        """Kill it if its time is over."""
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            self._timed_out = True
            self.kill()

    def kill(self) -> None:
        """Kill the command and all of its cgroup, or what is in its session's process group if it has none."""
        if self.group is not None:
            self.group.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def ended(self, status: int) -> None:
        """Send what is left of its output and how it ended."""
        for pipe in (self._failed, *self._pipes):
            pipe.finish()
        self._terminal = -1
        if self._input is not None:
            self._input.close()
        if self.group is not None:
            self.group.leave()
        code = os.waitstatus_to_exitcode(status)
        end: dict[str, object] = {"rc": 128 - code if code < 0 else code}
        if self._failure:
            end["error"] = self._failure.decode(errors="replace")
        if self._timed_out:
            end["error"] = "timed out"
            end["timeout"] = True
        self.channel.send_json(b"x", end)

    def _output(self, letter: bytes, data: bytes) -> None:
        self.channel.send(letter, data)
        if self.channel.full:
            for pipe in self._pipes:
                pipe.pause()

    def _resume(self) -> None:
        for pipe in self._pipes:
            pipe.resume()

    def _taken(self, count: int) -> None:
        self.channel.send(b"a", b"%d" % count)

    def _take_failure(self, data: bytes) -> None:
        self._failure += data


def resize(terminal: int, rows: int, columns: int) -> None:
    """Set the size of the terminal behind this descriptor, in characters."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))

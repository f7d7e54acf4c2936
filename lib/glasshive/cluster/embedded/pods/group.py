"""The cgroup of one command that is run in a container for somebody outside, below the container's own."""

from __future__ import annotations

import contextlib
import os

from glasshive.cluster.embedded.pods import process
from glasshive.errors import KernelError


class CommandGroup:
    """``container`` is a descriptor of the container's cgroup directory; it must outlive this. Raises OSError."""

    def __init__(self, container: int, name: str) -> None:
        self._container = container
        self._name = name
        self._killed = False
        os.mkdir(name, 0o755, dir_fd=container)
        try:
            self._fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=container)
        except BaseException:
            os.rmdir(name, dir_fd=container)
            raise

    def procs(self) -> int:
        """A descriptor of its cgroup.procs, for a child to join by; the caller closes it."""
        return os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._fd)

    def kill(self) -> None:
        """SIGKILL all of it."""
        self._killed = True
        with contextlib.suppress(KernelError, FileNotFoundError):
            process.kill_group(self._fd)

    def leave(self) -> None:
        """The command has ended by itself: what it left in the background becomes the container's."""
        if self._killed:
            self.kill()  # again, for what was being forked while the first round went on
            return
        into = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._container)
        try:
            for pid in self._pids():
                with contextlib.suppress(OSError):  # it may end at any time
                    os.write(into, b"%d" % pid)
        finally:
            os.close(into)

    def remove(self) -> bool:
        """Remove the cgroup; False if something in it is still on its way out."""
        try:
            os.rmdir(self._name, dir_fd=self._container)
        except FileNotFoundError:
            pass
        except OSError:
            return False
        os.close(self._fd)
        return True

    def _pids(self) -> list[int]:
        fd = os.open("cgroup.procs", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd)
        with os.fdopen(fd) as file:
            return [int(line) for line in file]

"""A child's output and input, served by the pod's event loop without ever blocking it."""

from __future__ import annotations

import errno
import os
import selectors
from collections.abc import Callable

READ_BYTES = 32768
END_OF_TRANSMISSION = b"\x04"


class Pipe:
    """Hands what comes to ``take`` until the writers have gone, or until :meth:`finish`; then calls ``ended`` once."""

    def __init__(
        self,
        fd: int,
        selector: selectors.BaseSelector,
        take: Callable[[bytes], None],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._fd = fd
        self._selector = selector
        self._take = take
        self._ended = ended
        self._paused = False
        selector.register(fd, selectors.EVENT_READ, self._ready)

    def pause(self) -> None:
        """Stop reading: the writer will block once the pipe is full."""
        if self._fd >= 0 and not self._paused:
            self._paused = True
            self._selector.unregister(self._fd)

    def resume(self) -> None:
        """Read again."""
        if self._fd >= 0 and self._paused:
            self._paused = False
            self._selector.register(self._fd, selectors.EVENT_READ, self._ready)

    def finish(self) -> None:
        """Take what is in the pipe now and close it, even if some process still holds the other end."""
        while self._fd >= 0 and self._read():
            continue
        self._close()

    def _ready(self, _events: int) -> None:
        if self._fd >= 0:  # not closed by an earlier event of the same round
            self._read()

    def _read(self) -> bool:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""  # a terminal that nobody has open any more
        if data:
            self._take(data)
            return True
        self._close()
        return False

    def _close(self) -> None:
        if self._fd >= 0:
            if not self._paused:
                self._selector.unregister(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._ended()


class Input:
    """The writing end of a child's standard input. What it does not take yet waits here.

    ``taken`` is told how many bytes left here, whether the child took them or will never: the sender may send as many.
    On a ``terminal`` the end of input is a character, as when a person types it.
    """

    def __init__(
        self,
        fd: int,
        selector: selectors.BaseSelector,
        taken: Callable[[int], None] = lambda _: None,
        *,
        terminal: bool = False,
    ) -> None:
        self._fd = fd
        self._selector = selector
        self._taken = taken
        self._terminal = terminal
        self._waiting = bytearray()
        self._ending = False
        self._registered = False

    def write(self, data: bytes) -> None:
        """Pass on data; empty data closes the pipe once all has been taken."""
        if self._fd < 0:
            self._taken(len(data))
            return
        if self._terminal and not data:
            data = END_OF_TRANSMISSION
        self._waiting += data
        self._ending = self._ending or not data
        self._flush(0)

    def close(self) -> None:
        """Close at once; what waits is lost."""
        if self._fd >= 0:
            if self._registered:
                self._selector.unregister(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._taken(len(self._waiting))
            self._waiting.clear()

    def _flush(self, _events: int) -> None:
        if self._fd < 0:
            return
        try:
            while self._waiting:
                written = os.write(self._fd, self._waiting)
                del self._waiting[:written]
                self._taken(written)
        except BlockingIOError:
            if not self._registered:
                self._registered = True
                self._selector.register(self._fd, selectors.EVENT_WRITE, self._flush)
            return
        except OSError as error:
            if error.errno not in {errno.EPIPE, errno.EIO}:
                raise
            self.close()
            return
        if self._ending:
            self.close()
        elif self._registered:
            self._registered = False
            self._selector.unregister(self._fd)

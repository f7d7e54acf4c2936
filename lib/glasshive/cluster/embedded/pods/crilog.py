"""Container output as log files in the format of the Kubernetes container runtime interface.

One line is ``2026-11-23T06:24:00.123456789Z stdout F text``; ``P`` instead of ``F`` marks a piece of a line that goes
on in the next entry. A file that has grown past its limit is renamed to ``N.log.1`` and begun anew, so a container
keeps at most twice the limit on disk.
"""

from __future__ import annotations

import os
import time

LIMIT_BYTES = 10 * 1024 * 1024
LINE_BYTES = 16 * 1024


def stamp(now_ns: int) -> str:
    """Time of day in UTC with nanoseconds."""
    seconds, rest = divmod(now_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


class LogFile:
    """One container run's log. ``directory`` is a descriptor that stays open elsewhere; ``name`` is like ``0.log``."""

    def __init__(self, directory: int, name: str, limit_bytes: int = LIMIT_BYTES) -> None:
        self._directory = directory
        self._name = name
        self._limit = limit_bytes
        self._pending = {"stdout": b"", "stderr": b""}
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size

    def write(self, stream: str, data: bytes) -> None:
        """Take in output as it came from a pipe; whole lines (and pieces of very long ones) reach the file."""
        lines = (self._pending[stream] + data).split(b"\n")
        rest = lines.pop()
        entries = []
        head = f"{stamp(time.time_ns())} {stream} ".encode()
        for line in lines:
            start = 0
            while len(line) - start > LINE_BYTES:
                entries.append(head + b"P " + line[start : start + LINE_BYTES])
                start += LINE_BYTES
            entries.append(head + b"F " + line[start:])
        while len(rest) >= LINE_BYTES:
            entries.append(head + b"P " + rest[:LINE_BYTES])
            rest = rest[LINE_BYTES:]
        self._pending[stream] = rest
        if entries:
            self._append(b"\n".join(entries) + b"\n")

    def close(self) -> None:
        """Write what had no newline yet and close."""
        for stream, rest in self._pending.items():
            if rest:
                self._append(f"{stamp(time.time_ns())} {stream} F ".encode() + rest + b"\n")
        os.close(self._fd)

    def _append(self, data: bytes) -> None:
        if self._size and self._size + len(data) > self._limit:
            os.close(self._fd)
            os.rename(self._name, f"{self._name}.1", src_dir_fd=self._directory, dst_dir_fd=self._directory)
            self._fd = self._open()
            self._size = 0
        os.write(self._fd, data)
        self._size += len(data)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self._name, flags, 0o600, dir_fd=self._directory)

"""What a cluster owns, written down before it is made.

Every process, network namespace, bpffs directory, cgroup, directory, mount and file of a cluster is added here *before*
it is created (processes: right after, as their number is not known earlier; until then their cgroup stands for them).
``glasshive down`` removes by this list, newest first, and never by pattern: so it also works after a crash half-way
through ``up``.

The file is append-only, one JSON array ``["+"|"-", kind, ident]`` a line. Several processes append to it at once: each
line is one write(2) on an ``O_APPEND`` descriptor, which the kernel does not interleave. Removal itself is
``cluster.embedded.teardown``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

_STARTTIME_FIELD = 19  # field 22 of proc(5) stat, counted from the field after the command's closing bracket


class Kind(StrEnum):
    """What sort of thing an entry names. The ident's form is given beside each."""

    PROCESS = "process"  # "<pid>:<start time in clock ticks since boot>", see process_ident()
    NETNS = "netns"  # name below /run/netns
    BPFFS = "bpffs"  # absolute directory below the bpffs mount
    CGROUP = "cgroup"  # absolute directory below the cgroup v2 mount
    DIR = "dir"  # absolute directory, removed with all it holds
    MOUNT = "mount"  # absolute mount point
    FILE = "file"  # absolute path


class Entry(NamedTuple):
    """One owned thing."""

    kind: Kind
    ident: str


class Inventory:
    """The list of one cluster, at ``path``. Cheap to make: the file is opened at the first change. Safe after fork."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._fd = -1

    def add(self, kind: Kind | str, ident: str | os.PathLike[str]) -> None:
        """Note that the cluster owns this from now on. Call it before the thing is made. Adding twice is harmless."""
        self._append([("+", Kind(kind), os.fspath(ident))])

    def add_all(self, entries: Iterable[tuple[Kind | str, str | os.PathLike[str]]]) -> None:
        """Add several entries by one write."""
        self._append([("+", Kind(kind), os.fspath(ident)) for kind, ident in entries])

    def forget(self, kind: Kind | str, ident: str | os.PathLike[str]) -> None:
        """Note that this is gone. Call it after the thing has been removed. Forgetting the unknown is harmless."""
        self._append([("-", Kind(kind), os.fspath(ident))])

    def forget_all(self, entries: Iterable[tuple[Kind | str, str | os.PathLike[str]]]) -> None:
        """Forget several entries by one write."""
        self._append([("-", Kind(kind), os.fspath(ident)) for kind, ident in entries])

    def entries(self) -> list[Entry]:
        """What is owned now, oldest first. A line torn by a crash is skipped; no file means nothing is owned."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        owned: dict[Entry, None] = {}
        for line in lines:
            try:
                sign, kind, ident = json.loads(line)
                entry = Entry(Kind(kind), ident)
            except ValueError:
                continue
            if sign == "+":
                owned[entry] = None
            else:
                owned.pop(entry, None)
        return list(owned)

    def close(self) -> None:
        """Close the descriptor; the next change opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, changes: list[tuple[str, Kind, str]]) -> None:
        data = "".join(json.dumps(change, separators=(",", ":")) + "\n" for change in changes).encode()
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(self._fd, data)


def process_ident(pid: int) -> str | None:
    """``"<pid>:<start time>"`` of a process, which no later process of that number can have; None without one."""
    started = _start_time(pid)
    return None if started is None else f"{pid}:{started}"


def process_alive(ident: str) -> int | None:
    """The pid that ``ident`` stands for while that very process exists (zombies do not count), else None."""
    pid_text, _, started = ident.partition(":")
    pid = int(pid_text)
    return pid if started and _start_time(pid) == started else None


def _start_time(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()  # the command may hold spaces and brackets
    return None if fields[0] in (b"Z", b"X") else fields[_STARTTIME_FIELD].decode()

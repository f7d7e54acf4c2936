"""Forking the processes of a cluster from the pre-imported supervisor.

A child joins its cgroup and its network namespace before anything else, keeps none of the supervisor's descriptors,
logs to its own file, and says that it is ready, with facts, through a pipe that is all it shares with its parent.
Children outlive a killed supervisor on purpose: traffic goes on, and the next supervisor takes over.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from glasshive.net import libc, netns

Report = Callable[[dict[str, Any]], None]
"""Called by a child once it is ready, with facts for the supervisor."""

LOG_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s"
LOG_TIME = "%H:%M:%S"


@dataclass(frozen=True)
class Program:
    """What a child is: its place and its main function, which returns when it has been asked to end (SIGTERM)."""

    name: str
    role: str
    cgroup: Path
    log: Path
    main: Callable[[Report], None]
    netns: str | None = None

    @property
    def title(self) -> str:
        """Role and name, for people: ``agent node2``."""
        return self.role if self.role == self.name.replace("-", " ") else f"{self.role} {self.name}"


def fork(program: Program) -> tuple[int, int]:
    """Start the program. Returns its pid and the reading end of its pipe.

    There the child writes one line of JSON, its facts once it is ready or ``{"error": text}``, and then closes it.
    """
    program.cgroup.mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # the parent's objects stay out of the child's collections, and so stay shared memory
    pid = os.fork()
    if pid == 0:
        _child(program, writer)
    os.close(writer)
    os.set_blocking(reader, False)
    return pid, reader


def _child(program: Program, writer: int) -> NoReturn:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        (program.cgroup / "cgroup.procs").write_text("0")
        os.setsid()
        _only_own_descriptors(program.log, writer)
        if program.netns:
            netns.enter(program.netns)
        libc.set_process_name(f"gh-{program.name}")
        logging.basicConfig(format=LOG_FORMAT, datefmt=LOG_TIME, level=logging.INFO, force=True)
        program.main(lambda facts: _report(writer, facts))
        status = 0
    except BaseException as error:
        logging.getLogger("glasshive").exception("%s ends", program.name)
        with contextlib.suppress(OSError):  # the pipe is closed once the child has been ready
            os.write(writer, json.dumps({"error": str(error) or type(error).__name__}).encode() + b"\n")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _report(writer: int, facts: dict[str, Any]) -> None:
    try:
        os.write(writer, json.dumps(facts).encode() + b"\n")
    except BrokenPipeError:
        return  # the supervisor was killed meanwhile; its successor finds this process by its state file
    finally:
        os.close(writer)


def _only_own_descriptors(log: Path, keep: int) -> None:
    for fd in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if fd > 2 and fd != keep:
            try:
                os.close(fd)
            except OSError:
                continue  # the listing's own descriptor
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(null)
    os.close(output)

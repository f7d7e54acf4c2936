"""Starting one process inside a pod: a container's first, or a command that somebody runs in it.

The child is forked from the pod's first process. A workload is called without ``execve``: its modules are in memory
already, so a container starts in a millisecond or two and shares its pages with every other pod of the node.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import os
import signal
import sys
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from glasshive.cluster.embedded.pods import sandbox
from glasshive.errors import GlasshiveError, KernelError
from glasshive.net import libc

NOT_EXECUTABLE, NOT_FOUND, CRASHED = 126, 127, 1
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(slots=True)
class Start:
    """What to start. ``cgroup_procs`` is an open descriptor of the cgroup.procs file to join.

    ``mounts`` is None where the mount namespace stays as it is; ``mount_namespace`` is a descriptor of one to join.
    """

    argv: Sequence[str] = ()
    workload: str = ""
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    user: int = 0
    group: int = 0
    capabilities: int = 0
    cgroup_procs: int = -1
    mounts: list[tuple[str, str, bool]] | None = None
    mount_namespace: int = -1
    stdin: bool = False
    terminal: bool = False
    """Standard input, output and error are one terminal."""


@dataclass(slots=True)
class Started:
    """A running child, the reading ends of its pipes and, if asked for, the writing end of its input (else -1).

    ``failure`` yields text only if it could not be started. A child on a terminal has no ``stderr`` (-1).
    """

    pid: int
    stdout: int
    stderr: int
    failure: int
    stdin: int


def start(what: Start) -> Started:
    """Fork and run. Returns at once; a failure to execute arrives through ``failure`` and exit status 126 or 127."""
    fail_read, fail_write = os.pipe2(os.O_CLOEXEC)
    own, childs = _terminal(what) if what.terminal else _pipes(what)
    pid = os.fork()
    if pid == 0:
        _child(what, childs, fail_write)
    for fd in {fail_write, *childs} - {-1}:
        os.close(fd)
    for fd in {fail_read, *own} - {-1}:
        os.set_blocking(fd, False)
    source, out, err = own
    return Started(pid, out, err, fail_read, source)


Streams = tuple[int, int, int]
"""Descriptors for standard input, output and error; -1 where there is none."""


def _pipes(what: Start) -> tuple[Streams, Streams]:
    """This process's ends and the child's."""
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_read, err_write = os.pipe2(os.O_CLOEXEC)
    in_read, in_write = os.pipe2(os.O_CLOEXEC) if what.stdin else (-1, -1)
    return (in_write, out_read, err_read), (in_read, out_write, err_write)


def _terminal(what: Start) -> tuple[Streams, Streams]:
    """The same for a new terminal, which the container's user may open again."""
    master, slave = os.openpty()
    os.fchown(slave, what.user, -1)
    return (os.dup(master) if what.stdin else -1, master, -1), (slave, slave, slave)


def _child(what: Start, streams: Streams, fail: int) -> NoReturn:
    status = CRASHED
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        os.write(what.cgroup_procs, b"0")  # before any socket exists: a socket belongs to the cgroup it was made in
        source, out, err = streams
        if what.terminal:
            fcntl.ioctl(source, termios.TIOCSCTTY, 0)
        elif source < 0:
            source = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        for fd, place in zip((source, out, err), range(3), strict=True):
            os.dup2(fd, place)
        if what.mount_namespace >= 0:
            libc.setns(what.mount_namespace, libc.CLONE_NEWNS)
        elif what.mounts is not None:
            sandbox.mount_volumes(what.mounts)
        os.environ.clear()
        os.environ.update({"PATH": PATH, "HOME": "/root" if what.user == 0 else "/"})
        os.environ.update({"TERM": "xterm", **what.env} if what.terminal else what.env)
        os.chdir(what.cwd)
        _drop_privileges(what)
        status = _run_workload(what, fail) if what.workload else _execute(what, fail)
    except (OSError, GlasshiveError, ImportError) as error:
        _tell(fail, str(error))
        status = NOT_EXECUTABLE
    finally:
        os._exit(status)


def _drop_privileges(what: Start) -> None:
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    if what.group or what.user:
        os.setgroups([])
        os.setgid(what.group)
    if what.user:
        libc.limit_capabilities(what.capabilities | sandbox.capability_mask({"SETUID"}))
        os.setuid(what.user)  # a user other than root keeps no capability over this
    else:
        libc.limit_capabilities(what.capabilities)
    libc.prctl(libc.PR_SET_DUMPABLE, 1)


def _execute(what: Start, fail: int) -> int:
    try:
        os.execvpe(what.argv[0], list(what.argv), dict(os.environ))  # noqa: S606 - this is what a container is
    except OSError as error:
        _tell(fail, f"{what.argv[0]}: {error.strerror}")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE


def _run_workload(what: Start, fail: int) -> int:
    """Call the workload's function with its arguments; what it returns is the exit status."""
    os.close(fail)
    os.closerange(3, 4096)
    gc.freeze()
    module, _, function = what.workload.partition(":")
    sys.argv = [module, *what.args]
    name = module.rpartition(".")[2]
    libc.set_process_name(name)
    libc.set_command_line(" ".join((f"glasshive-{name}", *what.args)))
    main = getattr(importlib.import_module(module), function)
    try:
        status = main(list(what.args))
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else CRASHED
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BaseException:  # noqa: BLE001 - the last frame of this process: whatever it was is printed
        sys.excepthook(*sys.exc_info())
        status = CRASHED
    sys.stdout.flush()
    sys.stderr.flush()
    return int(status or 0)


def _tell(fail: int, text: str) -> None:
    try:
        os.write(fail, text.encode()[:4096])
    except OSError:
        os.write(2, text.encode() + b"\n")


def kill_group(cgroup: int) -> None:
    """SIGKILL everything in the cgroup behind this directory descriptor."""
    fd = os.open("cgroup.kill", os.O_WRONLY | os.O_CLOEXEC, dir_fd=cgroup)
    try:
        os.write(fd, b"1")
    except OSError as error:
        raise KernelError("cgroup.kill", error.errno or 0) from None
    finally:
        os.close(fd)

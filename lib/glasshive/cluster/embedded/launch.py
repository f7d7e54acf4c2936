"""``up``: claim the name, write the inventory, start the supervisor, follow its progress; undo everything on failure.

Order matters for crashes: the run directory and the inventory exist before anything they name. Whatever is interrupted,
``teardown.remove`` finds the rest.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from glasshive.cluster.embedded import addresses, fabric, record, teardown
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.cluster.embedded.paths import ClusterPaths, cgroup_is_mounted
from glasshive.cluster.embedded.state import State
from glasshive.cluster.progress import Progress
from glasshive.errors import (
    CapabilityError,
    ClusterError,
    DeadlineError,
    GlasshiveError,
    KernelError,
    PermissionNeededError,
    UsageError,
)
from glasshive.inventory import Inventory, Kind

# The shell joins the cgroup itself and forks there: when it has ended, what it started is where "down" looks for it.
# Python is nobody's child then, so that it outlives notebooks and shells.
_DETACH = 'echo 0 > "$1/cgroup.procs" || exit; shift; log="$1"; shift; exec "$@" >> "$log" 2>&1 < /dev/null &'


def up(config: ClusterConfig, follow: Callable[[Progress], None], timeout: float) -> None:
    """Bring a cluster up and return when every node is ready.

    A cluster of that name whose supervisor was killed is taken over. Raises UsageError if the name is busy,
    PermissionNeededError, ClusterError, DeadlineError; nothing is left behind then.
    """
    require_root()
    if not timeout > 0:
        raise UsageError(f"timeout: {timeout:g} is not allowed; allowed: more than 0 seconds")
    if not cgroup_is_mounted():
        raise CapabilityError(
            "a cluster needs cgroup v2, which is not mounted",
            hint="mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
        )
    started = time.monotonic()
    paths = ClusterPaths(config.name)
    lock = claim(paths)
    try:
        _prepare(config, paths)
        progress_fd = _start_supervisor(paths, lock)
        try:
            _follow(paths, progress_fd, follow, started, timeout)
        finally:
            os.close(progress_fd)
    except BaseException as error:
        teardown.remove(paths)
        if isinstance(error, ClusterError | KernelError):
            _blame_machine()
        raise
    finally:
        os.close(lock)


def _blame_machine() -> None:
    """Raise CapabilityError if the machine lacks what clusters need: that says more than the failure it led to."""
    from glasshive.bpf import doctor, probe

    probe.require(*doctor.needs_of("embedded cluster"), what="an embedded cluster")


def require_root() -> None:
    """Raise PermissionNeededError unless this process may make namespaces, devices and BPF programs."""
    if os.geteuid() != 0:
        raise PermissionNeededError(
            "clusters need root: network namespaces, devices and BPF programs", hint="run it with sudo"
        )


def claim(paths: ClusterPaths) -> int:
    """Lock the cluster's name; the descriptor holds it. Raises UsageError if a live ``up`` or supervisor has it."""
    for _ in range(100):
        with contextlib.suppress(FileExistsError):
            paths.run.mkdir(mode=0o700, parents=True)
        try:
            fd = os.open(paths.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # a "down" removed the directory in between
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise UsageError(
                f"cluster {paths.cluster} is up already", hint=f"glasshive down {paths.cluster}, or choose another name"
            ) from None
        with contextlib.suppress(FileNotFoundError):
            if paths.lock_file.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        os.close(fd)  # locked a file that a "down" has just removed
    raise ClusterError(f"the run directory {paths.run} keeps disappearing", hint="is another glasshive down running?")


def _prepare(config: ClusterConfig, paths: ClusterPaths) -> None:
    """Clear what a dead cluster of another shape left, then write down and make what the new one needs first."""
    if paths.cluster_file.exists():
        if _can_take_over(config, paths):
            return
        teardown.remove_contents(paths)
    inventory = Inventory(paths.inventory_file)
    nodes = [addresses.node_name(number) for number in range(1, config.nodes + 1)]
    inventory.add_all([(Kind.DIR, paths.run), (Kind.CGROUP, paths.cgroup), (Kind.BPFFS, paths.bpffs)])
    inventory.add_all((Kind.NETNS, name) for name in paths.all_netns(nodes))
    inventory.close()
    paths.logs.mkdir(mode=0o700, exist_ok=True)
    for node in nodes:
        paths.node(node).mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_cgroup(paths.control_cgroup)
    record.write(config, paths)


def _can_take_over(config: ClusterConfig, paths: ClusterPaths) -> bool:
    """Whether a cluster with this very configuration stands there without a supervisor."""
    try:
        same = record.read(paths).config == config and State.read(paths.state_file) is not None
    except GlasshiveError:
        return False
    return same and paths.control_cgroup.exists() and fabric.standing(config, paths)


def _make_cgroup(directory: Path) -> None:
    for _ in range(100):
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:  # the shared parent was just removed by the last cluster's "down"
            continue
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EACCES):
                raise ClusterError(f"cgroup v2 is not writable: {directory}", hint="glasshive doctor") from None
            raise
        return


def _start_supervisor(paths: ClusterPaths, lock: int) -> int:
    """Start the detached supervisor; it inherits the lock. Returns the end of its progress pipe."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    module = "glasshive.cluster.embedded.supervisor"
    command = [
        str(paths.control_cgroup),
        str(paths.log("supervisor")),
        sys.executable,
        "-m",
        module,
        paths.cluster,
        str(writer),
    ]
    try:
        shell = subprocess.run(
            ["/bin/sh", "-c", _DETACH, "sh", *command],
            pass_fds=(writer, lock),
            start_new_session=True,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    finally:
        os.close(writer)
    if shell.returncode != 0:
        os.close(reader)
        raise ClusterError(f"the supervisor of {paths.cluster} could not be started: sh ended with {shell.returncode}")
    return reader


def _follow(paths: ClusterPaths, fd: int, follow: Callable[[Progress], None], started: float, timeout: float) -> None:
    """Pass the supervisor's progress on until the cluster is ready."""
    buffer = b""
    last = "nothing yet"
    while True:
        left = started + timeout - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            raise DeadlineError(f"cluster {paths.cluster} was not ready after {timeout:g} s; last seen: {last}")
        data = os.read(fd, 65536)
        if not data:
            raise ClusterError(f"the supervisor of {paths.cluster} ended: {_log_tail(paths)}")
        buffer += data
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "failed" in message:
                raise ClusterError(f"cluster {paths.cluster} did not come up: {message['failed']}")
            if message.get("ready"):
                return
            last = message["step"]
            follow(Progress(last, time.monotonic() - started, message.get("name", "")))


def _log_tail(paths: ClusterPaths) -> str:
    try:
        lines = paths.log("supervisor").read_text(errors="replace").splitlines()
    except OSError:
        return "it was killed before it wrote anything"
    return lines[-1].strip() if lines else "it was killed before it wrote anything"

"""Remove what a cluster owns, by its inventory, newest first.

Works after any crash: half-way through ``up``, after ``kill -9`` of anything, after a reboot that left the list but not
the things. Everything here may find its object gone already. Called by ``down`` and by an ``up`` that failed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import time
from pathlib import Path

from glasshive.bpf import rcu
from glasshive.cluster.embedded.paths import BPFFS_ROOT, RUN_ROOT, ClusterPaths, cgroup_mount
from glasshive.errors import ClusterError, KernelError
from glasshive.inventory import Entry, Inventory, Kind, process_alive
from glasshive.net import libc, netns

KILL_SECONDS = 10.0  # a process in an uninterruptible call, or hundreds of pods, may take a while to go


def remove(paths: ClusterPaths) -> None:
    """Kill the cluster's processes, then remove everything it owns; its run directory goes last.

    Raises ClusterError naming what could not be removed; the inventory still lists it, so ``down`` can be repeated.
    """
    remove_contents(paths)
    _remove_directory(paths.run)
    for shared in (BPFFS_ROOT, cgroup_mount() / "glasshive", RUN_ROOT):
        with contextlib.suppress(OSError):  # other clusters are still there
            shared.rmdir()


def remove_contents(paths: ClusterPaths) -> None:
    """Like :func:`remove`, but keep the run directory and its lock, for the next ``up`` that has claimed the name."""
    inventory = Inventory(paths.inventory_file)
    entries = inventory.entries()
    stop_processes(entries)
    rcu.restore()  # an agent that was killed while it attached programs has left the machine's switch on
    failures = []
    for entry in reversed(entries):
        if entry.ident == str(paths.run):
            continue
        try:
            _remove_entry(entry)
        except (OSError, KernelError) as error:
            failures.append(f"{entry.kind} {entry.ident}: {error}")
    if failures:
        shown = "; ".join(failures[:3]) + (f"; and {len(failures) - 3} more" if len(failures) > 3 else "")
        raise ClusterError(f"cluster {paths.cluster}: could not remove {shown}", hint="run glasshive down again")
    for child in _listing(paths.run):
        if child in (paths.lock_file, paths.inventory_file):
            continue
        if child.is_dir() and not child.is_symlink():
            _remove_directory(child)
        else:
            child.unlink(missing_ok=True)
    paths.inventory_file.unlink(missing_ok=True)


def stop_processes(entries: list[Entry]) -> None:
    """Kill what runs in the cluster's cgroups and every listed process, and wait until they are gone."""
    deadline = time.monotonic() + KILL_SECONDS
    listed = [entry.ident for entry in entries if entry.kind is Kind.PROCESS]
    # The supervisor is listed first: it must not restart what is killed after it.
    for ident in listed:
        _kill(ident)
    for entry in entries:
        if entry.kind is Kind.CGROUP:
            _empty_cgroup(Path(entry.ident), deadline)
    for ident in listed:
        _wait_gone(ident, deadline)


def _remove_entry(entry: Entry) -> None:
    if entry.kind is Kind.NETNS:
        netns.delete(entry.ident, missing_ok=True)
    elif entry.kind is Kind.MOUNT:
        _unmount(entry.ident)
    elif entry.kind is Kind.CGROUP:
        _remove_cgroup(Path(entry.ident))
    elif entry.kind in (Kind.DIR, Kind.BPFFS):
        _remove_directory(Path(entry.ident))
    elif entry.kind is Kind.FILE:
        Path(entry.ident).unlink(missing_ok=True)


def _kill(ident: str) -> None:
    pid = process_alive(ident)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _wait_gone(ident: str, deadline: float) -> None:
    pid = process_alive(ident)
    if pid is None:
        return
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if process_alive(ident) and not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise ClusterError(f"process {pid} does not end after SIGKILL", hint=f"see /proc/{pid}/stack")
    finally:
        os.close(fd)


def _empty_cgroup(group: Path, deadline: float) -> None:
    """Kill every process in ``group`` and below, and wait until the kernel says that it is empty."""
    try:
        events = os.open(group / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        while b"populated 1" in os.pread(events, 256, 0):
            (group / "cgroup.kill").write_text("1")
            if time.monotonic() > deadline:
                raise ClusterError(f"processes in cgroup {group} do not end after SIGKILL")
            poll.poll(50)  # ms; the event may have come between read and poll
    except OSError as error:
        if error.errno != errno.ENODEV:  # the group was removed meanwhile
            raise
    finally:
        os.close(events)


def _remove_cgroup(group: Path) -> None:
    for directory, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(FileNotFoundError):
            Path(directory).rmdir()


def _unmount(target: str) -> None:
    try:
        libc.umount(target, libc.MNT_DETACH)
    except KernelError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):  # not a mount any more, or gone
            raise


def _remove_directory(directory: Path) -> None:
    """Remove a tree. Mounts below it are ours as well: they are taken away first, deepest first."""
    prefix = f"{directory}/"
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(prefix)), key=len, reverse=True):
        _unmount(mount)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)


def _listing(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []

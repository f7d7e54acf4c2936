"""Quick RCU grace periods while many programs are attached.

A tcx attachment waits for grace periods: 16 ms each, or 10 us while /sys/kernel/rcu_expedited is 1. The switch is the
whole machine's, so it is only held for a moment, shared by all processes that want it, and put back by the last one.

How processes share it: each holder keeps a shared flock on the lock file, which also keeps the old value. Who can get
the lock exclusively is alone: on the way in that is the first, on the way out the last, who puts the value back and
removes the file. A holder that is killed leaves the file, and with it the value that the next one, or ``restore``, puts
back. An exclusive flock on the switch itself makes each way in or out one step.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from glasshive.bpf import syscall

SWITCH = Path("/sys/kernel/rcu_expedited")
LOCK = Path("/run/glasshive/rcu.lock")

_MEMBARRIER = {"x86_64": 324, "aarch64": 283, "riscv64": 283, "ppc64le": 365, "s390x": 356}
_MEMBARRIER_CMD_GLOBAL = 1

_held: set[int] = set()


def _close_in_child() -> None:
    """A forked child must not prolong its parent's hold."""
    for fd in _held:
        os.close(fd)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


@contextlib.contextmanager
def expedited_rcu(switch: Path = SWITCH, lock: Path = LOCK) -> Iterator[bool]:
    """Hold RCU expedited. Yields False, and changes nothing, where the switch cannot be written: all is just slower."""
    fd = _enter(switch, lock)
    try:
        yield fd is not None
    finally:
        if fd is not None:
            _leave(fd, switch, lock)


def wait_for_programs() -> None:
    """Return when every program run that has begun by now is over: an RCU grace period (membarrier(2)).

    Costs a fraction of a millisecond while RCU is expedited, else some 10 ms. BpfError where the kernel refuses.
    """
    number = _MEMBARRIER.get(platform.machine(), 324)
    if syscall.libc_call(number, _MEMBARRIER_CMD_GLOBAL) < 0:
        raise syscall.failure("wait for running programs", ctypes.get_errno())


def restore(switch: Path = SWITCH, lock: Path = LOCK) -> bool:
    """Put back the value that a killed holder left behind, unless somebody holds it now. True if there was one."""
    if not lock.exists():
        return False
    with _guard(switch):
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        alone, left_behind = _alone(fd), os.fstat(fd).st_size > 0
        if alone:
            _put_back(fd, switch, lock)
        os.close(fd)
    return alone and left_behind


def _enter(switch: Path, lock: Path) -> int | None:
    if not os.access(switch, os.W_OK):
        return None
    try:
        lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _guard(switch):
            return _hold(switch, lock)
    except OSError:
        return None  # a read-only /sys or /run: attach slowly


def _hold(switch: Path, lock: Path) -> int:
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if _alone(fd) and os.fstat(fd).st_size == 0:
            os.pwrite(fd, switch.read_bytes().strip(), 0)
        fcntl.flock(fd, fcntl.LOCK_SH)
        if switch.read_bytes().strip() != b"1":
            switch.write_bytes(b"1")
    except BaseException:
        os.close(fd)
        raise
    _held.add(fd)
    return fd


def _leave(fd: int, switch: Path, lock: Path) -> None:
    if fd not in _held:
        return  # a forked child leaves its parent's block
    with _guard(switch):
        if _alone(fd):
            _put_back(fd, switch, lock)
        _held.discard(fd)
        os.close(fd)


def _put_back(fd: int, switch: Path, lock: Path) -> None:
    before = os.pread(fd, 16, 0)
    if before:
        switch.write_bytes(before)
    lock.unlink()


def _alone(fd: int) -> bool:
    """Say whether nobody else holds the lock file. Called under the guard, so the answer stays true until it opens."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _guard(switch: Path) -> Iterator[None]:
    fd = os.open(switch, os.O_RDONLY | os.O_CLOEXEC)
    _held.add(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        _held.discard(fd)
        os.close(fd)

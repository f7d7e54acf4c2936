"""Quick RCU grace periods while many programs are attached.

A tcx attachment waits for grace periods: 16 ms each, or 10 us while /sys/kernel/rcu_expedited is 1. The switch is the
whole machine's, so it is only held for a moment, shared by all processes that want it, and put back by the last one.

How processes share it: each holder keeps a shared flock on the lock file. Who can get it exclusively is alone: on the
way in, the first (and the file keeps the old value, also from a holder that was killed); on the way out, the last. A
second lock makes the two steps one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

SWITCH = Path("/sys/kernel/rcu_expedited")
LOCK = Path("/run/glasshive/rcu.lock")

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


def restore(switch: Path = SWITCH, lock: Path = LOCK) -> bool:
    """Put back the value that a killed holder left behind, unless somebody holds it now. True if it was changed."""
    if not lock.exists():
        return False
    fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    with _guard(lock):
        left_behind = _alone(fd) and os.fstat(fd).st_size > 0
        if left_behind:
            _put_back(fd, switch)
        os.close(fd)
    return left_behind


def _enter(switch: Path, lock: Path) -> int | None:
    if not os.access(switch, os.W_OK):
        return None
    lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _held.add(fd)
    try:
        with _guard(lock):
            if _alone(fd) and os.fstat(fd).st_size == 0:
                os.pwrite(fd, switch.read_bytes().strip(), 0)
            fcntl.flock(fd, fcntl.LOCK_SH)
            if switch.read_bytes().strip() != b"1":
                switch.write_bytes(b"1")
    except BaseException as error:
        _held.discard(fd)
        os.close(fd)
        if isinstance(error, OSError):
            return None
        raise
    return fd


def _leave(fd: int, switch: Path, lock: Path) -> None:
    with _guard(lock):
        if _alone(fd):
            _put_back(fd, switch)
        _held.discard(fd)
        os.close(fd)


def _put_back(fd: int, switch: Path) -> None:
    before = os.pread(fd, 16, 0)
    if before:
        switch.write_bytes(before)
    os.ftruncate(fd, 0)


def _alone(fd: int) -> bool:
    """Say whether nobody else holds the lock file. Called under the guard, so the answer stays true until it opens."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _guard(lock: Path) -> Iterator[None]:
    fd = os.open(lock.with_suffix(".guard"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _held.add(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        _held.discard(fd)
        os.close(fd)

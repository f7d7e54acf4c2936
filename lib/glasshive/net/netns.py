"""Network namespaces: make, name, open, enter, delete.

The network namespace belongs to a thread, and a Jupyter kernel or an agent has several. So switches happen in a
disposable thread that ends right after (but see ``_away``), and no caller ever finds itself somewhere else. For the
same reason nothing here (or anywhere in Glasshive) opens ``/proc/self/ns/net``, which is the main thread's:
``/proc/thread-self/ns/net`` is meant.

Names are bind mounts below /run/netns, as ``ip netns`` makes them, so ``ip netns exec NAME`` works. Callers register
names in the cluster's inventory before they create them.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from glasshive.errors import KernelError, NotFoundError, UsageError
from glasshive.net import libc, netlink

T = TypeVar("T")
Target = int | str | Path
"""A namespace: an open descriptor, a name below /run/netns, or a path."""

RUN_NETNS = Path("/run/netns")
_OWN = "/proc/thread-self/ns/net"


def path_of(name: str) -> Path:
    """Where the namespace of that name is mounted."""
    if not name or "/" in name or name in {".", ".."}:
        raise UsageError(f"{name!r} is not a network namespace name")
    return RUN_NETNS / name


def ensure_run_netns() -> None:
    """Make /run/netns a shared mount point, as ``ip netns add`` does. Idempotent.

    Without it a later ``ip netns add`` would bind the directory over itself, doubling our mounts, and a deleted name
    would keep its namespace alive. Where /run is on a disk, a file costs 0.3 to 1 ms there, so an empty directory
    becomes a file system in memory, which /run is meant to be.
    """
    RUN_NETNS.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        libc.mount("", str(RUN_NETNS), flags=libc.MS_SHARED | libc.MS_REC)
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise
        if any(RUN_NETNS.iterdir()) or in_memory(RUN_NETNS):
            libc.mount(str(RUN_NETNS), str(RUN_NETNS), flags=libc.MS_BIND | libc.MS_REC)
        else:
            flags = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
            libc.mount("glasshive", str(RUN_NETNS), "tmpfs", flags, "mode=755")
        libc.mount("", str(RUN_NETNS), flags=libc.MS_SHARED | libc.MS_REC)


def in_memory(path: Path) -> bool:
    """Whether the path is on a file system without a block device behind it (major number 0)."""
    return os.major(path.stat().st_dev) == 0


def create(name: str, setup: Callable[[netlink.Socket], None] | None = None) -> Path:
    """Make a network namespace and give it a name; the path of its mount.

    ``setup`` runs inside it with a netlink socket of it (bring ``lo`` up, say). Raises UsageError if the name is taken.
    Nothing is left behind when it fails.
    """
    path = path_of(name)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    except FileExistsError:
        raise UsageError(f"network namespace {name} exists already", hint=f"ip netns delete {name}") from None
    except FileNotFoundError:
        ensure_run_netns()
        return create(name, setup)

    def inside() -> None:
        libc.unshare(libc.CLONE_NEWNET)
        libc.mount(_OWN, str(path), flags=libc.MS_BIND)
        if setup is not None:
            with netlink.Socket() as socket:
                setup(socket)

    try:
        _away(inside)
    except BaseException:
        delete(name, missing_ok=True)
        raise
    return path


def delete(name: str, *, missing_ok: bool = False) -> None:
    """Take the name away. The namespace, with all its devices, goes when its last process and descriptor have gone."""
    path = path_of(name)
    with contextlib.suppress(KernelError):  # EINVAL: a bare file, left by a crash between its creation and the mount
        libc.umount(str(path), libc.MNT_DETACH)
    try:
        path.unlink()
    except FileNotFoundError:
        if not missing_ok:
            raise NotFoundError(f"there is no network namespace {name}") from None


def exists(name: str) -> bool:
    """Whether that name is taken."""
    return path_of(name).exists()


def names(prefix: str = "") -> list[str]:
    """Names below /run/netns that start with ``prefix``, sorted."""
    if not RUN_NETNS.is_dir():
        return []
    return sorted(entry.name for entry in RUN_NETNS.iterdir() if entry.name.startswith(prefix))


@contextlib.contextmanager
def opened(target: Target | None = None) -> Iterator[int]:
    """A descriptor of the namespace (None: the calling thread's own); closed at the end unless it was given."""
    if isinstance(target, int):
        yield target
        return
    fd = open_fd(target)
    try:
        yield fd
    finally:
        os.close(fd)


def open_fd(target: str | Path | None = None) -> int:
    """Open a namespace by name or path (None: the calling thread's own). The caller closes it; it keeps the namespace
    alive.
    """
    path = _OWN if target is None else target if isinstance(target, Path) or "/" in target else path_of(target)
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(f"there is no network namespace {target}") from None


def in_netns(target: Target, work: Callable[[], T]) -> T:
    """Run ``work`` in a disposable thread inside the namespace; its result or exception.

    Sockets made there stay there. /proc/sys/net shows that namespace too.
    """
    with opened(target) as fd:

        def inside() -> T:
            libc.setns(fd, libc.CLONE_NEWNET)
            return work()

        return in_thread(inside)


def socket_in(target: Target) -> netlink.Socket:
    """A netlink socket that belongs to the namespace, usable from any thread."""
    with opened(target) as fd:

        def inside() -> netlink.Socket:
            libc.setns(fd, libc.CLONE_NEWNET)
            return netlink.Socket()

        return _away(inside)


def _away(work: Callable[[], T]) -> T:
    """Run ``work``, which goes into another namespace, and be back afterwards: for the two steps of every pod.

    A thread of its own costs 0.15 ms, and now and then a scheduler's tick of 4 ms. An event loop's thread, where no
    signal handler raises, may go itself: it is back before anybody else can run in it, or the process ends.
    """
    on_main = threading.current_thread() is threading.main_thread()
    if on_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        return in_thread(work)  # a KeyboardInterrupt could come between going and returning
    home = open_fd()
    try:
        return work()
    finally:
        try:
            libc.setns(home, libc.CLONE_NEWNET)
        except KernelError:
            os.abort()  # nobody may go on in a namespace that is not theirs
        os.close(home)


def in_thread(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread made for it alone; its result or exception.

    ``_thread`` instead of ``threading``: a third of the cost, and this is in the path of every pod.
    """
    done = _thread.allocate_lock()
    done.acquire()
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            result.append(work())
        except BaseException as error:  # noqa: BLE001 - handed over to the caller, whatever it is
            failure.append(error)
        finally:
            done.release()

    _thread.start_new_thread(body, ())
    done.acquire()
    if failure:
        raise failure[0]
    return result[0]


def enter(target: Target) -> None:
    """Move this whole process into the namespace for good. Only for a process of one thread, such as a fresh child."""
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise UsageError("enter() moves one thread only, and this process has several", hint="use in_netns()")
    with opened(target) as fd:
        libc.setns(fd, libc.CLONE_NEWNET)

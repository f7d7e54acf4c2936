"""File systems, namespaces, cgroup v2, capabilities and BTF. Standard library only (see ``syscalls``)."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from collections.abc import Callable, Iterator

from . import syscalls, vmlinux
from .answer import Attempt, Inconclusive, Missing

NAMESPACES = {
    "net": 0x40000000, "mnt": 0x00020000, "pid": 0x20000000, "uts": 0x04000000, "ipc": 0x08000000,
    "cgroup": 0x02000000, "user": 0x10000000, "time": 0x00000080,
}  # fmt: skip
CAPABILITIES = {
    "net_admin": 12, "net_raw": 13, "sys_ptrace": 19, "sys_admin": 21, "sys_resource": 24, "perfmon": 38, "bpf": 39,
}  # fmt: skip


def unshare(flags: int) -> None:
    """Leave the namespaces named by ``flags`` for new ones; raise OSError."""
    if syscalls.LIBC.unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """Call mount(2); raise OSError."""
    if syscalls.LIBC.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def cgroup2_mount() -> str:
    """Give where cgroup v2 is mounted (/sys/fs/cgroup, or /sys/fs/cgroup/unified on hybrid hosts)."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as handle:  # noqa: PTH123
        for line in handle:
            before, _, after = line.partition(" - ")
            if after.split(" ", 1)[0] == "cgroup2":
                return before.split()[4]
    raise Missing("cgroup v2 is not mounted")


@contextlib.contextmanager
def scratch_cgroup() -> Iterator[int]:
    """Make an empty cgroup, give its descriptor, remove it."""
    path = f"{cgroup2_mount()}/gh-probe-{os.getpid()}"
    os.mkdir(path)  # noqa: PTH102
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
        os.rmdir(path)  # noqa: PTH106


def in_child(action: Callable[[], None]) -> None:
    """Run ``action`` in a forked child; raise its OSError here. The caller must have one thread only."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            action()
        except OSError as refusal:
            code = refusal.errno or 255
        except Missing:
            code = 254
        os.write(write_end, bytes([min(code, 255)]))
        os._exit(0)
    os.close(write_end)
    try:
        answer = os.read(read_end, 1)
    finally:
        os.close(read_end)
        os.waitpid(child, 0)
    if not answer:
        raise Inconclusive("the child that tried it died")
    if answer[0]:
        raise OSError(answer[0], os.strerror(answer[0]))


def _namespace(name: str, flag: int) -> str:
    if not os.path.exists(f"/proc/self/ns/{name}"):  # noqa: PTH110
        raise Missing(f"there is no /proc/self/ns/{name}")
    in_child(lambda: unshare(flag))
    return "a child got one of its own"


def _overlay() -> str:
    def build() -> None:
        unshare(NAMESPACES["mnt"])
        mount("", "/", "", 0x4000 | 0x40000)  # MS_REC | MS_PRIVATE: nothing of this reaches the host
        mount("tmpfs", "/mnt", "tmpfs")
        for name in ("lower", "upper", "work", "merged"):
            os.mkdir(f"/mnt/{name}")  # noqa: PTH102
        mount("overlay", "/mnt/merged", "overlay", 0, "lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work")

    in_child(build)
    return "one was mounted on a tmpfs"


def _file_system(kind: str) -> str:
    def build() -> None:
        unshare(NAMESPACES["mnt"])
        mount("", "/", "", 0x4000 | 0x40000)
        mount(kind, "/mnt", kind)

    in_child(build)
    return "one was mounted in a private mount namespace"


def tracefs() -> tuple[str, bool]:
    """Give where tracefs is and whether it was mounted already; mounts it in this (private) mount namespace if not."""
    for root in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        if os.path.exists(f"{root}/events"):  # noqa: PTH110
            return root, True
    mount("tracefs", "/sys/kernel/tracing", "tracefs")
    return "/sys/kernel/tracing", False


def _cgroup2() -> str:
    where = cgroup2_mount()
    with scratch_cgroup():
        return f"at {where}, and a cgroup can be made there"


def _pinning() -> str:
    """Tell whether /sys/fs/bpf is a BPF file system already (the library mounts it where it is not)."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as handle:  # noqa: PTH123
        for line in handle:
            before, _, after = line.partition(" - ")
            if before.split()[4] == "/sys/fs/bpf" and after.startswith("bpf "):
                return "mounted at /sys/fs/bpf"
    return _file_system("bpf") + "; the library mounts it at /sys/fs/bpf when first needed"


def _capability(bit: int) -> str:
    with open("/proc/self/status", encoding="utf-8", errors="replace") as handle:  # noqa: PTH123
        held = next(int(line.split()[1], 16) for line in handle if line.startswith("CapEff:"))
    if not held >> bit & 1:
        raise Missing(f"this process does not hold it (effective set {held:#x})")
    return "this process holds it"


def _btf() -> str:
    try:
        size = os.stat(vmlinux.VMLINUX).st_size  # noqa: PTH116
    except FileNotFoundError as absent:
        raise Missing(f"there is no {vmlinux.VMLINUX} (CONFIG_DEBUG_INFO_BTF)") from absent
    return f"{size / 1e6:.1f} MB at {vmlinux.VMLINUX}"


def _expedited_rcu() -> str:
    path = "/sys/kernel/rcu_expedited"
    if not os.path.exists(path):  # noqa: PTH110
        raise Missing(f"there is no {path}: bulk attaching is slow here")
    if not os.access(path, os.W_OK):
        raise Inconclusive(f"{path} is not writable by this process")
    return f"{path} is writable"


def _landlock() -> str:
    version: int = syscalls.LIBC.syscall(444, None, 0, 1)  # landlock_create_ruleset, VERSION
    if version < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return f"ABI {version}"


def _pidfd() -> str:
    os.close(os.pidfd_open(os.getpid()))
    return "one was opened"


def attempts() -> list[Attempt]:
    """Give every attempt of this module."""
    found = [
        Attempt("btf:vmlinux", _btf),
        Attempt("fs:bpf", _pinning),
        Attempt("fs:cgroup2", _cgroup2),
        Attempt("fs:overlay", _overlay),
        Attempt("fs:tmpfs", functools.partial(_file_system, "tmpfs")),
        Attempt("sys:rcu_expedited", _expedited_rcu),
        Attempt("sys:landlock", _landlock),
        Attempt("sys:pidfd", _pidfd),
    ]
    found += [Attempt(f"ns:{name}", functools.partial(_namespace, name, flag)) for name, flag in NAMESPACES.items()]
    found += [Attempt(f"cap:{name}", functools.partial(_capability, bit)) for name, bit in CAPABILITIES.items()]
    return found

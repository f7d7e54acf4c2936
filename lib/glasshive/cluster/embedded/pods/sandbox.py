"""How a process becomes a pod: its own namespaces, cgroup and root file system.

Two steps. The zygote once makes a mount namespace of a dozen mounts that shows the host's root file system and nothing
of other clusters, pods or namespaces (``enter_base``). Each pod then copies that small namespace and mounts an overlay
on it (``enter_pod``): cheap, and no pod ever pins a mount of the host, such as another pod's network namespace.

A pod sees the host's programs and libraries, read-only below its own writable layer in memory. It does not see /root,
/home, /run, /tmp, the host's devices and other places people keep things in (``HIDDEN``). This keeps honest workloads
apart; it is not a jail for hostile ones, which share this kernel and run as root with reduced capabilities.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import glasshive
from glasshive.errors import KernelError
from glasshive.net import libc

BASE = "/run/gh"
_MASK = f"{BASE}/mask"
_POD = f"{BASE}/pod"
POD_DIRS = f"{BASE}/pods"
IN_POD_VOLUMES = "/run/.volumes"

HIDDEN = (
    "run",
    "tmp",
    "root",
    "home",
    "mnt",
    "media",
    "srv",
    "proc",
    "sys",
    "dev",
    "var/tmp",
    "var/log",
    "boot",
    "etc/ssh",
    "etc/ssl/private",
)
_REMOVED = ("etc/shadow", "etc/gshadow")
_STICKY = ("tmp", "var/tmp", "dev/shm")
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_DEVICE_LINKS = {
    "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}  # fmt: skip
_PROC_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs")
_SAFE = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC

_CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "DAC_READ_SEARCH": 2, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7,
    "SETPCAP": 8, "NET_BIND_SERVICE": 10, "NET_BROADCAST": 11, "NET_ADMIN": 12, "NET_RAW": 13, "IPC_LOCK": 14,
    "SYS_CHROOT": 18, "SYS_PTRACE": 19, "SYS_NICE": 23, "SYS_RESOURCE": 24, "MKNOD": 27,
    "AUDIT_WRITE": 29, "SETFCAP": 31,
}  # fmt: skip
DEFAULT_CAPABILITIES = frozenset(
    {"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE", "NET_RAW",
     "SYS_CHROOT", "AUDIT_WRITE", "SETFCAP"}
)  # fmt: skip
PRIVILEGED_CAPABILITIES = DEFAULT_CAPABILITIES | {"NET_ADMIN", "NET_BROADCAST", "SYS_PTRACE", "IPC_LOCK", "SYS_NICE"}
"""What ``privileged: true`` gets here. Never SYS_ADMIN, BPF or MKNOD: a pod is a guest on the reader's own machine."""


def capability_mask(names: frozenset[str] | set[str]) -> int:
    """Bits of the named capabilities; names without a bit here (SYS_ADMIN, BPF ...) are not granted."""
    return sum(1 << _CAPABILITIES[name] for name in names if name in _CAPABILITIES)


def enter_base(node_dir: Path) -> None:
    """Put the calling process (one thread) into the mount namespace that pods are copied from.

    ``node_dir`` holds ``pods``. Afterwards the root is the host's root file system, read-only and without any mount
    below it, with the node's pod directories at :data:`POD_DIRS`. Raises KernelError.
    """
    libc.unshare(libc.CLONE_NEWNS)
    libc.mount("", "/", flags=libc.MS_REC | libc.MS_PRIVATE)
    root = node_dir / "root"
    root.mkdir(exist_ok=True)
    libc.mount("/", str(root), flags=libc.MS_BIND)
    libc.mount("tmpfs", f"{root}/run", "tmpfs", libc.MS_NOSUID, "mode=0755")
    for name in ("mask", "pods", "pod", "old"):
        Path(f"{root}{BASE}/{name}").mkdir(parents=True)
    libc.mount(str(node_dir / "pods"), f"{root}{POD_DIRS}", flags=libc.MS_BIND)
    libc.mount("/proc", f"{root}/proc", flags=libc.MS_BIND)
    for place in _elsewhere():
        libc.mount(place, f"{root}{place}", flags=libc.MS_BIND)
    _fill_mask(f"{root}{_MASK}")
    libc.mount("", str(root), flags=libc.MS_BIND | libc.MS_REMOUNT | libc.MS_RDONLY)
    _pivot(str(root), f"{root}{BASE}/old", f"{BASE}/old")


def _pivot(root: str, old: str, old_after: str) -> None:
    libc.pivot_root(root, old)
    os.chdir("/")
    libc.umount(old_after, libc.MNT_DETACH)


def _fill_mask(mask: str) -> None:
    """Make the layer between the host's files and a pod's: opaque directories hide, devices are added."""
    for name in HIDDEN:
        Path(f"{mask}/{name}").mkdir(parents=True, exist_ok=True)
        os.setxattr(f"{mask}/{name}", "trusted.overlay.opaque", b"y")
    Path(f"{mask}/root").chmod(0o700)
    Path(f"{mask}/dev/pts").mkdir(parents=True)
    for name in _STICKY:
        Path(f"{mask}/{name}").mkdir(parents=True, exist_ok=True)
        Path(f"{mask}/{name}").chmod(0o1777)
    before = os.umask(0)
    for name in _REMOVED:
        os.mknod(f"{mask}/{name}", stat.S_IFCHR, os.makedev(0, 0))  # what overlayfs calls a whiteout
    for name, (major, minor) in _DEVICES.items():
        os.mknod(f"{mask}/dev/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
    os.umask(before)
    for name, target in _DEVICE_LINKS.items():
        Path(f"{mask}/dev/{name}").symlink_to(target)


def _places() -> list[str]:
    """Directories a pod needs and might not see: where Python and this package are, and programs; parents first."""
    package = str(Path(glasshive.__file__).resolve().parent.parent)
    wanted = {os.path.realpath(place) for place in (sys.prefix, sys.base_prefix, package, "/usr", "/opt")}
    return sorted(place for place in wanted if Path(place).is_dir())


def _elsewhere() -> list[str]:
    """Those on another file system than the root's, which a bind mount of the root does not show."""
    device = Path("/").stat().st_dev
    return [place for place in _places() if Path(place).stat().st_dev != device]


def _unseen() -> list[str]:
    """Those that a pod would not see: on another file system, or below a hidden directory."""
    elsewhere = set(_elsewhere())
    return [p for p in _places() if p in elsewhere or any(p.startswith(f"/{name}/") for name in HIDDEN)]


def enter_pod(files: dict[str, str], hostname: str, volumes: str = "") -> None:
    """Make the calling process (forked from the zygote, alone in a new PID namespace) live in a pod's root.

    ``files`` are texts below /etc. ``volumes`` is a directory to show at :data:`IN_POD_VOLUMES`. The network namespace
    and the cgroup must have been joined already: /sys shows those. Raises KernelError; CapabilityError is for the
    caller to make of it.
    """
    libc.unshare(libc.CLONE_NEWNS | libc.CLONE_NEWUTS | libc.CLONE_NEWIPC | libc.CLONE_NEWCGROUP)
    libc.set_hostname(hostname)
    libc.mount("tmpfs", _POD, "tmpfs", 0, "mode=0755")
    for name in ("upper", "upper/etc", "work", "merged"):
        Path(f"{_POD}/{name}").mkdir(0o755)
    for name, text in files.items():
        Path(f"{_POD}/upper/etc/{name}").write_text(text, encoding="utf-8")
        Path(f"{_POD}/upper/etc/{name}").chmod(0o644)
    root = f"{_POD}/merged"
    try:
        libc.mount("overlay", root, "overlay", 0, f"lowerdir={_MASK}:/,upperdir={_POD}/upper,workdir={_POD}/work")
    except KernelError as error:
        raise KernelError(
            "pods need overlayfs, which this kernel refused", error.errno, hint="glasshive doctor"
        ) from None
    _mount_kernel(root)
    for place in _unseen():
        Path(f"{root}{place}").mkdir(parents=True, exist_ok=True)
        libc.mount(place, f"{root}{place}", flags=libc.MS_BIND)
    if volumes:
        Path(f"{root}{IN_POD_VOLUMES}").mkdir(0o700)
        libc.mount(volumes, f"{root}{IN_POD_VOLUMES}", flags=libc.MS_BIND)
    Path(f"{root}/run/old").mkdir()
    _pivot(root, f"{root}/run/old", "/run/old")
    Path("/run/old").rmdir()


def _mount_kernel(root: str) -> None:
    """Mount the kernel's own file systems; what changes the machine as a whole is read-only, whatever a pod's
    capabilities.
    """
    libc.mount("proc", f"{root}/proc", "proc", _SAFE)
    for name in _PROC_READ_ONLY:
        place = f"{root}/proc/{name}"
        if Path(place).exists():
            libc.mount(place, place, flags=libc.MS_BIND)
            libc.mount("", place, flags=libc.MS_BIND | libc.MS_REMOUNT | libc.MS_RDONLY | _SAFE)
    libc.mount("sysfs", f"{root}/sys", "sysfs", _SAFE | libc.MS_RDONLY)
    libc.mount("cgroup2", f"{root}/sys/fs/cgroup", "cgroup2", _SAFE | libc.MS_RDONLY)
    libc.mount(
        "devpts", f"{root}/dev/pts", "devpts", libc.MS_NOSUID | libc.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"
    )


def mount_volumes(mounts: list[tuple[str, str, bool]]) -> None:
    """Give the calling process a mount namespace of its own with these volumes: (source, target, read-only)."""
    libc.unshare(libc.CLONE_NEWNS)
    for source, target, read_only in mounts:
        origin = f"{IN_POD_VOLUMES}/{source}"
        if Path(origin).is_dir():
            Path(target).mkdir(parents=True, exist_ok=True)
        else:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).touch()
        libc.mount(origin, target, flags=libc.MS_BIND)
        if read_only:
            libc.mount("", target, flags=libc.MS_BIND | libc.MS_REMOUNT | libc.MS_RDONLY)
    libc.umount(IN_POD_VOLUMES, libc.MNT_DETACH)

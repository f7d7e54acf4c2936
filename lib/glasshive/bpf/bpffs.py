"""The BPF file system: where pins live.

The mount is per mount namespace: ``ip netns exec`` hides it, ``setns`` to a network namespace does not.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from glasshive.bpf import syscall
from glasshive.errors import KernelError, PermissionNeededError

BPFFS = Path("/sys/fs/bpf")
_BPF_FS_MAGIC = 0xCAFE4A11
_libc = ctypes.CDLL(None, use_errno=True)


def is_bpffs(path: Path) -> bool:
    """Say whether ``path`` lies in a BPF file system. A path that does not exist does not."""
    buffer = ctypes.create_string_buffer(256)
    if _libc.statfs(os.fsencode(path), buffer) != 0:
        return False
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF == _BPF_FS_MAGIC


def mount_bpffs(path: Path = BPFFS) -> Path:
    """Make sure that ``path`` is a BPF file system, mounting one where it is not; returns ``path``."""
    if is_bpffs(path):
        return path
    if not syscall.has_capabilities(syscall.CAP_SYS_ADMIN):
        raise PermissionNeededError(f"could not mount the BPF file system at {path}", hint="run as root")
    path.mkdir(parents=True, exist_ok=True)
    if _libc.mount(b"bpf", os.fsencode(path), b"bpf", ctypes.c_ulong(0), b"mode=0700") != 0:
        raise KernelError(f"could not mount the BPF file system at {path}", ctypes.get_errno())
    return path

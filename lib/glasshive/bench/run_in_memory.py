"""Names of network namespaces in memory for a while, as on a machine whose /run is (Debian, Ubuntu).

Where /run/netns is on a disk, each name is a file made and deleted there: 1 to 2 ms per pod on ext4, which looks twice
at inodes that were deleted within the last seconds. That is the machine's, not the network's cost.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from glasshive.net import libc, netns


@contextlib.contextmanager
def names_in_memory() -> Iterator[bool]:
    """Let this thread and what it starts have a /run/netns of their own, empty and in memory; whether that was needed.

    It begins empty: whoever needs names that are there already opens them before. Needs root.
    """
    netns.ensure_run_netns()
    if netns.in_memory(netns.RUN_NETNS):
        yield False
        return
    home, folder = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC), Path.cwd()
    try:
        libc.unshare(libc.CLONE_NEWNS)
        try:
            libc.mount("", "/", flags=libc.MS_PRIVATE | libc.MS_REC)
            libc.mount("glasshive", str(netns.RUN_NETNS), "tmpfs", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC)
            libc.mount("", str(netns.RUN_NETNS), flags=libc.MS_SHARED)
            yield True
        finally:
            libc.setns(home, libc.CLONE_NEWNS)
            os.chdir(folder)
    finally:
        os.close(home)

"""One at a time: a check that counts packets, and whoever else sends some, must not meet.

A panel, a notebook's ``check`` and the command line may grade one lab at once, each in a process of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder's lock (flock(2) on the folder itself, so there is no file to be left behind); waits for it.

    Not to be held twice by one thread.
    """
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)

"""Compiles the small C programs of tests/bpf/progs, and runs work in a private network namespace."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sysconfig
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

PROGS = Path(__file__).parent / "bpf" / "progs"
OURS = Path(__file__).resolve().parents[1] / "bpf"
_CLONE_NEWNET = 0x40000000
T = TypeVar("T")


@cache
def compiled(name: str) -> Path:
    """The object of tests/bpf/progs/NAME.bpf.c, compiled once per test session."""
    target = _folder() / f"{Path(name).name}.bpf.o"
    triplet = sysconfig.get_config_var("MULTIARCH") or f"{os.uname().machine}-linux-gnu"
    flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", f"-I/usr/include/{triplet}", f"-I{OURS}"]
    subprocess.run(["clang", *flags, "-c", PROGS / f"{name}.bpf.c", "-o", target], check=True)
    return target


@cache
def _folder() -> Path:
    # Kept until the interpreter ends, then removed.
    _keep.append(tempfile.TemporaryDirectory(prefix="glasshive-progs-"))
    return Path(_keep[0].name)


_keep: list[tempfile.TemporaryDirectory[str]] = []


def in_private_netns(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread with a network namespace of its own, which ends with the thread."""
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            assert ctypes.CDLL(None).unshare(_CLONE_NEWNET) == 0, "no private network namespace: not root?"
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            result.append(work())
        except BaseException as error:  # noqa: BLE001 (handed to the caller's thread)
            failure.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]

"""Doing something with few capabilities: in a thread of its own, as capabilities belong to threads.

A program that is loaded without CAP_PERFMON meets the strictest verifier: it may not read stack that it has not
written, nor let kernel addresses out. That is how programs of people who are still learning are loaded.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Callable
from typing import TypeVar

from glasshive.bpf.syscall import CAP_BPF, CAP_NET_ADMIN
from glasshive.errors import KernelError

T = TypeVar("T")
_VERSION_3 = 0x20080522  # capabilities of 64 bits, in two halves (linux/capability.h)
LEAST = (CAP_BPF, CAP_NET_ADMIN)
"""What loading network programs takes."""

_libc = ctypes.CDLL(None, use_errno=True)


def with_only(capabilities: tuple[int, ...], work: Callable[[], T]) -> T:
    """Run ``work`` with at most these effective capabilities; its result or exception.

    The thread ends right after, so nobody goes on with less than they had.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            _keep(capabilities)
            result.append(work())
        except BaseException as error:  # noqa: BLE001 - handed over to the caller, whatever it is
            failure.append(error)

    thread = threading.Thread(target=body, name="few-capabilities")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def _keep(capabilities: tuple[int, ...]) -> None:
    """Drop every other capability from the calling thread's effective set; the permitted set stays as it was."""
    header = struct.pack("=Ii", _VERSION_3, 0)
    held = ctypes.create_string_buffer(24)
    if _libc.capget(header, held) != 0:
        raise KernelError("could not read this thread's capabilities", ctypes.get_errno())
    sets = list(struct.unpack("=6I", held.raw))  # effective, permitted, inheritable: low half, then high half
    for half in (0, 1):
        mask = sum(1 << (one - 32 * half) for one in capabilities if 32 * half <= one < 32 * (half + 1))
        sets[3 * half] &= mask
    if _libc.capset(header, struct.pack("=6I", *sets)) != 0:
        raise KernelError("could not give up capabilities", ctypes.get_errno())

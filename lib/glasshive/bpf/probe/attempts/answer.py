"""What one attempt can end with, and how a refusal by the kernel becomes an answer.

Three answers, as ``supported``, ``not`` and ``inconclusive``: a probe that could not be carried out says so instead of
guessing. Standard library only (see ``syscalls``).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

SUPPORTED, MISSING, INCONCLUSIVE = "supported", "not", "inconclusive"

# The kernel does not know, was not built with, or cannot do the thing. 524 is ENOTSUPP, which leaks from the kernel.
_UNKNOWN = {
    errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP, 524, errno.ENOSYS, errno.ENODEV, errno.E2BIG, errno.EAFNOSUPPORT,
    errno.EPROTONOSUPPORT, errno.ESRCH, errno.ENXIO, errno.ENOTTY, errno.ESOCKTNOSUPPORT,
}  # fmt: skip
_REFUSED = {errno.EPERM, errno.EACCES}


@dataclass(frozen=True)
class Attempt:
    """One thing to try: ``run`` gives a short fact on success and raises OSError or Missing otherwise."""

    capability: str
    run: Callable[[], str]


class Missing(Exception):  # noqa: N818 - an answer, not an error
    """The thing is not there; the text says why."""


class Inconclusive(Exception):  # noqa: N818 - an answer, not an error
    """The attempt could not be carried out; the text says why."""


def privileged() -> bool:
    """Tell whether this process is root with CAP_SYS_ADMIN (bit 21), so that a refusal is not about its rights."""
    if os.geteuid() != 0:
        return False
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 - pathlib is 5 ms
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> 21 & 1)
    return False


def attempt(one: Attempt) -> tuple[str, str]:
    """Carry out one attempt; give (answer, reason)."""
    try:
        return SUPPORTED, one.run()
    except Missing as absence:
        return MISSING, str(absence)
    except Inconclusive as doubt:
        return INCONCLUSIVE, str(doubt)
    except OSError as refusal:
        return judge(refusal)


def judge(refusal: OSError) -> tuple[str, str]:
    """Turn a refused system call into (answer, reason)."""
    number = refusal.errno or 0
    name = errno.errorcode.get(number, "ENOTSUPP" if number == 524 else str(number))
    text = f"{name}: {refusal.strerror}"
    if number in _UNKNOWN:
        return MISSING, f"the kernel answers {text}"
    if number in _REFUSED:
        if privileged():
            return MISSING, f"refused even for root: {text} (not built in, or locked down)"
        return INCONCLUSIVE, f"needs root to find out: {text}"
    return INCONCLUSIVE, f"could not be tried: {text}"

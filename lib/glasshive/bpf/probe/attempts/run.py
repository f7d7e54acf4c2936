"""Carry out attempts and print one JSON line for each, before and after: the caller sees which one a crash belongs to.

The process leaves the caller's network and mount namespaces first, so that nothing tried here is seen by anybody.
"""

from __future__ import annotations

import json
import sys
import time

from . import attach, maps, network, programs, system
from .answer import Attempt, attempt
from .rtnetlink import set_up


def all_attempts() -> list[Attempt]:
    """Give every attempt there is, cheap ones first."""
    return [*system.attempts(), *maps.attempts(), *programs.attempts(), *network.attempts(), *attach.attempts()]


def enter_private_namespaces() -> str:
    """Leave the host's network and mount namespaces; give why it could not, or ''."""
    try:
        system.unshare(system.NAMESPACES["net"] | system.NAMESPACES["mnt"])
        system.mount("", "/", "", 0x4000 | 0x40000)  # MS_REC | MS_PRIVATE
        set_up(1)  # loopback
    except OSError as refusal:
        return str(refusal.strerror)
    return ""


def main(skip: set[str], wanted: set[str] | None = None) -> int:
    """Run all attempts but ``skip``; only ``wanted`` if given."""
    alone = enter_private_namespaces() == ""
    for one in all_attempts():
        if one.capability in skip or (wanted is not None and one.capability not in wanted):
            continue
        print(json.dumps({"begin": one.capability}), flush=True)
        started = time.perf_counter()
        if not alone and one.capability.startswith(("link:", "qdisc:", "filter:", "attach:")):
            answer, reason = "inconclusive", "needs root: a network namespace of its own was refused"
        else:
            answer, reason = attempt(one)
        took_ms = round(1000 * (time.perf_counter() - started), 2)
        print(
            json.dumps({"capability": one.capability, "answer": answer, "reason": reason, "took_ms": took_ms}),
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(set(sys.argv[1:])))

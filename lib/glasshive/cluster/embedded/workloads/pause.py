"""Does nothing until SIGTERM: the command ``pause``, and images whose only use is ``kubectl exec``."""

from __future__ import annotations

import signal


def main(args: list[str]) -> int:  # noqa: ARG001 - the form of all workloads
    """Wait for SIGTERM or SIGINT."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0

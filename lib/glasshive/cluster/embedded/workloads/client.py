"""A pod to run commands in: it waits; curl, dig, nc, ping and the rest are the host's own programs."""

from __future__ import annotations

import os

from glasshive.cluster.embedded.workloads import pause


def main(args: list[str]) -> int:
    """Say where we are, then wait for SIGTERM."""
    where = f"{os.environ.get('HOSTNAME', '?')} at {os.environ.get('GLASSHIVE_NODE', '?')}"
    print(f"client {where}: run commands with kubectl exec", flush=True)
    return pause.main(args)

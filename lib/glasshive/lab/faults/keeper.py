"""Keeps faults that the cluster would mend by itself: applies them again until they are healed. A process of its own.

An agent compares its maps with what they should hold once a minute, and after every change of routes; a learner may
take longer. ``python -I -m glasshive.lab.faults.keeper CLUSTER`` ends when no such fault is left, or the cluster is
gone; it is in the cluster's inventory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from glasshive.cluster import connect
from glasshive.cluster.embedded.config import check_name
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.errors import GlasshiveError
from glasshive.inventory import Inventory, Kind, process_ident
from glasshive.lab.faults.fault import Fault, Hands
from glasshive.lab.faults.record import Record

PACE_SECONDS = 0.5
_ENVIRONMENT = ("PATH", "HOME", "LANG", "GLASSHIVE_LABS")


def ensure(cluster: str) -> None:
    """Have a keeper running for this cluster. One that runs already makes a second one end at once."""
    log = ClusterPaths(cluster).run / "faults-keeper.log"
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # The shell forks and ends: the keeper is nobody's child, and outlives notebooks.
    detach = 'log="$1"; shift; umask 077; "$@" >> "$log" 2>&1 < /dev/null &'
    command = [sys.executable, "-I", "-m", "glasshive.lab.faults.keeper", cluster]
    shell = ["/bin/sh", "-c", detach, "sh", str(log), *command]
    subprocess.run(shell, check=True, cwd="/", env=environment, start_new_session=True)


def keep(cluster: str) -> None:
    """Apply kept faults again and again until none is left."""
    from glasshive.lab.faults import CATALOGUE

    kinds: dict[str, Fault] = {name: one for name, one in CATALOGUE.items() if one.kept}
    paths, record = ClusterPaths(cluster), Record(cluster)
    hands = Hands(connect(cluster))
    while paths.cluster_file.exists():
        with record.locked():
            kept = [one for one in record.read() if one.fault in kinds]
            if not kept:
                return
            for truth in kept:
                kind = kinds[truth.fault]
                if not kind.present(hands, truth):
                    kind.apply(hands, truth)
        time.sleep(PACE_SECONDS)


def main(arguments: list[str]) -> int:
    """Keep one cluster's faults; ends at once when somebody else does so already."""
    (cluster,) = arguments
    check_name(cluster)
    paths = ClusterPaths(cluster)
    inventory = Inventory(paths.inventory_file)
    ident = process_ident(os.getpid())
    assert ident is not None
    with _alone(paths.run / "faults-keeper.lock") as first:
        if not first:
            return 0
        inventory.add(Kind.PROCESS, ident)
        try:
            keep(cluster)
        except (GlasshiveError, OSError) as trouble:
            if paths.run.exists():  # else the cluster went away under us, which ends everything
                print(f"keeper: {trouble}", file=sys.stderr)
                return 1
        finally:
            if paths.run.exists():
                inventory.forget(Kind.PROCESS, ident)
    return 0


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether we are the only keeper."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

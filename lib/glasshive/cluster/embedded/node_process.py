"""One node's process: the agent and the part that plays the kubelet, on one event loop, inside the node's namespace."""

from __future__ import annotations

import asyncio
import signal

from glasshive.cluster.embedded.children import Report
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.cluster.embedded.paths import ClusterPaths


def main(config: ClusterConfig, paths: ClusterPaths, number: int, report: Report) -> None:
    """Run node ``number`` until SIGTERM."""
    asyncio.run(_run(config, paths, number, report))


async def _run(config: ClusterConfig, paths: ClusterPaths, number: int, report: Report) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    report({})
    await stop.wait()

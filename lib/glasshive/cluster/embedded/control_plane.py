"""The control plane's process: the API server and the cluster-wide controllers, on one event loop.

It is forked by the supervisor with everything imported. The API listens on a unix socket (agents, notebooks) and with
TLS on loopback (kubectl); the kubeconfig is written once the port is known, and a successor keeps that port.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal

from glasshive.cluster.embedded import addresses, kubeconfig
from glasshive.cluster.embedded.children import Report
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.cluster.embedded.private_file import write_private
from glasshive.ipam.cluster_pool import Block
from glasshive.kube.client import Client
from glasshive.kube.server import Server
from glasshive.operator.config import OperatorConfig
from glasshive.operator.operator import Operator

LOG = logging.getLogger("glasshive.control_plane")
HOST = "127.0.0.1"


def main(config: ClusterConfig, paths: ClusterPaths, port: int, report: Report) -> None:
    """Run until SIGTERM. ``port`` 0 lets the system choose one; the choice is reported as ``api_port``."""
    asyncio.run(_run(config, paths, port, report))


async def _run(config: ClusterConfig, paths: ClusterPaths, port: int, report: Report) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    token = paths.token.read_text().strip()
    server = await _start_server(config, paths, port, token)
    url = f"https://{HOST}:{server.port}"
    ca_pem = paths.ca_cert.read_bytes()
    write_private(paths.kubeconfig, kubeconfig.render(config.name, url, ca_pem, token))
    LOG.info("API server at %s and %s", url, paths.api_socket)
    async with Client(socket=paths.api_socket) as client:
        operator = asyncio.create_task(Operator(client, operator_config(config, ca_pem.decode())).run())
        report({"api_port": server.port})
        ended = asyncio.create_task(stop.wait())
        # A controller that falls over takes the process with it: the supervisor starts a fresh one and says so.
        await asyncio.wait({operator, ended}, return_when=asyncio.FIRST_COMPLETED)
        if operator.done():
            operator.result()
        operator.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await operator
    await server.stop()


async def _start_server(config: ClusterConfig, paths: ClusterPaths, port: int, token: str) -> Server:
    def server(on_port: int) -> Server:
        return Server(
            paths.store,
            tls=(paths.server_cert, paths.server_key),
            token=token,
            host=HOST,
            port=on_port,
            socket=paths.api_socket,
            service_cidrs=config.service_cidrs,
        )

    first = server(port)
    try:
        await first.start()
    except OSError as error:
        if port in {0, config.api_port}:
            raise
        # Somebody took the port between two incarnations: agents use the socket, and the kubeconfig is written anew.
        LOG.warning("port %d is taken (%s): choosing another", port, error)
        await first.stop()
        first = server(0)
        await first.start()
    return first


def operator_config(config: ClusterConfig, ca_pem: str) -> OperatorConfig:
    """Return what the controllers need to know of the cluster."""
    blocks = [
        Block.parse(cidr, config.node_prefix_lengths[family])
        for family, cidr in zip(config.ip_families, config.pod_cidrs, strict=True)
    ]
    return OperatorConfig(
        pod_blocks=blocks,
        service_cidrs=config.service_cidrs,
        ca_pem=ca_pem,
        cluster=config.name,
        dns_addresses=addresses.dns_addresses(config),
        identity_gc_seconds=config.identity_gc_seconds,
    )

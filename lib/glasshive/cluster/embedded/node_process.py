"""One node's process: the agent and the part that plays the kubelet, on one event loop, inside the node's namespace."""

from __future__ import annotations

import asyncio
import logging
import signal

from aiohttp import web

from glasshive.agent.agent import Agent
from glasshive.agent.config import AgentConfig
from glasshive.agent.http import routes
from glasshive.api.resources import NODE
from glasshive.cluster.embedded import addresses
from glasshive.cluster.embedded.children import Report
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.kube.client import Client

LOG = logging.getLogger("glasshive.node_process")


def main(config: ClusterConfig, paths: ClusterPaths, number: int, report: Report) -> None:
    """Run node ``number`` until SIGTERM."""
    asyncio.run(_run(config, paths, number, report))


async def _run(config: ClusterConfig, paths: ClusterPaths, number: int, report: Report) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    node = addresses.node_name(number)
    async with Client(socket=paths.api_socket) as client:
        while not paths.api_socket.exists():
            await asyncio.sleep(0.01)
        own = [{"type": "InternalIP", "address": addresses.node_address(number, f)} for f in config.ip_families]
        obj = NODE.object(node, status={"addresses": own})
        try:
            await client.create(NODE, obj)
            await client.patch(NODE, node, {"status": {"addresses": own}}, subresource="status", kind="merge")
        except Exception as e:
            LOG.warning("%s", e)
        agent = Agent(agent_config(config, paths, number), client)
        app = web.Application()
        app.add_routes(routes(agent))
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        paths.node_socket(node).unlink(missing_ok=True)
        await web.UnixSite(runner, str(paths.node_socket(node))).start()
        await agent.start()
        report({})
        await stop.wait()
        await agent.stop()
        await runner.cleanup()


def agent_config(config: ClusterConfig, paths: ClusterPaths, number: int) -> AgentConfig:
    """Return what the agent of node ``number`` is told."""
    return AgentConfig(
        cluster=config.name,
        node=addresses.node_name(number),
        run_dir=paths.run,
        routing="tunnel" if config.routing == "tunnel" else "native",
        ip_families=config.ip_families,
        pod_cidrs=config.pod_cidrs,
        service_cidrs=config.service_cidrs,
        mtu=config.mtu,
    )

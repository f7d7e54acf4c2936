"""One node's process: the agent and the part that plays the kubelet, on one event loop, inside the node's namespace.

The kubelet registers the Node; the operator gives it pod CIDRs; the agent waits for those and brings the datapath up;
then the kubelet may connect pods, and the node is Ready. Everything answers on ``node.sock``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path

from aiohttp import web

from glasshive.agent import background
from glasshive.agent.agent import Agent
from glasshive.agent.config import AgentConfig
from glasshive.agent.http import routes
from glasshive.agent.plain.agent import PlainAgent
from glasshive.agent.plain.http import routes as plain_routes
from glasshive.agent.plain.rules import remove_all
from glasshive.api.resources import NODE
from glasshive.cluster.embedded import addresses, dataplane
from glasshive.cluster.embedded.children import Report
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.cluster.embedded.kubelet import Kubelet, KubeletConfig
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.cluster.views import is_true
from glasshive.errors import ApiError
from glasshive.inventory import Inventory
from glasshive.kube.client import Client
from glasshive.service.settings import ServiceSettings

LOG = logging.getLogger("glasshive.node_process")

WHOLE_TABLES_NODES, WHOLE_TABLE_ENTRIES, LEAST_TABLE_ENTRIES = 16, 65_536, 4_096
API_WAIT_SECONDS = 5.0  # for a control plane that starts beside us; later the kubelet and the agent try again
READY_WAIT_SECONDS = 10.0


def main(config: ClusterConfig, paths: ClusterPaths, number: int, report: Report) -> None:
    """Run node ``number`` until SIGTERM."""
    background.collect_rarely()
    asyncio.run(_run(config, paths, number, report))


async def _run(config: ClusterConfig, paths: ClusterPaths, number: int, report: Report) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await _socket_there(paths)
    async with Client(socket=paths.api_socket) as client:
        agent = _agent(agent_config(config, paths, number), client)
        kubelet = Kubelet(kubelet_config(config, paths, number), client, Inventory(paths.inventory_file))
        runner = await _serve(paths.node_socket(addresses.node_name(number)), agent, kubelet)
        await kubelet.start()
        await agent.start()
        kubelet.connect(agent.cni.handle)
        await _node_ready(client, addresses.node_name(number))
        report({})
        await stop.wait()
        kubelet.disconnect("the node's process is ending")
        await kubelet.stop()
        await agent.stop()
        await runner.cleanup()


def _agent(config: AgentConfig, client: Client) -> Agent | PlainAgent:
    """The agent of the node's dataplane. Where another one was before, its rules go first."""
    if config.dataplane != "ebpf":
        return PlainAgent(config, client)
    if dataplane.file(config.node_dir).exists():
        for wrong in remove_all():
            LOG.warning("another dataplane's rules may still be there: %s", wrong)
    return Agent(config, client)


def agent_config(config: ClusterConfig, paths: ClusterPaths, number: int) -> AgentConfig:
    """Return what the agent of node ``number`` is told."""
    node = addresses.node_name(number)
    return AgentConfig(
        cluster=config.name,
        node=node,
        dataplane=dataplane.chosen(paths.node(node), config.dataplane_of(node)),
        run_dir=paths.run,
        cgroup=paths.node_cgroup(node),
        routing="tunnel" if config.routing == "tunnel" else "native",
        ip_families=config.ip_families,
        pod_cidrs=config.pod_cidrs,
        service_cidrs=config.service_cidrs,
        host_services=tuple(addresses.dns_addresses(config)),
        labels=config.labels,
        policy_enforcement=config.policy_enforcement,
        policy_audit=config.policy_audit,
        policy_cidr_match_mode=config.policy_cidr_match_mode,
        allow_localhost=config.allow_localhost,
        mtu=config.mtu,
        services=ServiceSettings.from_mapping(config.services),
        map_entries={**map_entries(config.nodes), **config.map_entries},
        l2_lease_seconds=config.l2_lease_seconds,
    )


def map_entries(nodes: int) -> dict[str, int]:
    """Sizes of a node's connection tables in a large cluster, whose nodes share one machine's memory.

    The kernel allocates 136 bytes per possible connection at once: 18 MB for a node's two tables as they are.
    """
    if nodes <= WHOLE_TABLES_NODES:
        return {}
    share = WHOLE_TABLE_ENTRIES * WHOLE_TABLES_NODES // nodes
    entries = max(LEAST_TABLE_ENTRIES, 1 << (share.bit_length() - 1))
    return {"conntrack": entries, "nat": entries}


def kubelet_config(config: ClusterConfig, paths: ClusterPaths, number: int) -> KubeletConfig:
    """Return what the kubelet of node ``number`` is told."""
    node = addresses.node_name(number)
    return KubeletConfig(
        cluster=config.name,
        node=node,
        node_dir=paths.node(node),
        pods_cgroup=paths.node_cgroup(node) / "pods",
        addresses=tuple(addresses.node_address(number, family) for family in config.ip_families),
        dns_addresses=tuple(addresses.dns_addresses(config)),
    )


async def _serve(path: Path, agent: Agent | PlainAgent, kubelet: Kubelet) -> web.AppRunner:
    """Answer on the node's socket, mode 0600."""
    app = web.Application()
    app.add_routes(routes(agent) if isinstance(agent, Agent) else plain_routes(agent))
    app.add_routes(dataplane.routes(agent.config))
    app.add_routes(kubelet.routes())
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    path.unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        await web.UnixSite(runner, os.fspath(path)).start()
    finally:
        os.umask(mask)
    return runner


async def _socket_there(paths: ClusterPaths) -> None:
    """Wait for the API's socket, so that the first requests need not be tried again."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(API_WAIT_SECONDS):
            while not paths.api_socket.exists():  # noqa: ASYNC110 - made by another process; the timeout ends this
                await asyncio.sleep(0.005)


async def _node_ready(client: Client, node: str) -> None:
    """Wait until the API shows the node as Ready; a cluster is up when all are."""
    selector = f"metadata.name={node}"
    with contextlib.suppress(TimeoutError, ApiError):
        async with asyncio.timeout(READY_WAIT_SECONDS):
            listed = await client.list(NODE, field_selector=selector)
            if any(is_true(obj, "Ready") for obj in listed.items):
                return
            version = listed.resource_version
            async for event in client.watch(NODE, resource_version=version, field_selector=selector):
                if is_true(event.object, "Ready"):
                    return

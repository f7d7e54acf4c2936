"""The resolver's process, in two parts to play: the cluster's name service on a node, and the resolver of the world.

On every node it listens at the cluster's DNS addresses, which the agent puts on ``gh_host``: pods ask their own node,
without a load balancer in between. Names outside the cluster are asked of the world's resolver, over the fabric. When
the control plane is away, the last known names stay.
"""

from __future__ import annotations

import asyncio
import signal

from glasshive.cluster.embedded import addresses
from glasshive.cluster.embedded.children import Report
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.dns import Follower, Resolver, Server, Upstream, cluster_zone, wire, world_zone
from glasshive.dns.server import PORT
from glasshive.kube.client import Client

DOMAIN = "cluster.local"


def warm_up() -> None:
    """Do once, before forking, what every resolver would do for itself."""
    wire.warm_up()


def main(config: ClusterConfig, paths: ClusterPaths, report: Report) -> None:
    """Answer on a node until SIGTERM. Ready once the zone holds what the API does."""
    asyncio.run(_run_node(config, paths, report))


def world_main(config: ClusterConfig, report: Report) -> None:
    """Answer in the world until SIGTERM."""
    asyncio.run(_run_world(config, report))


async def _run_node(config: ClusterConfig, paths: ClusterPaths, report: Report) -> None:
    ended = _asked_to_end()
    own = addresses.dns_addresses(config)
    # Nodes may be endpoints too (pods on the host's network): their reverse zone is ours as well.
    networks = [*config.service_cidrs, *config.pod_cidrs, *(str(addresses.FABRIC[f]) for f in config.ip_families)]
    zone = cluster_zone(DOMAIN, own, networks)
    upstream = Upstream([(addresses.WORLD[family], PORT) for family in config.ip_families])
    async with Client(socket=paths.api_socket) as client:
        follower = Follower(client, zone, DOMAIN)
        server = Server(Resolver(zone, upstream, follower.prepare), own)
        await server.start()
        await follower.start()
        synced, stop = asyncio.create_task(follower.wait_synced()), asyncio.create_task(ended.wait())
        await asyncio.wait({synced, stop}, return_when=asyncio.FIRST_COMPLETED)
        if synced.done():
            synced.result()
            report({})
        await stop
        synced.cancel()
        await server.stop()
        await follower.stop()


async def _run_world(config: ClusterConfig, report: Report) -> None:
    ended = _asked_to_end()
    outside = [addresses.WORLD_OUTSIDE[family][0] for family in config.ip_families]
    fabric = [addresses.WORLD[family] for family in config.ip_families]
    server = Server(Resolver(world_zone(addresses.world_names(config))), [*fabric, *outside])
    await server.start()
    report({})
    await ended.wait()
    await server.stop()


def _asked_to_end() -> asyncio.Event:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    return ended

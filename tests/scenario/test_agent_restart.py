"""What an agent's death means for pods: nothing. And what a dead API means for an agent: patience."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from agent_cluster import AgentCluster, agent_cluster
from control_plane import eventually
from glasshive.api.cilium_identity import CILIUM_IDENTITY
from glasshive.api.resources import NAMESPACE, POD
from glasshive.bpf import Map
from glasshive.model.address import parse
from glasshive.net import netns

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

CONNECTIONS = 200

SERVER = """
import asyncio, sys
async def serve(reader, writer):
    while data := await reader.read(4096):
        writer.write(data)
async def main():
    server = await asyncio.start_server(serve, None, 7000, backlog=512)
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""

# Every connection sends numbered messages and wants each back. tcpi_total_retrans (struct tcp_info, offset 100) of all
# connections tells whether a single segment had to be sent twice.
CLIENT = """
import asyncio, json, signal, socket, struct, sys
address, count = sys.argv[1], int(sys.argv[2])
stop = asyncio.Event()
async def talk(reader, writer):
    number = 0
    while not stop.is_set():
        message = b"%08d" % number
        writer.write(message)
        back = await asyncio.wait_for(reader.readexactly(8), 10)
        if back != message:
            raise RuntimeError("wrong answer")
        number += 1
        await asyncio.sleep(0.005)
    return number
async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pairs = [await asyncio.open_connection(address, 7000) for _ in range(count)]
    print("ready", flush=True)
    outcomes = await asyncio.gather(*(talk(*pair) for pair in pairs), return_exceptions=True)
    again = 0
    for _, writer in pairs:
        info = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
        again += struct.unpack_from("=I", info, 100)[0]
    failed = [repr(one) for one in outcomes if isinstance(one, BaseException)]
    counts = [one for one in outcomes if isinstance(one, int)] or [0]
    print(json.dumps({"failed": failed, "slowest": min(counts), "retransmitted": again}), flush=True)
asyncio.run(main())
"""


class Load:
    """Connections between two pods that never rest."""

    def __init__(self, cluster: AgentCluster, client: str, server: str, address: str) -> None:
        self.server = cluster.spawn(server, SERVER)
        assert self.server.stdout
        assert self.server.stdout.readline() == "ready\n"
        self.client = cluster.spawn(client, CLIENT, address, str(CONNECTIONS))
        assert self.client.stdout
        assert self.client.stdout.readline() == "ready\n"

    def stop(self) -> dict:
        self.client.send_signal(signal.SIGTERM)
        out, _ = self.client.communicate(timeout=120)
        return json.loads(out)

    def end(self) -> None:
        for process in (self.client, self.server):
            process.kill()
            process.communicate()


def addresses_of(result: dict) -> list[str]:
    return [ip["address"].split("/")[0] for ip in result["ips"]]


async def watch_identity(cluster: AgentCluster, address: str, seen: set[int]) -> None:
    """Note which identities a pod of node2 has in the ipcache of node1, again and again."""
    with Map.open(f"/sys/fs/bpf/glasshive/{cluster.config.name}/node1/maps/ipcache") as ipcache:
        while True:
            entry = ipcache.get({"prefixlen": 128, "addr": parse(address)})
            seen.add(0 if entry is None else int(entry["identity"]))
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("routing", ["native", "tunnel"])
def test_a_killed_agent_costs_no_connection_and_no_packet(routing: str) -> None:
    async def scenario() -> None:
        async with agent_cluster(f"f-kill-{routing[0]}", nodes=2, routing=routing) as cluster:
            await cluster.add_pod("client", "node1", app="client")
            server = addresses_of(await cluster.add_pod("server", "node2", app="server"))
            before = await cluster.ask("node1", "/v1/endpoints")
            load = Load(cluster, "client", "server", server[0])
            seen: set[int] = set()
            watch = asyncio.create_task(watch_identity(cluster, server[0], seen))
            try:
                await asyncio.sleep(0.5)
                for node in ("node1", "node2", "node1"):
                    cluster.kill_agent(node)
                    await asyncio.sleep(0.3)
                    cluster.start_agent(node)
                    await cluster.agent_ready(node)
                    await asyncio.sleep(0.3)
                result = load.stop()
            finally:
                load.end()
                watch.cancel()
            assert len(seen) == 1, "a restart must not make the server somebody else, not for a moment"
            assert result["failed"] == []
            assert result["retransmitted"] == 0
            assert result["slowest"] > 10
            assert await cluster.ask("node1", "/v1/endpoints") == before
            for node in ("node1", "node2"):
                drops = await cluster.ask(node, "/v1/drops")
                assert [one for one in drops if one["reason"] != "multicast"] == []
                status = await cluster.ask(node, "/v1/status")
                assert status["timingMs"]["load_and_attach"] > 0
            await cluster.add_pod("late", "node1", app="late")
            assert await cluster.ping("late", server[0]), "the new agent attaches pods as the old one did"

    asyncio.run(scenario())


def test_pods_that_went_while_no_agent_ran_are_cleared_away() -> None:
    async def scenario() -> None:
        async with agent_cluster("f-gone", nodes=1) as cluster:
            gone = addresses_of(await cluster.add_pod("gone", "node1"))
            stays = addresses_of(await cluster.add_pod("stays", "node1"))
            assert await cluster.ping("stays", gone[0])
            cluster.kill_agent("node1")
            netns.delete(cluster.netns_of("gone"))
            space = cluster.paths.node_netns("node1")

            async def device_gone() -> bool:
                code, _ = await cluster.run_in(space, "ip", "link", "show", "gh1")
                return code != 0

            await eventually(device_gone)
            cluster.start_agent("node1")
            await cluster.agent_ready("node1")
            endpoints = await cluster.ask("node1", "/v1/endpoints")
            assert [one["pod"] for one in endpoints] == ["stays"]
            rows = await cluster.ask("node1", "/v1/maps/endpoints")
            assert gone[0] not in {row["address"] for row in rows}
            assert stays[0] in {row["address"] for row in rows}
            links = Path(f"/sys/fs/bpf/glasshive/{cluster.config.name}/node1/links")
            pins = [one.name for one in links.iterdir()]
            assert sorted(one for one in pins if one.startswith("pod")) == ["pod_2_egress", "pod_2_ingress"]
            tracked = await cluster.ask("node1", "/v1/maps/conntrack")
            assert gone[0] not in {row["low"] for row in tracked} | {row["high"] for row in tracked}

    asyncio.run(scenario())


def test_an_agent_starts_again_while_the_api_is_away() -> None:
    async def scenario() -> None:
        async with agent_cluster("f-noapi", nodes=1, ip_families=("ipv4",)) as cluster:
            await cluster.add_pod("one", "node1")
            two = addresses_of(await cluster.add_pod("two", "node1"))
            cluster.kill_agent("node1")
            hidden = cluster.paths.run / "api.hidden"
            cluster.paths.api_socket.rename(hidden)
            cluster.start_agent("node1")

            async def serves() -> bool:
                if not (cluster.paths.run / "nodes" / "node1" / "node.sock").exists():
                    return False
                try:
                    status = await cluster.ask("node1", "/v1/status")
                except OSError:
                    return False
                return status.get("endpoints") == 2

            await eventually(serves, 15)
            assert await cluster.ping("one", two[0])
            hidden.rename(cluster.paths.api_socket)
            await cluster.agent_ready("node1")
            status = await cluster.ask("node1", "/v1/status")
            assert status["api"]["synced"]
            assert status["features"]["identity"]["waiting"] == []

    asyncio.run(scenario())


def test_identities_follow_labels_and_heal() -> None:
    async def scenario() -> None:
        async with agent_cluster("f-ident", nodes=1, ip_families=("ipv4",)) as cluster:
            for name in ("a1", "a2"):
                await cluster.add_pod(name, "node1", **{"app": "a", "pod-template-hash": name})
            await cluster.add_pod("b", "node1", app="b")

            async def numbers() -> dict[str, int]:
                return {one["pod"]: one["identity"] for one in await cluster.ask("node1", "/v1/endpoints")}

            first = await numbers()
            assert first["a1"] == first["a2"] != first["b"]
            assert min(first.values()) >= 256
            objects = await cluster.client.list(CILIUM_IDENTITY)
            assert {int(one["metadata"]["name"]) for one in objects.items} == set(first.values())

            await cluster.client.patch(POD, "a2", {"metadata": {"labels": {"app": "b"}}}, "default")

            async def followed() -> bool:
                found = await numbers()
                rows = await cluster.ask("node1", "/v1/maps/endpoints")
                by_id = {row["id"]: row["identity"] for row in rows if row["id"]}
                return found["a2"] == found["b"] == first["b"] == by_id[2]

            await eventually(followed, 5, "a changed label must change the identity")
            await cluster.client.patch(NAMESPACE, "default", {"metadata": {"labels": {"env": "test"}}})

            async def moved() -> bool:
                found = await numbers()
                return not set(found.values()) & set(first.values())

            await eventually(moved, 5, "a namespace's labels are part of its pods' identities")

            unknown = await cluster.attach("stranger", "node1")
            assert "code" not in unknown
            assert (await numbers())["stranger"] == 5, "a pod that the API does not know starts as init"
            spec = {"nodeName": "node1", "containers": [{"name": "main", "image": "none"}]}
            await cluster.client.create(POD, POD.object("stranger", "default", spec=spec))

            async def known() -> bool:
                return (await numbers())["stranger"] >= 256

            await eventually(known, 5, "init is corrected when the pod is known")

    asyncio.run(scenario())

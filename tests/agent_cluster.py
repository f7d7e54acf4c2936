"""For scenario tests of agents: a fabric, an API server in the test's loop, and real agents, each in its node.

No kubelet and no operator: the test makes Node and Pod objects itself and asks for sandboxes over node.sock, as a
container runtime would.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from control_plane import served
from glasshive import api
from glasshive.api.resources import CUSTOM_RESOURCE_DEFINITION, NAMESPACE, NODE, POD
from glasshive.bpf import rcu
from glasshive.cluster.embedded import addresses, fabric
from glasshive.cluster.embedded.config import ClusterConfig
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.errors import ApiError
from glasshive.kube.client import Client
from glasshive.net import netns, sysctl

AGENT_PROGRAM = """
import asyncio, json, logging, os, signal, sys
from pathlib import Path
from glasshive.net import netns

told = json.loads(sys.argv[1])
netns.enter(told.pop("netns"))  # before numpy starts its threads
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from aiohttp import web
from glasshive.agent.agent import Agent
from glasshive.agent.config import AgentConfig
from glasshive.agent.http import routes

logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(message)s")
told["run_dir"], told["ip_families"] = Path(told["run_dir"]), tuple(told["ip_families"])

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    agent = Agent(AgentConfig(**told))
    app = web.Application()
    app.add_routes(routes(agent))
    runner = web.AppRunner(app)
    await runner.setup()
    socket = agent.config.node_socket
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    await web.UnixSite(runner, str(socket)).start()
    await agent.start()
    print("ready", flush=True)
    await stop.wait()
    await agent.stop()
    await runner.cleanup()

asyncio.run(main())
"""


class AgentCluster:
    """Nodes with agents. Names of pods are unique in the cluster; all are in the namespace ``default`` unless told."""

    def __init__(self, config: ClusterConfig, client: Client) -> None:
        self.config = config
        self.paths = ClusterPaths(config.name)
        self.client = client
        self.agents: dict[str, subprocess.Popen[str]] = {}
        self.where: dict[str, str] = {}

    # -- nodes

    async def add_nodes(self, pod_cidrs: list[str] | None = None) -> None:
        for number in range(1, self.config.nodes + 1):
            name = addresses.node_name(number)
            cidrs = {"ipv4": f"10.244.{number}.0/24", "ipv6": f"fd00:10:244:{number}::/64"}
            own = pod_cidrs or [cidrs[family] for family in self.config.ip_families]
            found = [
                {"type": "InternalIP", "address": addresses.node_address(number, family)}
                for family in self.config.ip_families
            ]
            body = NODE.object(name, spec={"podCIDR": own[0], "podCIDRs": own})
            await self.client.create(NODE, body)
            await self.client.patch(NODE, name, {"status": {"addresses": found}}, subresource="status")

    def start_agent(self, node: str, *, wait: bool = True) -> None:
        log = self.paths.run / "log"
        log.mkdir(parents=True, exist_ok=True)
        told = {
            "cluster": self.config.name,
            "node": node,
            "run_dir": str(self.paths.run),
            "routing": self.config.routing,
            "ip_families": list(self.config.ip_families),
            "mtu": self.config.mtu,
            "netns": self.paths.node_netns(node),
        }
        with (log / f"{node}.log").open("a") as errors:
            self.agents[node] = subprocess.Popen(
                [sys.executable, "-c", AGENT_PROGRAM, json.dumps(told)],
                stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip

    async def agent_ready(self, node: str) -> None:
        stdout = self.agents[node].stdout
        assert stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(stdout.readline), 30)
        assert line == "ready\n", (self.paths.run / "log" / f"{node}.log").read_text()[-2000:]

    def kill_agent(self, node: str, number: int = signal.SIGKILL) -> None:
        process = self.agents.pop(node)
        process.send_signal(number)
        process.wait(20)
        if process.stdout:
            process.stdout.close()

    async def ask(self, node: str, path: str, body: Any = None) -> Any:
        socket = str(self.paths.run / "nodes" / node / "node.sock")
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket)) as session:
            call = session.get(f"http://node{path}") if body is None else session.post(f"http://node{path}", json=body)
            async with call as answer:
                return await answer.json(content_type=None)

    # -- pods

    async def add_pod(self, name: str, node: str, *, namespace: str = "default", **labels: str) -> dict[str, Any]:
        """Make a Pod object, its sandbox and its network; the CNI result."""
        spec = {"nodeName": node, "containers": [{"name": "main", "image": "none"}]}
        pod = POD.object(name, namespace, metadata={"labels": labels}, spec=spec)
        made = await self.client.create(POD, pod)
        result = await self.attach(name, node, namespace=namespace, uid=made["metadata"]["uid"])
        assert "code" not in result, result
        texts = [ip["address"].split("/")[0] for ip in result["ips"]]
        status = {"phase": "Running", "podIP": texts[0], "podIPs": [{"ip": text} for text in texts]}
        await self.client.patch(POD, name, {"status": status}, namespace, subresource="status")
        return result

    async def attach(self, name: str, node: str, *, namespace: str = "default", uid: str = "") -> dict[str, Any]:
        if not netns.exists(self.netns_of(name)):
            netns.create(self.netns_of(name))
            sysctl.write({**sysctl.QUIET_IPV6, **sysctl.ANYONE_MAY_PING}, self.netns_of(name))
        self.where[name] = node
        return await self.cni("ADD", name, namespace=namespace, uid=uid)

    async def cni(self, command: str, name: str, *, namespace: str = "default", uid: str = "") -> dict[str, Any]:
        return await self.ask(
            self.where[name],
            "/cni",
            {
                "command": command,
                "containerId": f"sandbox-{name}",
                "netns": str(netns.path_of(self.netns_of(name))),
                "ifname": "eth0",
                "args": {"K8S_POD_NAME": name, "K8S_POD_NAMESPACE": namespace, "K8S_POD_UID": uid},
                "config": {"cniVersion": "1.1.0"},
            },
        )

    async def remove_pod(self, name: str, *, namespace: str = "default") -> None:
        assert await self.cni("DEL", name) == {}
        netns.delete(self.netns_of(name))
        with suppress(ApiError):
            await self.client.delete(POD, name, namespace, grace_seconds=0)

    def netns_of(self, pod: str) -> str:
        return f"gh-{self.config.name}-pod-{pod}"

    async def run_in(self, space: str, *argv: str, seconds: float = 20) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            "ip", "netns", "exec", space, *argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        out, _ = await asyncio.wait_for(process.communicate(), seconds)
        assert process.returncode is not None
        return process.returncode, out.decode()

    async def ping(self, pod: str, address: str, count: int = 2) -> bool:
        code, _ = await self.run_in(self.netns_of(pod), "ping", "-c", str(count), "-i", "0.1", "-W", "1", address)
        return code == 0

    def spawn(self, pod: str, program: str, *args: str) -> subprocess.Popen[str]:
        """Run a Python program in a pod's network namespace."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.netns_of(pod), sys.executable, "-c", program, *args],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def destroy(self) -> None:
        for node in list(self.agents):
            self.kill_agent(node)
        for name in netns.names(f"gh-{self.config.name}-"):
            netns.delete(name)
        subprocess.run(["rm", "-rf", f"/sys/fs/bpf/glasshive/{self.config.name}"], check=True)
        for folder in (self.paths.run,):
            subprocess.run(["rm", "-rf", str(folder)], check=True)


@asynccontextmanager
async def agent_cluster(
    name: str, *, agents: bool = True, pod_cidrs: list[str] | None = None, **config: Any
) -> AsyncIterator[AgentCluster]:
    """Fabric, API server, Nodes and (unless told otherwise) running agents; all gone at the end."""
    made = ClusterConfig(name=name, **config)
    paths = ClusterPaths(name)
    paths.run.mkdir(parents=True, mode=0o700)
    async with served(paths.run) as client:
        cluster = AgentCluster(made, client)
        try:
            fabric.build(made, paths)
            for crd in api.crds():
                await client.create(CUSTOM_RESOURCE_DEFINITION, crd)
            with suppress(ApiError):  # the server made it
                await client.create(NAMESPACE, NAMESPACE.object("default"))
            await cluster.add_nodes(pod_cidrs)
            if agents:
                nodes = [addresses.node_name(number) for number in range(1, made.nodes + 1)]
                for node in nodes:
                    cluster.start_agent(node)
                for node in nodes:
                    await cluster.agent_ready(node)
            yield cluster
        finally:
            cluster.destroy()
            rcu.restore()  # agents die by SIGKILL here; `glasshive down`, which does this, is not part of it

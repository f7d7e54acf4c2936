"""For tests of the pod runtime: one node with a real zygote and kubelet, an API server, and a CNI of plain routes.

No agent and no datapath program: the CNI here makes the pod's link and a host route, nothing more.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from control_plane import eventually, served
from glasshive.api.resources import POD
from glasshive.cluster.embedded.paths import ClusterPaths
from glasshive.errors import ApiError
from glasshive.inventory import Inventory, Kind
from glasshive.kube.client import Client
from glasshive.net import netns

KUBELET_PROGRAM = """
import asyncio, json, logging, signal, sys
from pathlib import Path
from glasshive.net import netns
told = json.loads(sys.argv[1])
netns.enter(told["netns"])
from aiohttp import web
from glasshive.cluster.embedded.kubelet import Kubelet, KubeletConfig
from glasshive.inventory import Inventory
from glasshive.kube.client import Client
from glasshive.net import netlink, sysctl, veth
from glasshive.net.links import Links

logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(message)s")
ROUTER = ("10.244.1.1", "fd00:10:244:1::1")


class RoutesCni:
    def __init__(self, links):
        self.links, self.socket = links, netlink.Socket()
        self.file = Path(told["node_dir"]) / "cni.json"
        self.known = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.number = max((v[0] for v in self.known.values()), default=1)

    async def handle(self, request):
        if request["args"]["K8S_POD_NAME"].startswith("refused") and request["command"] == "ADD":
            return {"cniVersion": "1.1.0", "code": 100, "msg": "no address left in 10.244.1.0/24"}
        known = self.known.pop(request["containerId"], None)
        if request["command"] == "DEL":
            if known:
                veth.delete_host_link(100000 + known[0], self.socket)
                self.file.write_text(json.dumps(self.known))
            return {}
        self.number += 1
        n = self.number
        v4, v6, name = f"10.244.1.{n}", f"fd00:10:244:1::{n:x}", f"ghe{n}"
        mac = f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}"
        link = veth.PodLink(name, 100000 + n, mac, mac.replace("02:", "06:", 1), 1500, v4, v6, *ROUTER)
        veth.create_pod_link(request["netns"], link, self.socket)
        for address, bits in ((v4, 32), (v6, 128)):
            self.links.set_route(f"{address}/{bits}", dev=name)
            self.links.set_neighbour(name, address, link.pod_mac)
        self.known[request["containerId"]] = [n]
        self.file.write_text(json.dumps(self.known))
        return {"cniVersion": "1.1.0", "ips": [{"address": f"{v4}/32"}, {"address": f"{v6}/128"}]}


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with Links() as links:
        links.change("lo", up=True)
        sysctl.write(sysctl.ROUTER)
        for address, bits in zip(ROUTER, (32, 128)):
            links.add_address("lo", f"{address}/{bits}")
        node_dir = Path(told["node_dir"])
        config = KubeletConfig(told["cluster"], "node1", node_dir, Path(told["pods_cgroup"]),
                               addresses=("172.30.0.11", "fd30::b"), dns_addresses=("10.96.0.10",))
        client = Client(socket=told["api"])
        kubelet = Kubelet(config, client, Inventory(told["inventory"]))
        app = web.Application()
        app.add_routes(kubelet.routes())
        runner = web.AppRunner(app)
        await runner.setup()
        config.node_socket.unlink(missing_ok=True)
        await web.UnixSite(runner, str(config.node_socket)).start()
        await kubelet.start()
        kubelet.connect(RoutesCni(links).handle)
        await kubelet.node.registered.wait()
        print("ready", flush=True)
        await stop.wait()
        await kubelet.stop()
        await runner.cleanup()
        await client.close()

asyncio.run(main())
"""


class KubeletNode:
    """The node. Pods are bound to it by the test, as there is no scheduler."""

    def __init__(self, cluster: str, client: Client, api: Path) -> None:
        self.paths = ClusterPaths(cluster)
        self.client = client
        self.node_dir = self.paths.node("node1")
        self._api = api
        self._zygote: subprocess.Popen[str] | None = None
        self.kubelet: subprocess.Popen[str] | None = None

    async def start(self) -> None:
        self.node_dir.mkdir(parents=True)
        netns.create(self.paths.node_netns("node1"))
        await self.start_zygote()
        await self.start_kubelet()

    async def start_zygote(self) -> None:
        cgroup = self.paths.node_cgroup("node1") / "pods"
        program = "glasshive.cluster.embedded.pods.zygote"
        self._zygote = await self._spawn("-m", program, "node1", str(self.node_dir), str(cgroup))

    async def start_kubelet(self) -> None:
        told = {
            "cluster": self.paths.cluster, "netns": self.paths.node_netns("node1"), "node_dir": str(self.node_dir),
            "pods_cgroup": str(self.paths.node_cgroup("node1") / "pods"), "api": str(self._api),
            "inventory": str(self.paths.inventory_file),
        }  # fmt: skip
        self.kubelet = await self._spawn("-c", KUBELET_PROGRAM, json.dumps(told))

    async def _spawn(self, *argv: str) -> subprocess.Popen[str]:
        log = (self.paths.run / "log.txt").open("a")
        process = subprocess.Popen(  # noqa: ASYNC220 - forking does not block
            [sys.executable, *argv], stdout=subprocess.PIPE, stderr=log, text=True
        )
        log.close()
        assert process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 20)
        assert line == "ready\n", (self.paths.run / "log.txt").read_text()[-3000:]
        return process

    def kill_kubelet(self, number: int = signal.SIGKILL) -> None:
        assert self.kubelet is not None
        self.kubelet.send_signal(number)
        self.kubelet.wait()

    async def add(
        self, name: str, image: str = "glasshive/echo", *, container: dict[str, Any] | None = None, **spec: Any
    ) -> None:
        """Create a pod that is bound already."""
        main = {"name": "main", "image": image, **(container or {})}
        body = {"nodeName": "node1", "containers": [main], "terminationGracePeriodSeconds": 2, **spec}
        await self.client.create(POD, POD.object(name, "default", spec=body))

    async def pod(self, name: str) -> dict[str, Any]:
        return await self.client.get(POD, name, "default")

    async def status(self, name: str) -> dict[str, Any]:
        return (await self.pod(name)).get("status") or {}

    async def until(self, name: str, check: Any, seconds: float = 60.0) -> dict[str, Any]:
        """Wait until ``check(status)``; the status then."""
        last: dict[str, Any] = {}

        async def look() -> bool:
            nonlocal last
            last = await self.status(name)
            return bool(check(last))

        try:
            await eventually(look, seconds)
        except AssertionError:
            log = (self.paths.run / "log.txt").read_text()[-3000:]
            raise AssertionError(f"last status: {json.dumps(last)}\n{log}") from None
        return last

    async def ready(self, name: str, seconds: float = 60.0) -> dict[str, Any]:
        return await self.until(name, is_ready, seconds)

    async def deleted(self, name: str, seconds: float = 60.0) -> None:
        async def gone() -> bool:
            try:
                await self.pod(name)
            except ApiError as error:
                return error.code == 404
            return False

        await eventually(gone, seconds)

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.node_dir / "node.sock"))) as session,
            session.request(method, "http://node" + path, **more) as answer,
        ):
            return answer.status, await answer.text()

    async def run(self, pod: str, *argv: str, **more: Any) -> dict[str, Any]:
        """Run a command in a pod."""
        body = {"namespace": "default", "pod": pod, "argv": argv, **more}
        _, text = await self.ask("POST", "/v1/exec", json=body)
        answer: dict[str, Any] = json.loads(text)
        return answer

    async def stop(self) -> None:
        for process in (self.kubelet, self._zygote):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(10)
        pods = self.paths.node_cgroup("node1") / "pods"
        for entry in pods.iterdir() if pods.exists() else ():
            if entry.is_dir():
                (entry / "cgroup.kill").write_text("1")
        await eventually(lambda: not pods.exists() or "populated 0" in (pods / "cgroup.events").read_text())
        for directory in sorted(self.paths.cgroup.rglob("*/"), reverse=True):
            directory.rmdir()
        self.paths.cgroup.rmdir()
        for entry in Inventory(self.paths.inventory_file).entries():
            if entry.kind == Kind.NETNS:
                netns.delete(entry.ident, missing_ok=True)
        netns.delete(self.paths.node_netns("node1"), missing_ok=True)
        shutil.rmtree(self.paths.run)


def is_ready(status: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])


@asynccontextmanager
async def kubelet_node(cluster: str) -> AsyncIterator[KubeletNode]:
    """A node of the cluster of that name, removed at the end with all it has."""
    run = ClusterPaths(cluster).run
    run.mkdir(mode=0o700, parents=True)
    try:
        async with served(run) as client:
            node = KubeletNode(cluster, client, run / "api.sock")
            try:
                await node.start()
                yield node
            finally:
                await node.stop()
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(run)

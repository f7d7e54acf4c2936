"""The inside of `bench pods`: one node's datapath, driven through its CNI entry point. A process of its own, because it
moves into the node's network namespace for good. Prints one JSON object.

    python -m glasshive.bench.pods_worker NETNS NAME FOLDER LIVE MEASURED
"""

from __future__ import annotations

import sys

from glasshive.net import netns

if __name__ == "__main__":
    netns.enter(sys.argv[1])  # before anything below starts a thread

import asyncio
import json
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

from glasshive.agent.cni import CniServer
from glasshive.agent.config import AgentConfig
from glasshive.agent.datapath import Datapath
from glasshive.model.address import Prefix, parse, render
from glasshive.model.endpoint import PodRef
from glasshive.model.node import NodeFacts

POD_PREFIXES = ("10.244.0.0/19", "fd00:10:244::/64")  # room for 8,000 pods


class Node:
    """The datapath, its CNI server, and the sandboxes made so far."""

    def __init__(self, name: str, folder: Path) -> None:
        facts = NodeFacts(
            "node1",
            (parse("172.30.0.11"), parse("fd30::b")),
            tuple(Prefix.parse(one) for one in POD_PREFIXES),
        )
        self.name = name
        self.made = 0
        self.datapath = Datapath(AgentConfig(cluster=name, node="node1", run_dir=folder), facts)
        self.datapath.start()

        async def identity(_pod: PodRef) -> int:
            return 300

        self.cni = CniServer(self.datapath, identity)

    def request(self, command: str, number: int) -> dict[str, Any]:
        """A CNI request for sandbox ``number``."""
        return {
            "command": command,
            "containerId": f"{number:064x}",
            "netns": f"/run/netns/{self.name}-pod-{number}",
            "ifname": "eth0",
            "args": {"K8S_POD_NAMESPACE": "default", "K8S_POD_NAME": f"pod-{number}", "K8S_POD_UID": str(number)},
            "config": {"cniVersion": "1.1.0", "name": "glasshive", "type": "glasshive"},
        }

    async def add(self, number: int) -> float:
        """Make a namespace and attach it; milliseconds."""
        began = time.perf_counter()
        netns.create(f"{self.name}-pod-{number}")
        answer = await self.cni.handle(self.request("ADD", number))
        if "code" in answer:
            raise SystemExit(f"ADD failed: {answer}")
        self.made = number + 1
        return (time.perf_counter() - began) * 1000

    async def delete(self, number: int) -> float:
        """Detach and remove a namespace; milliseconds."""
        began = time.perf_counter()
        answer = await self.cni.handle(self.request("DEL", number))
        if "code" in answer:
            raise SystemExit(f"DEL failed: {answer}")
        netns.delete(f"{self.name}-pod-{number}")
        return (time.perf_counter() - began) * 1000


async def timed(work: list[Any]) -> dict[str, Any]:
    """Run the prepared calls one after the other; their rate and latencies."""
    began = time.perf_counter()
    latencies = sorted([await one() for one in work])
    seconds = time.perf_counter() - began
    return {
        "per_second": len(latencies) / seconds,
        "p50_ms": latencies[len(latencies) // 2],
        "p99_ms": latencies[len(latencies) * 99 // 100],
        "seconds": seconds,
    }


async def gone(devices: int, deadline_seconds: float) -> None:
    """Wait until the node has only that many devices left: the kernel removes namespaces in the background."""
    deadline = time.perf_counter() + deadline_seconds
    while len(socket.if_nameindex()) > devices:
        if time.perf_counter() > deadline:
            raise SystemExit(f"devices are left {deadline_seconds} s after their pods")
        await asyncio.sleep(0.005)


async def main(name: str, folder: Path, live: int, measured: int) -> dict[str, Any]:
    """Fill the node with ``live`` pods, measure ``measured`` more and their removal, empty the node."""
    node = Node(name, folder)
    before = len(socket.if_nameindex())
    result: dict[str, Any] = {"load_and_attach_ms": node.datapath.timing_ms["load_and_attach"]}
    try:
        result["filling"] = await timed([partial(node.add, number) for number in range(live)])
        result["add"] = await timed([partial(node.add, live + number) for number in range(measured)])
        result["reachable"] = reach(node)
        result["delete"] = await timed([partial(node.delete, live + number) for number in range(measured)])
    finally:
        left = [number for number in range(node.made) if netns.exists(f"{name}-pod-{number}")]
        began = time.perf_counter()
        for number in left:
            await node.delete(number)
        await gone(before, 60)
        result["delete_until_gone_per_second"] = len(left) / (time.perf_counter() - began)
        await node.datapath.stop()
    return result


def reach(node: Node) -> bool:
    """Ping the newest pod from the node."""
    newest = node.datapath.endpoints.find(f"{node.made - 1:064x}", "eth0")
    assert newest
    address = render(newest.addresses[0])
    return subprocess.run(["ping", "-c", "1", "-W", "2", address], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])))))

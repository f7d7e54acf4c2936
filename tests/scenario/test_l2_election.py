"""Leases of services among three nodes that are frozen and thawed at random: never two answer, somebody soon does."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from control_plane import eventually, served
from glasshive.agent.l2.election import Election
from glasshive.api.resources import LEASE
from glasshive.kube.client import Client
from glasshive.l2.lease import NAMESPACE, Terms, holder_of, lease_name

TERMS = Terms(1, 0.6, 0.1)
SERVICES = [("default", "web"), ("default", "db")]


class Node:
    """What the feature does around an election, without a kernel: the term counts, not what the node believes."""

    def __init__(self, client: Client, name: str) -> None:
        self.name = name
        self.client = client
        self.wake = asyncio.Event()
        self.election = Election(client, name, TERMS, self.wake.set)
        self.wanted = list(SERVICES)
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.answers: set[tuple[str, str]] = set()
        self.until = 0.0
        self.task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        self.election.leases.start()
        await self.election.leases.wait_synced()
        while True:
            await self.thawed.wait()
            self.wake.clear()
            if self.election.drop(self.wanted):
                self.answers = set(self.election.leading)
            await self.election.round(self.wanted, SERVICES)
            await self.thawed.wait()  # frozen between the answer and the kernel's table
            self.answers = set(self.election.leading)
            self.until = (self.election.since or 0.0) + TERMS.lease_s
            try:
                await asyncio.wait_for(self.wake.wait(), self.election.patience(self.wanted))
            except TimeoutError:
                continue

    def does_answer(self, service: tuple[str, str]) -> bool:
        return service in self.answers and time.monotonic() < self.until


def who(nodes: list[Node], service: tuple[str, str]) -> list[str]:
    return [node.name for node in nodes if node.does_answer(service)]


def test_never_two_answer_for_a_service(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)

    async def body() -> None:
        chance = random.Random(seed)
        async with served(tmp_path) as client:
            nodes = [Node(client, f"node{number}") for number in range(1, 4)]
            tasks = [asyncio.create_task(node.run()) for node in nodes]
            ends = time.monotonic() + 8
            while time.monotonic() < ends:
                node = chance.choice(nodes)
                if node.thawed.is_set() and sum(one.thawed.is_set() for one in nodes) > 1:
                    node.thawed.clear()
                else:
                    node.thawed.set()
                for _ in range(chance.randrange(5, 40)):
                    assert all(len(who(nodes, service)) <= 1 for service in SERVICES)
                    await asyncio.sleep(0.02)
            for node in nodes:
                node.thawed.set()
            for service in SERVICES:
                await eventually(lambda: len(who(nodes, service)) == 1)  # noqa: B023 - used at once
            await leaves(client, nodes)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for node in nodes:
                await node.election.leases.stop()

    asyncio.run(body())


async def leaves(client: Client, nodes: list[Node]) -> None:
    """A node that may not answer any more hands over at once; a service that is gone has no lease."""
    first = next(node for node in nodes if node.does_answer(SERVICES[0]))
    first.wanted = []

    def another() -> bool:
        now = who(nodes, SERVICES[0])
        assert len(now) <= 1
        return bool(now) and now != [first.name]

    await eventually(another)
    lease = await client.get(LEASE, lease_name(SERVICES[0]), NAMESPACE)
    assert holder_of(lease) != first.name
    assert lease["spec"]["leaseTransitions"] >= 1

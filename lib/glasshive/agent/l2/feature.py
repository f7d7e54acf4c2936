"""The feature itself: a round every retry period, or at once when something has changed.

What an earlier agent left in the kernel is answered for until its term ends; an agent that comes back within it
prolongs the leases that carry its name, and nobody notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Protocol

from glasshive.agent import background
from glasshive.agent.config import AgentConfig
from glasshive.agent.datapath import Datapath
from glasshive.agent.l2.election import Election
from glasshive.agent.l2.sources import L2Sources
from glasshive.agent.objects import needed
from glasshive.agent.view import ClusterView
from glasshive.api.load_balancer_request import Key
from glasshive.errors import GlasshiveError
from glasshive.kube.client import Client
from glasshive.l2.desired import Responder, desired
from glasshive.l2.lease import Terms
from glasshive.maps import l2_responders as maps
from glasshive.model.address import Address, render
from glasshive.model.node import NodeFacts
from glasshive.net.announce import announce

ANNOUNCEMENTS = 3
"""How often a new address is announced, once a round: a frame may be lost."""

log = logging.getLogger(__name__)


class Responders(Protocol):
    """What answers ARP and neighbour solicitations: eBPF, or this process itself."""

    def set(self, wanted: Collection[Responder]) -> list[Responder]:
        """Answer for exactly these; returns those that are new."""

    def set_term(self, until_ns: int) -> None:
        """Answer until then (CLOCK_MONOTONIC)."""

    def entries(self) -> dict[Responder, int]:
        """What is answered for -> answers sent."""


class Wire(NamedTuple):
    """The device towards the network: its index and address, and what answers there."""

    ifindex: int
    mac: bytes
    responders: Responders


class L2Feature:
    """Feature "l2"."""

    def __init__(self, config: AgentConfig, client: Client, view: ClusterView, node: NodeFacts, wire: Wire) -> None:
        self._config = config
        self._wire = wire
        self._terms = Terms(*config.l2_lease_seconds)
        self._wake = asyncio.Event()
        self.sources = L2Sources(client, config.node, self._wake.set)
        self.election = Election(client, config.node, self._terms, self._wake.set)
        self._labels = dict(node.labels)
        self._told: dict[Address, int] = {}
        self._answering: dict[Key, frozenset[Responder]] = {}
        self._task: asyncio.Task[None] | None = None
        view.on_node(self._on_node)

    async def start(self) -> None:
        """Begin in the background."""
        self.sources.start()
        self._task = background.start(self._run(), "l2-announcements")

    async def stop(self) -> None:
        """End. Leases and the kernel's tables stay as they are: the next agent takes them over."""
        await background.stop(self._task)
        await self.sources.stop()
        await self.election.leases.stop()

    def status(self) -> dict[str, Any]:
        """What this node answers for."""
        return {
            "policies": len(self.sources.policies),
            "leading": sorted("/".join(one) for one in self.election.leading),
            "responders": sum(map(len, self._answering.values())),
        }

    def rows(self) -> list[dict[str, Any]]:
        """What this node answers for, by service and address, with how often it did."""
        sent = self._wire.responders.entries()
        now = time.monotonic()
        return [
            {
                "service": "/".join(service),
                "address": render(address),
                "device": self._config.device,
                "responsesSent": sent.get((address, index), 0),
                "renewedSecondsAgo": round(now - self.election.leading.get(service, now), 1),
            }
            for service, responders in sorted(self._answering.items())
            for address, index in sorted(responders)
        ]

    def _on_node(self, name: str, facts: NodeFacts | None) -> None:
        if name == self._config.node and facts is not None and dict(facts.labels) != self._labels:
            self._labels = dict(facts.labels)
            self._wake.set()

    async def _run(self) -> None:
        await self._first_policy()
        while True:
            self._wake.clear()
            patience = self._terms.retry_s
            try:
                patience = await self._round()
            except GlasshiveError as error:
                log.error("L2 announcements are not as they should be: %s", error)  # noqa: TRY400 - says everything
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), patience)

    async def _first_policy(self) -> None:
        """Wait until there is something to do, then until all is known."""
        while not self.sources.policies:
            self._wake.clear()
            if self.sources.knows_policies:
                self._wire.responders.set(())  # an earlier agent's, if the last policy went while none was there
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), None if self.sources.knows_policies else self._terms.retry_s)
        self.sources.follow()
        self.election.leases.start()
        await asyncio.gather(self.sources.wait_synced(), self.election.leases.wait_synced(None))

    async def _round(self) -> float:
        """Do what is due; returns the seconds until the next round is."""
        wanted = desired(
            self.sources.policies.values(),
            self.sources.services.values(),
            self._labels,
            {self._config.device: self._wire.ifindex},
            with_backend=self.sources.with_backend(),
        )
        if self.election.drop(wanted):
            self._apply(wanted)
        await self.election.round(wanted, self.sources.services)
        self._apply(wanted)
        return self.election.patience(wanted)

    def _apply(self, wanted: Mapping[Key, frozenset[Responder]]) -> None:
        self._answering = {one: wanted[one] for one in self.election.leading if one in wanted}
        responders = {one for found in self._answering.values() for one in found}
        since = self.election.since
        if since is not None:
            self._wire.responders.set_term(int((since + self._terms.lease_s) * 1e9))
        new = self._wire.responders.set(responders)
        self._told |= dict.fromkeys((address for address, _ in new), 0)
        self._told = {one: times for one, times in self._told.items() if one in {address for address, _ in responders}}
        due = [one for one, times in self._told.items() if times < ANNOUNCEMENTS]
        if due:
            announce(self._config.device, self._wire.mac, due)
            log.info("announced %s on %s", ", ".join(map(render, due)), self._config.device)
            self._told |= {one: self._told[one] + 1 for one in due}


def of_datapath(config: AgentConfig, client: Client, view: ClusterView, datapath: Datapath) -> L2Feature:
    """The feature on a node with eBPF."""
    found, made = datapath.objects, datapath.devices
    responders = maps.L2Responders(needed(found, "maps", maps.NAME), needed(found, "maps", maps.TERM))
    return L2Feature(config, client, view, datapath.node, Wire(made.device, made.device_mac, responders))

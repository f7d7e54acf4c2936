"""The Node that an agent stands for: its addresses and pod CIDRs, from the API, or from what an earlier agent wrote."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

import orjson

from glasshive.agent.config import AgentConfig
from glasshive.agent.datapath import only_families
from glasshive.agent.facts import node_facts, node_to_json
from glasshive.api.resources import NODE
from glasshive.errors import ApiError, DeadlineError
from glasshive.kube.client import Client
from glasshive.model.node import NodeFacts

log = logging.getLogger(__name__)

NODE_PATIENCE_SECONDS = 30.0
"""How long a first start waits for the Node's pod CIDRs."""
KNOWN_NODE_PATIENCE_SECONDS = 3.0
"""The same where an earlier agent wrote down what they are."""


class OwnNode:
    """Finds the Node, and writes down what was found."""

    def __init__(self, config: AgentConfig, client: Client) -> None:
        self.config = config
        self.client = client

    async def find(self) -> NodeFacts:
        """This node's facts from the API, or what the last agent wrote down when the API does not answer."""
        remembered = self._remembered()
        patience = NODE_PATIENCE_SECONDS if remembered is None else KNOWN_NODE_PATIENCE_SECONDS
        try:
            return await asyncio.wait_for(self._watch_node(), patience)
        except TimeoutError:
            if remembered is not None:
                log.warning("the API does not answer: node %s starts from what it knew", self.config.node)
                return remembered
        raise DeadlineError(
            f"node {self.config.node} got no pod CIDRs within {patience:g} s",
            hint="does the Node object exist, and is the operator running?",
        )

    async def _watch_node(self) -> NodeFacts:
        while True:
            with contextlib.suppress(ApiError):
                listed = await self.client.list(NODE, field_selector=f"metadata.name={self.config.node}")
                for obj in listed.items:
                    if self._complete(facts := node_facts(obj)):
                        return facts
                async for event in self.client.watch(
                    NODE,
                    resource_version=listed.resource_version,
                    field_selector=f"metadata.name={self.config.node}",
                ):
                    if event.type in ("ADDED", "MODIFIED") and self._complete(facts := node_facts(event.object)):
                        return facts
            await asyncio.sleep(0.1)  # the API was away, or ended the watch

    def _complete(self, node: NodeFacts) -> bool:
        """Whether a node has an address and a pod CIDR of every family in use."""
        mine = only_families(node, self.config.ip_families)
        wanted = len(set(self.config.ip_families))
        return len(mine.pod_prefixes) >= wanted and len(mine.addresses) >= wanted

    @property
    def _memory(self) -> Path:
        return self.config.node_dir / "node.json"

    def remember(self, node: NodeFacts) -> None:
        """For the next agent, in case the API is away then."""
        scratch = self._memory.with_suffix(".new")
        scratch.write_bytes(orjson.dumps(node_to_json(node)))
        scratch.rename(self._memory)

    def _remembered(self) -> NodeFacts | None:
        try:
            return node_facts(orjson.loads(self._memory.read_bytes()))
        except (OSError, orjson.JSONDecodeError, KeyError):
            return None

"""Feature "routing": other nodes' pod prefixes, in the kernel's routes and in the ipcache, kept up with the Nodes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from glasshive.agent import background
from glasshive.agent.datapath import only_families
from glasshive.agent.node_network import NodeNetwork
from glasshive.agent.view import ClusterView
from glasshive.errors import DeadlineError, GlasshiveError
from glasshive.model.node import NodeFacts

RECONCILE_SECONDS = 60.0

log = logging.getLogger(__name__)


class NodeRoutes:
    """Applies changes of Nodes, several at once when they come together, and compares with the kernel now and then."""

    def __init__(self, datapath: NodeNetwork, view: ClusterView, complete: Callable[[], bool]) -> None:
        self._datapath = datapath
        self._view = view
        self._complete = complete
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._last: dict[str, Any] = {"routes": 0, "mended": 0}

    async def start(self) -> None:
        """Follow nodes."""
        self._view.on_node(self._on_node)
        self._task = background.start(self._run(), "node-routes")

    async def stop(self) -> None:
        """Stop following; routes stay."""
        await background.stop(self._task)

    def status(self) -> dict[str, Any]:
        """How many routes there are, and how many map entries were mended by the last comparison."""
        return dict(self._last)

    def _on_node(self, name: str, facts: NodeFacts | None) -> None:
        if facts is None:
            self._datapath.ipcache.remove_node(name)
        else:
            self._datapath.ipcache.set_node(only_families(facts, self._datapath.config.ip_families))
        self._changed.set()

    async def _run(self) -> None:
        """Routes are only removed once the API has told of all nodes: an agent that just started knows too little."""
        while True:
            try:
                self._write()
            except GlasshiveError as error:
                log.error("routes or maps are not as they should be: %s", error)  # noqa: TRY400
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), RECONCILE_SECONDS if self._complete() else 1.0)
            self._changed.clear()
            await self._settle()

    async def _settle(self) -> None:
        """The first list brings all nodes in one turn of the loop; wait for its end."""
        if not self._view.synced:
            with contextlib.suppress(DeadlineError):
                await self._view.wait_synced(0.2)

    def _write(self) -> None:
        config, datapath = self._datapath.config, self._datapath
        nodes = [only_families(one, config.ip_families) for one in self._view.nodes()]
        if not any(node.name == config.node for node in nodes):
            nodes.append(datapath.node)
        wanted = datapath.wanted_routes(nodes)
        if self._view.synced:
            changed = datapath.routes.apply(wanted)
            mended = datapath.reconcile() if self._complete() else 0
        else:
            changed, mended = datapath.routes.add(wanted), 0
        self._last = {"routes": len(wanted), "changed": changed, "mended": mended}

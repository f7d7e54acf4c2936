"""Packets as they really travel between nodes, shown in a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glasshive.errors import NotFoundError
from glasshive.lab.kit.kernel import Kernel

if TYPE_CHECKING:
    from glasshive.widgets import MapTable

_WIRE = "eth0"


class Traffic(Kernel):
    """The part of a lab that looks at nodes' wires."""

    def on_the_wire(self, source: str, target: str, *, size: int = 56) -> MapTable:
        """Ping from pod to pod and show the request's headers as it leaves the node, from the outside in.

        ``size`` bytes are carried. NotFoundError if nothing of it leaves the node.
        """
        from glasshive.cluster.embedded.paths import ClusterPaths
        from glasshive.lab import onwire
        from glasshive.widgets import MapTable

        node = self.status(source).node
        ends = self.address(source), self.address(target)
        netns = ClusterPaths(self.cluster.name).node_netns(node)
        with onwire.sniff(netns, _WIRE) as wire:
            self.exec(source, ["ping", "-c", "1", "-W", "1", "-s", str(size), ends[1]])
            seen = [found for frame in wire.frames() if (found := onwire.parse(frame))]
        mine = [one for one in seen if (one.inner.source, one.inner.target) == ends]
        if not mine:
            raise NotFoundError(f"no request from {source} to {target} left {node}", hint="are they on two nodes?")
        identity = self.endpoint(source)["identity"]
        whose = f"= identity of {source}" if mine[0].vni == identity else str(mine[0].vni)
        view = MapTable(f"on the wire of {node}", onwire.rows(mine[0], self._name, whose))
        self._views.append(view)
        return view

    def _name(self, address: str) -> str:
        """Who has an address: a pod of the lab, or a node."""
        topology = self.cluster.topology()
        known = {one: pod.name for pod in topology.pods for one in pod.addresses}
        known |= {one: node.name for node in topology.nodes for one in node.addresses}
        return known.get(address, address)

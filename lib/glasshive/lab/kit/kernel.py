"""What the kernel knows, shown in a lab: topology, maps, connections, drops, endpoints, links."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from glasshive.errors import NotFoundError
from glasshive.lab.kit.pods import Pods
from glasshive.lab.sources import drop_counts, last_drop_record, snapshot
from glasshive.lab.words import drop_reason

if TYPE_CHECKING:
    from glasshive.lab.programs import TeachingProgram
    from glasshive.widgets import DropsChart, MapTable, TopologyView


class Kernel(Pods):
    """The part of a lab that shows what nodes' kernels hold."""

    def topology(self, *, live: bool = False) -> TopologyView:
        """Draw the cluster and this lab's pods; ``live`` keeps counting until the lab is reset."""
        from glasshive.widgets import TopologyView

        view = TopologyView(snapshot(self.cluster, self.namespace))
        self._views.append(view)
        return view.live(lambda: snapshot(self.cluster, self.namespace), per_second=2.0) if live else view

    def addresses(self) -> MapTable:
        """Show every node's blocks of pod addresses, and who has which; ``+2`` is two above the block's start."""
        from glasshive.lab.addresses import grid
        from glasshive.widgets import MapTable

        topology = self.cluster.topology()
        view = MapTable("addresses", grid(topology.nodes, topology.pods))
        self._views.append(view)
        return view

    def rows(self, node: str, name: str, columns: Sequence[str] = (), **where: object) -> list[dict[str, Any]]:
        """Give rows of a node's BPF map that have these values in these columns."""
        found = [row for row in self.cluster.maps(node, name) if all(_matches(row, *one) for one in where.items())]
        return _sorted([{key: row.get(key) for key in columns} for row in found] if columns else found)

    def connections(self, node: str, one: str, other: str) -> MapTable:
        """Show the connections between two pods that a node's conntrack map holds; ``len`` of it counts them."""
        from glasshive.widgets import MapTable

        ends = {*self.status(one).addresses}, {*self.status(other).addresses}
        rows = [
            {"low": row["low"], "high": row["high"], "protocol": row["protocol"]}
            for row in self.cluster.maps(node, "conntrack")
            if (row["low"] in ends[0] and row["high"] in ends[1]) or (row["low"] in ends[1] and row["high"] in ends[0])
        ]
        view = MapTable(f"connections of {one} and {other} on {node}", _sorted(rows))
        self._views.append(view)
        return view

    def map(self, node: str, name: str, columns: Sequence[str] = (), **where: object) -> MapTable:
        """Show rows of a node's BPF map as a table."""
        from glasshive.widgets import MapTable

        view = MapTable(f"{name} on {node}", self.rows(node, name, columns, **where))
        self._views.append(view)
        return view

    def mark_drops(self) -> None:
        """Count drops from here on."""
        self._drops_before = drop_counts(self.cluster)

    def drops(self, *reasons: str) -> DropsChart:
        """Chart what has been dropped since ``mark_drops`` (or since the lab was opened), of these reasons if named."""
        from glasshive.widgets import DropsChart
        from glasshive.widgets.drops import since

        found = since(drop_counts(self.cluster), self._drops_before)
        return DropsChart([one for one in found if not reasons or one.reason in reasons])

    def last_drop(self, reason: str) -> str:
        """Tell the last packet dropped for a reason: on which node, from where to where, and what the reason means."""
        latest = last_drop_record(self.cluster, reason)
        if latest is None:
            return f"no packet has been dropped for the reason {reason}"
        node, record = latest
        flow = f"{record['protocol']} {record['source']} -> {record['destination']}"
        told = textwrap.fill(f"{reason}: {drop_reason(reason)}", 90, initial_indent="  ", subsequent_indent="  ")
        return f"{node} dropped {flow} ({record['direction']})\n{told}"

    def endpoint(self, name: str) -> dict[str, Any]:
        """Give what the agent knows about a pod: its record as the CNI ADD request left it."""
        node = self.status(name).node
        for row in self.cluster.backend.node_request(node, "GET", "/v1/endpoints"):
            if (row["namespace"], row["pod"]) == (self.namespace, name):
                return dict(row)
        raise NotFoundError(f"the agent of {node} has no endpoint for pod {name!r}")

    def links(self, name: str) -> list[str]:
        """Give the links that hold the datapath's programs at a pod's device: one for each direction."""
        from glasshive.bpf import inspect

        pod = self.endpoint(name)
        folder = f"/sys/fs/bpf/glasshive/{self.cluster.name}/{self.status(name).node}/links"
        programs = {one.id: one.name for one in inspect.programs()}
        links = {one.id: one for one in inspect.links()}
        found = []
        for pin in inspect.pins(folder):
            if pin.path.name.startswith(f"pod_{pod['id']}_") and pin.id in links:
                link = links[pin.id]
                if not link.ifindex:
                    continue  # pinned, and detached
                found.append(f"{link.attach_type.lower()}: {programs.get(link.program_id, '?')}")
        return sorted(found)

    def program(self, name: str) -> TeachingProgram:
        """Load a teaching program of ``bpf/labs`` and show it: source, instructions, maps, or why it was refused."""
        from glasshive.lab.programs import TeachingProgram

        loaded = TeachingProgram.open(name, self.entry.folder)
        self._views.append(loaded)
        return loaded


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put rows in an order of their own: a hash map has none, and readers look for what changed."""
    return sorted(rows, key=lambda row: [str(value) for value in row.values()])


def _matches(row: Mapping[str, Any], key: str, value: object) -> bool:
    held = row.get(key)
    return held == value or str(held) == str(value)

"""Identities in a lab: who shares one, what a node takes an address for, and a packet that lies about its sender."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from glasshive.errors import UsageError
from glasshive.lab import components, identities
from glasshive.lab.kit.pods import Pods

if TYPE_CHECKING:
    from glasshive.widgets import IdentityView, MapTable


class Identities(Pods):
    """The part of a lab that is about identity."""

    def identities(self, *, live: bool = False, per_second: float = 5.0) -> IdentityView:
        """Show the identities of this lab's pods, and who shares one; ``live`` follows changes until the reset."""
        from glasshive.widgets import IdentityView

        view = IdentityView(self.namespace, self.identity_groups())
        self._views.append(view)
        return view.live(self.identity_groups, per_second=per_second) if live else view

    def identity_groups(self) -> list[dict[str, Any]]:
        """Give the identities of this lab's pods: ``identity labels all pods`` each."""
        return identities.groups(self.cluster.endpoints(), self.namespace)

    def identity(self, pod: str) -> int:
        """Give the number of a pod's identity: to compare, as it is another one on every cluster."""
        row = self.cluster.backend.node_request(self.status(pod).node, "GET", f"/v1/endpoints/{self.namespace}%2F{pod}")
        return int(row["identity"])

    def known_as(self, node: str, *who: str) -> MapTable:
        """Show what a node's ipcache takes addresses for: those of the lab's pods, of nodes, or as they are (IPv4)."""
        from glasshive.widgets import MapTable

        topology = self.cluster.topology()
        nodes = {address: one.name for one in topology.nodes for address in one.addresses}
        first = {name: address for address, name in reversed(nodes.items()) if ":" not in address}
        rows = identities.known_as(
            {one: first[one] if one in first else _address(one) or self.address(one) for one in who},
            self.cluster.backend.node_request(node, "GET", "/v1/ipcache"),
            nodes,
            self.namespace,
        )
        view = MapTable(f"what {node} takes addresses for", rows)
        self._views.append(view)
        return view

    def forge(self, source: str, claimed: str, target: str) -> str:
        """Send a datagram from a pod that claims to be from another one; the target's port is 9000."""
        command = identities.forged(self.address(claimed), self.address(target))
        status, said = components.run_in_pod(self.cluster, self.namespace, source, command, 10.0)
        if status:
            raise UsageError(f"{source} could not send it: {said.strip().splitlines()[-1]}")
        return f"{source} has sent a datagram to {target}, in the name of {claimed}"


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""

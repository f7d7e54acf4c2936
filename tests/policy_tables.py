"""The kernel's tables in user space: deltas are carried out step by step, packets looked up as the program does.

``Tables`` knows rows and numbers only, no rules. ``watch`` is called after every step, so that a test can look at the
states that packets meet on the way.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from glasshive.model.address import Prefix
from glasshive.model.policy import Direction, Verdict
from glasshive.policy.delta import (
    Assignment,
    Delta,
    DropBlocks,
    DropPeers,
    DropPorts,
    Flip,
    Grace,
    PeerKey,
    PeerValue,
    PortKey,
    PortValue,
    PutBlocks,
    PutPeers,
    PutPorts,
    Retire,
    Step,
)


@dataclass
class Tables:
    """``policy_peers``, ``policy_ports``, the ipcache's blocks and the subjects' numbers."""

    peers: dict[PeerKey, PeerValue] = field(default_factory=dict)
    ports: dict[PortKey, PortValue] = field(default_factory=dict)
    blocks: dict[Prefix, int] = field(default_factory=dict)
    assigned: dict[Hashable, Assignment] = field(default_factory=dict)
    retired: list[int] = field(default_factory=list)

    def carry_out(self, delta: Delta, watch: Callable[[Step], None] | None = None) -> None:
        for step in delta.steps():
            self.step(step)
            if watch is not None:
                watch(step)

    def step(self, step: Step) -> None:
        match step:
            case PutPorts(rows):
                self.ports.update(rows)
            case PutPeers(rows):
                self.peers.update(rows)
            case DropPorts(keys):
                for key in keys:
                    del self.ports[key]
            case DropPeers(keys):
                for key in keys:
                    del self.peers[key]
            case PutBlocks(blocks):
                self.blocks.update({one.prefix: one.identity.number for one in blocks})
            case DropBlocks(blocks):
                for one in blocks:
                    del self.blocks[one.prefix]
            case Flip(assignments):
                self.assigned.update({one.subject: one for one in assignments})
            case Retire(numbers):
                self.retired += numbers
            case Grace():
                pass

    def identity(self, address: str, world_ipv4: int, world_ipv6: int) -> int:
        """The identity that the ipcache gives an address of the outside."""
        host = ipaddress.ip_address(address)
        around = [
            (network.prefixlen, number)
            for prefix, number in self.blocks.items()
            if (network := ipaddress.ip_network(str(prefix))).version == host.version and host in network
        ]
        return max(around)[1] if around else world_ipv4 if host.version == 4 else world_ipv6

    def look(
        self, subject: Hashable, direction: Direction, peer: int, protocol: int, port: int
    ) -> tuple[Verdict, int] | None:
        """(verdict, cookie) as ``gh_policy_look`` finds it; None: the subject is not judged in this direction."""
        mine = self.assigned[subject]
        if not (mine.ingress if direction is Direction.INGRESS else mine.egress):
            return None
        key = PeerKey(mine.number, direction, peer)
        row = self.peers.get(key)
        if row is None:
            key = PeerKey(mine.number, direction, 0)
            row = self.peers.get(key)
        if row is None:
            return Verdict.DENY_DEFAULT, 0
        for bits in range(16, -1, -1):
            if row.classes >> bits & 1:
                masked = port >> (16 - bits) << (16 - bits)
                found = self.ports.get(PortKey(key, protocol, masked, bits))
                if found is not None:
                    return found.verdict, found.rule
        return row.verdict, row.rule

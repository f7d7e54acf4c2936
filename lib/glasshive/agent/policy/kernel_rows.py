"""The engine's keys and values as rows of the kernel's tables, in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from glasshive.maps.policy import PolicyMaps, half
from glasshive.policy.delta import PeerKey, PeerValue, PortKey, PortValue


class KernelRows:
    """``policy_peers`` and ``policy_ports`` under the engine's names."""

    def __init__(self, maps: PolicyMaps) -> None:
        self.maps = maps

    def put_ports(self, rows: Mapping[PortKey, PortValue]) -> None:
        """Write rows of ports. ExhaustedError."""
        self.maps.put_ports([(*_place(key), *key[1:], *value) for key, value in rows.items()])

    def put_peers(self, rows: Mapping[PeerKey, PeerValue]) -> None:
        """Write rows of peers. ExhaustedError."""
        self.maps.put_peers([(half(key.policy, key.direction), key.peer, *value) for key, value in rows.items()])

    def drop_ports(self, keys: Iterable[PortKey]) -> None:
        """Delete rows of ports; those that are not there are no error."""
        self.maps.drop_ports([(*_place(key), *key[1:]) for key in keys])

    def drop_peers(self, keys: Iterable[PeerKey]) -> None:
        """Delete rows of peers; those that are not there are no error."""
        self.maps.drop_peers([(half(key.policy, key.direction), key.peer) for key in keys])

    def peers(self) -> dict[PeerKey, PeerValue]:
        """What the kernel holds of peers."""
        return {PeerKey(*row[:3]): PeerValue(*row[3:]) for row in self.maps.peer_rows()}

    def ports(self) -> dict[PortKey, PortValue]:
        """What the kernel holds of ports."""
        return {
            PortKey(PeerKey(row.number, row.direction, row.identity), row.protocol, row.port, row.prefix_bits):
                PortValue(row.verdict, row.rule)
            for row in self.maps.rows() if row.port is not None
        }  # fmt: skip


def _place(key: PortKey) -> tuple[int, int]:
    policy, direction, peer = key.peer
    return half(policy, direction), peer

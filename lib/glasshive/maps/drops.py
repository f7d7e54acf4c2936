"""The per-CPU map ``drops``: packets and bytes per reason and direction (``bpf/types/drop.h``)."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from glasshive.bpf import Map

NAME = "drops"

_REASON_PREFIX = "GH_DROP_"
_DIRECTION_NAMES = {"GH_INGRESS": "ingress", "GH_EGRESS": "egress"}


class DropCount(NamedTuple):
    """How much was dropped, since the map was made, for one reason in one direction (seen from the endpoint)."""

    reason: str
    direction: str
    packets: int
    bytes: int


class DropNames:
    """Names of the C enums ``gh_drop_reason`` and ``gh_direction``, as people read them: ``no-endpoint``."""

    def __init__(self, reasons: type[IntEnum], directions: type[IntEnum]) -> None:
        self._reasons = {int(one): one.name.removeprefix(_REASON_PREFIX).lower().replace("_", "-") for one in reasons}
        self._directions = {int(one): _DIRECTION_NAMES.get(one.name, "unknown") for one in directions}

    def reason(self, number: int) -> str:
        """Name of a reason; a number that this build does not know is shown as such."""
        return self._reasons.get(number, f"reason-{number}")

    def direction(self, number: int) -> str:
        """``ingress``, ``egress`` or ``unknown``."""
        return self._directions.get(number, "unknown")


def counts(kernel: Map, names: DropNames) -> list[DropCount]:
    """The table, most packets first."""
    keys, values = kernel.items()
    rows = [
        DropCount(
            names.reason(int(key["reason"])),
            names.direction(int(key["direction"])),
            int(value["packets"].sum()),
            int(value["bytes"].sum()),
        )
        for key, value in zip(keys, values, strict=True)
    ]
    return sorted(rows, key=lambda row: (-row.packets, row.reason, row.direction))


def as_json(rows: list[DropCount]) -> list[dict[str, Any]]:
    """JSON form of ``counts``."""
    return [row._asdict() for row in rows]

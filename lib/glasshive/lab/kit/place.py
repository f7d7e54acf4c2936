"""Where a lab happens: one cluster, one namespace, one seed. Every part of the kit stands on this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glasshive.cluster import Cluster
    from glasshive.lab.manifest import LabEntry
    from glasshive.model.traffic import DropCount


class Place:
    """A lab's cluster, its namespace (``lab-00`` and so on) and its seed."""

    entry: LabEntry
    cluster: Cluster
    namespace: str
    seed: int
    _views: list[Any]
    _drops_before: list[DropCount]
    _restarts_before: dict[str, int]

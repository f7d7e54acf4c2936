"""L2 announcements as a table: which node answers for which address of which service."""

from __future__ import annotations

from collections.abc import Sequence

from glasshive.cluster.backend import Backend
from glasshive.cluster.rows import Rows

COLUMNS = {"service": "SERVICE", "address": "ADDRESS", "node": "NODE", "device": "DEVICE",
           "responsesSent": "ANSWERS SENT", "renewedSecondsAgo": "LEASE RENEWED s AGO"}  # fmt: skip


def announcements(backend: Backend, nodes: Sequence[str]) -> Rows:
    """What each node answers for."""
    rows = [{"node": node, **one} for node in nodes for one in backend.node_request(node, "GET", "/v1/l2")]
    return Rows("L2 announcements", COLUMNS, sorted(rows, key=lambda row: (row["service"], row["address"])))
